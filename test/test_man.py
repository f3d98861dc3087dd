#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests, in TAP, the man pages as they are installed: each public function has one, which tells of it; and man(1), where
it is there, finds it and shows the function with its errors. Needs a build with the pages.

    test_man.py SOURCE_ROOT BUILD_ROOT MESON"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from tap import Tap

FUNCTION = re.compile(r"^(?:NDNSHM|UVFACE|NDNPKT)_EXTERN\s[^(;]*?(\w+)\(", re.MULTILINE)


def main():
    tap = Tap()
    root, build, meson = pathlib.Path(sys.argv[1]), *sys.argv[2:4]
    functions = {name for header in (root / "include").glob("*.h") for name in FUNCTION.findall(header.read_text())}
    with tempfile.TemporaryDirectory(prefix="uvface-man-") as prefix:
        command = [meson, "install", "-C", build, "--no-rebuild", "--tags", "man", "--destdir", prefix]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        tap.check(done.returncode == 0, "the man pages are installed", done.stdout[-1000:] + done.stderr[-1000:])
        section = next(pathlib.Path(prefix).rglob("man3"), pathlib.Path(prefix))
        pages = {page.stem: page.read_text() for page in section.glob("*.3")}
        missing = sorted(name for name in functions if f"{name}(" not in pages.get(name, "").replace("\\", ""))
        tap.check(len(functions) > 100 and not missing, "each function has a man page that tells of it", "\n".join(missing))
        left = sorted(set(pages) - functions - {"uvface", "uvface_client", "uvface_server", "ndnshm", "ndnpkt"})
        tap.check(not left, "and nothing else has", "\n".join(left))
        if shutil.which("man") is None:
            tap.skip("man uvface_create", "no man(1)")
            return tap.done()
        shown = subprocess.run(["man", "-M", section.parent, "uvface_create"], capture_output=True, text=True, check=False,
                               env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C"})
        good = shown.returncode == 0 and "int uvface_create(uvface_t" in shown.stdout and "UV_EADDRINUSE" in shown.stdout
        tap.check(good, "man uvface_create shows it, with its errors", shown.stdout[:500] + shown.stderr)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
