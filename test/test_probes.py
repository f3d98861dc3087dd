#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads the static probe points of libndnshm by readelf, compares them with docs/metrics.rst, and prints TAP. Where bpftrace
works, and where perf does, runs the page's one-liners on a program that uses the library.

Usage: test_probes.py SOURCE_ROOT LIBNDNSHM [--once, to be that program]"""
import ctypes
import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tap import Tap

ROOT, LIB = sys.argv[1], os.path.realpath(sys.argv[2])
DEADLINE_S = 30 * int(os.environ.get("UVFACE_SLOW", "1"))
NAME = f"probes-{os.getpid()}"
TRACING = "/sys/kernel/tracing"
tap = Tap()


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t)] + [(name, ctypes.c_uint32)
                                               for name in ("capacity", "slot_size", "mtu", "mode", "uid", "gid", "flags")]


def points():
    """Those in the library: name, number of arguments."""
    notes = subprocess.run(["readelf", "-n", LIB], capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout
    found = re.findall(r"Provider: ndnshm\s+Name: (\w+)\s+Location: .*\n\s+Arguments:(.*)", notes)
    return {name: len(arguments.split()) for name, arguments in found}


def documented():
    """Those of the page: a term ``name`` (``arg0``, ...) each."""
    with open(os.path.join(ROOT, "docs", "metrics.rst"), encoding="utf-8") as page:
        found = re.findall(r"^``ndnshm:(\w+)``\n((?:    .*\n)+)", page.read(), re.MULTILINE)
    return {name: len(set(re.findall(r"``arg\d``", text))) for name, text in found}


def one_liners():
    with open(os.path.join(ROOT, "docs", "metrics.rst"), encoding="utf-8") as page:
        return re.findall(r"^    bpftrace -e '(.*?)'$", page.read(), re.MULTILINE | re.DOTALL)


def perf_lines():
    with open(os.path.join(ROOT, "docs", "metrics.rst"), encoding="utf-8") as page:
        return re.findall(r"^    (perf (?:buildid-cache|probe|record|script).*)$", page.read(), re.MULTILINE)


def everything(lib):
    """A face in whose life each point is passed."""
    engine, app, second = (ctypes.c_void_p() for _ in range(3))
    for end in (engine, app, second):
        assert lib.ndnshm_new(ctypes.byref(end)) == 0
    options = Options(ctypes.sizeof(Options), 2, 100, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert lib.ndnshm_create(engine, NAME.encode(), ctypes.byref(options)) == 0
    assert lib.ndnshm_connect(app, NAME.encode(), None) == 0
    assert lib.ndnshm_connect(second, f"{NAME}-none".encode(), None) < 0  # fail
    piece = ctypes.create_string_buffer(10)
    packet = Iovec(ctypes.addressof(piece), 10)
    assert lib.ndnshm_park(engine, 1) == 0  # park
    while lib.ndnshm_send(app, ctypes.byref(packet), 1) > 0:  # full
        pass
    lib.ndnshm_wake(engine)  # wake, attach
    lib.ndnshm_free(app)
    while lib.ndnshm_wake(engine) >= 0:  # gone
        pass
    lib.ndnshm_free(second)
    lib.ndnshm_free(engine)


def traced(program):
    """What bpftrace prints for it, while faces come and go, up to a name of theirs."""
    process = subprocess.Popen(["bpftrace", "-e", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
                               start_new_session=True, env={**os.environ, "BPFTRACE_STRLEN": "100"})
    lib = ctypes.CDLL(LIB)
    said, deadline = b"", time.monotonic() + DEADLINE_S
    try:
        while time.monotonic() < deadline and process.poll() is None and NAME.encode() not in said:
            everything(lib)
            while select.select([process.stdout], [], [], 0.05)[0]:
                more = os.read(process.stdout.fileno(), 65536)
                said += more
                if not more:
                    break
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            said += process.communicate(timeout=DEADLINE_S)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    return said.decode("utf-8", "replace")


def run(line, home):
    """A command line of the page, of this library, with a user's folder of its own: status, output."""
    with tempfile.TemporaryFile(dir=home) as out:  # not a pipe: into one perf record writes what it has recorded
        done = subprocess.run(line.split(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=DEADLINE_S, cwd=home,
                              check=False, env={**os.environ, "HOME": home})
        out.seek(0)
        return done.returncode, f"{line}: status {done.returncode}\n{out.read().decode('utf-8', 'replace')}"


def why_no_perf(home):
    """Whether there is a perf that can set a probe at all."""
    if os.geteuid() != 0 or not shutil.which("perf") or not os.path.isdir(TRACING):
        return f"needs root, perf and {TRACING}"
    status, said = run(f"perf probe --exec {LIB} --add probes_{os.getpid()}=ndnshm_new", home)
    run(f"perf probe --del probe_libndnshm:probes_{os.getpid()}", home)
    return f"perf does not work here: {' '.join(said.split())[-150:]}" if status != 0 else None


def lock(path):
    """The points of a machine have one name each: not two of these tests at once. The lock is the process's."""
    fd, deadline = os.open(path, os.O_RDONLY | os.O_CLOEXEC), time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
    return os.close(fd)


def test_perf():
    """The page's lines in their order: they build on each other."""
    lines = perf_lines()
    tap.check([line.split()[1] for line in lines] == ["buildid-cache", "probe", "record", "script"], "the page has lines for perf", lines)
    with tempfile.TemporaryDirectory() as home:
        why = why_no_perf(home)
        if why:
            tap.skip("perf sees a point", why)
            return
        lock(TRACING)
        said = ""
        try:
            for line in lines:
                line = re.sub(r"/\S*/libndnshm\S*", LIB, line)
                status, more = run(line.replace("sleep 5", f"{sys.executable} {os.path.abspath(__file__)} {ROOT} {LIB} --once"), home)
                said += more
                if status != 0:
                    break
        finally:
            said += run("perf probe --del sdt_ndnshm:*", home)[1]
        tap.check(status == 0 and re.search(r"python\S* .*sdt_ndnshm:park", more), "perf sees a point", said)


def main():
    if "--once" in sys.argv:
        everything(ctypes.CDLL(LIB))
        return 0
    if not shutil.which("readelf"):
        tap.skip("the points that the page tells of", "no readelf")
        return tap.done()
    there, told = points(), documented()
    tap.check(told and there == told, "the points that the page tells of are in the library", (there, told))
    works, why = False, "needs root and bpftrace"
    if os.geteuid() == 0 and shutil.which("bpftrace"):
        said = traced(f'uprobe:{LIB}:ndnshm_new {{ printf("{NAME}\\n"); }}')
        works, why = NAME in said, f"bpftrace does not work here: {' '.join(said.split())[-150:]}"
    programs = one_liners()
    tap.check(len(programs) >= 3, "the page has one-liners", programs)
    for program in programs:
        probes = ", ".join(re.findall(r"ndnshm:(\w+)", program))
        tap.check(set(probes.split(", ")) <= set(there), f"a one-liner of points that there are: {probes}", program)
        if works:
            said = traced(re.sub(r"usdt:[^:]*:", f"usdt:{LIB}:", program))
            tap.check(NAME in said, f"bpftrace sees {probes}", said)
        else:
            tap.skip(f"bpftrace sees {probes}", why)
    test_perf()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
