#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests, in TAP, how the built pages look in a browser, headless Chromium, on a desk (1280 pixels wide) and on a phone
(400): no page is wider than its window, each block of code and each table scrolls in itself, no text hangs out of the
window where nothing scrolls to it, text stands out from its background in both the light and the dark mode, a click
changes between them, and no script fails. The browser is spoken to through a pipe and loads nothing but files. Without
Chromium, or the theme, this is skipped. Says nothing about taste: for that look at the pictures.

    test_pages.py DIRECTORY_OF_HTML [PICTURES]"""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from tap import Tap

WIDTHS = (1280, 400)
PATIENCE = int(os.environ.get("UVFACE_SLOW", "1")) * 300  # seconds for all of it
# What is looked at in a page. A box that hangs out of the window is cut, unless something around it scrolls.
MEASURE = """(() => {
  const wide = innerWidth, found = [];
  const name = e => e.tagName + '.' + e.className + ': ' + e.textContent.trim().slice(0, 40);
  const root = document.documentElement;
  if (Math.max(root.scrollWidth, document.body.scrollWidth) > wide) found.push('the page is ' + root.scrollWidth + ' wide');
  const scrolls = e => /auto|scroll/.test(getComputedStyle(e).overflowX);
  const main = document.querySelector('article') || document.body;
  // What lies around the article does not count: there the whole text would move.
  const reached = e => { for (; e && e != main; e = e.parentElement)
                           if (scrolls(e) && e.getBoundingClientRect().right <= wide + 1) return true; };
  for (let e = main; e; e = e.parentElement) 
    if (scrolls(e) && e.scrollWidth > e.clientWidth + 1) found.push('scrolls as a whole: ' + e.tagName + '.' + e.className);
  for (const e of main.querySelectorAll('pre')) if (!scrolls(e)) found.push('does not scroll: ' + name(e));
  for (const e of main.querySelectorAll('pre, table, img, svg, p, li, dt, dd, h1, h2, h3'))
    if (e.getBoundingClientRect().right > wide + 1 && getComputedStyle(e).display != 'none' && !reached(e)) found.push('cut: ' + name(e));
  return {found, pres: main.querySelectorAll('pre').length, tables: main.querySelectorAll('table').length};
})()"""
# The contrast of the text with what is behind it, as WCAG has it.
CONTRAST = """(theme => {
  document.body.dataset.theme = theme;
  const found = [];
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                       return .2126 * r + .7152 * g + .0722 * b; };
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                        if (c.length < 4 || c[3] == 1) return c.slice(0, 3); } return [255, 255, 255]; };
  const seen = new Set();
  for (const e of document.querySelectorAll('article p, article a, article code, article pre, article pre span, article dt, article svg text')) {
    if (!e.textContent.trim()) continue;
    const style = getComputedStyle(e), front = rgb(e.tagName == 'text' ? style.fill : style.color).slice(0, 3), back = behind(e);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05), what = front + ' on ' + back;
    if (ratio < 4.5 && !seen.has(what)) { seen.add(what); found.push(ratio.toFixed(1) + ': ' + what + ': ' + e.textContent.trim().slice(0, 30)); }
  }
  return found;
})"""
# Clicks where a reader sees it; the theme, or what is wrong.
CLICK = """(() => {
  const seen = [...document.querySelectorAll('button.theme-toggle')].filter(e => e.getBoundingClientRect().width > 0);
  if (seen.length != 1) return seen.length + ' signs are seen';
  seen[0].click();
  return document.body.dataset.theme;
})()"""


class Browser:
    """Chromium, and its one page, through a pair of pipes; a message is JSON and ends in a zero byte."""

    def __init__(self, program, home):
        here, theirs = os.pipe(), os.pipe()
        arguments = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
                     f"--user-data-dir={home}", "--remote-debugging-pipe", "about:blank"]
        # It reads from descriptor 3 and writes to 4; high ones first, so that neither is overwritten.
        shell = f"exec 11<&{here[0]} 12>&{theirs[1]} 3<&11 4>&12 11<&- 12>&-; exec \"$@\""
        self.process = subprocess.Popen(["bash", "-c", shell, "bash", *arguments], pass_fds=(here[0], theirs[1]),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(here[0])
        os.close(theirs[1])
        self.to, self.fro = os.fdopen(here[1], "wb", buffering=0), os.fdopen(theirs[0], "rb")
        self.number, self.session, self.read = 0, None, bytearray()
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        self.thrown = []  # by scripts of the pages
        self.call("Page.enable")
        self.call("Runtime.enable")

    def message(self):
        while b"\0" not in self.read:
            more = self.fro.read1(1 << 16)
            if not more:
                raise EOFError("the browser has gone")
            self.read += more
        text, _, self.read = self.read.partition(b"\0")
        message = json.loads(text)
        if message.get("method") == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.thrown.append(f"{details.get('url')}: {details.get('exception', {}).get('description', details['text'])}")
        return message

    def call(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            request["sessionId"] = self.session
        self.to.write(json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, address, width):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.call("Page.navigate", url=address)
        while self.message().get("method") != "Page.loadEventFired":
            pass

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def close(self):
        with contextlib.suppress(Exception):
            self.call("Browser.close")
            self.process.wait(30)  # it ends its helpers, which write into its directory until then
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def look(tap, browser, directory, pictures):
    pages = sorted(directory.glob("*.html"))
    tap.check(len(pages) > 10, "there are pages", directory)
    counted = {"pres": 0, "tables": 0}
    for width in WIDTHS:
        found = []
        for page in pages:
            browser.open(page.resolve().as_uri(), width)
            seen = browser.value(MEASURE)
            found += [f"{page.name}: {what}" for what in seen["found"]]
            counted = {key: value + seen[key] for key, value in counted.items()}
            if pictures is not None:
                data = browser.call("Page.captureScreenshot")["data"]
                (pictures / f"{page.stem}-{width}.png").write_bytes(base64.b64decode(data))
        tap.check(not found, f"{width} pixels: no page is wider, nothing is cut, code scrolls in itself", "\n".join(found[:40]))
    browser.open((directory / "index.html").resolve().as_uri(), WIDTHS[0])
    cut = browser.value("[...document.querySelectorAll('article pre')].filter(e => e.scrollWidth > e.clientWidth + 1).length")
    tap.check(cut == 0, f"{WIDTHS[0]} pixels: the code of the first page is seen whole", cut)
    tap.check(counted["pres"] > 50 and counted["tables"] > 50, "there was code, and there were tables", counted)
    for theme in ("light", "dark"):
        found = []
        for page in pages:
            browser.open(page.resolve().as_uri(), WIDTHS[0])
            found += [f"{page.name}: {what}" for what in browser.value(f"{CONTRAST}('{theme}')")]
        tap.check(not found, f"{theme}: text stands out from its background", "\n".join(found[:40]))


def use(tap, browser, page):
    """What the theme's script is for: who clicks at the sign for light and dark gets them in turn."""
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    for width in WIDTHS:
        browser.open(page.resolve().as_uri(), width)
        browser.value("localStorage.clear()")
        themes = [browser.value(CLICK) for _ in range(3)]
        tap.check(themes == ["dark", "light", "auto"], f"{width} pixels: a click changes between light and dark", themes)
    tap.check(not browser.thrown, "no script of a page fails", "\n".join(sorted(set(browser.thrown))[:10]))


def main():
    tap = Tap()
    directory = pathlib.Path(sys.argv[1])
    pictures = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        tap.skip("the pages in a browser", "no Chromium")
        return tap.done()
    if not (directory / "_static/styles/furo.css").exists():
        tap.skip("the pages in a browser", "built without the theme furo")
        return tap.done()
    signal.alarm(PATIENCE)
    with tempfile.TemporaryDirectory(prefix="uvface-pages-") as home:
        browser = Browser(program, home)
        try:
            look(tap, browser, directory, pictures)
            use(tap, browser, directory / "index.html")
        finally:
            browser.close()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
