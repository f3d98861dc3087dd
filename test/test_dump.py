#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs uvface-dump on real faces, and prints TAP: that each packet that it shows of a stream at full rate is whole, what it
filters, counts and writes, that what it missed is counted, how it ends, that nobody is disturbed, and that a hostile
region neither crashes nor fools it.

Usage: test_dump.py BUILD_ROOT LIBNDNSHM pcap|nopcap"""
import contextlib
import ctypes
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time

import actors
import leftover
from actors import DEADLINE_S, SLOW, Actor, line_of
from tap import Tap

ROOT, LIB, PCAP = (sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3] == "pcap")
TOOLS = os.path.join(os.path.abspath(ROOT), "uvface", "tools")
DUMP, PERF = os.path.join(TOOLS, "uvface-dump"), os.path.join(TOOLS, "uvface-perf")
OTHER = 61234  # a user that nobody is
NAME = f"du-{os.getpid()}"
CAPACITY, SLOT_BYTES, HEADER_BYTES = 16, 100, 448
TAILS = {"a2e": 64, "e2a": 192}
tap = Tap()


# --- Packets -----------------------------------------------------------------------------------------


def tlv(kind, *values):
    value = b"".join(values)
    return bytes([kind, len(value)]) + value


def name(uri):
    return tlv(7, *[tlv(8, part.encode()) for part in uri.strip("/").split("/")])


def interest(uri, *more):
    return tlv(5, name(uri), *more)


def data(uri, content=b"x"):
    return tlv(6, name(uri), tlv(21, content), tlv(22, tlv(27, b"\0")), tlv(23, b"\0" * 32))


def nack(uri, reason):
    return tlv(100, b"\xfd\x03\x20" + bytes([5]) + b"\xfd\x03\x21" + bytes([1, reason]), tlv(80, interest(uri)))


# --- Processes ---------------------------------------------------------------------------------------


def start(*arguments, user=None, **more):
    more.update({"user": user, "group": user, "extra_groups": []} if user else {})
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen([DUMP, *arguments], bufsize=0, start_new_session=True, **more)


def ready(process):
    """Waits until it follows: then it catches SIGINT."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            if int(re.search(r"^SigCgt:\s*(\w+)", status.read(), re.MULTILINE)[1], 16) & 2:
                break
    return process


def finish(process):
    """Status, standard output and error, of bytes that must be ASCII but for what is written as pcap."""
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err.decode("ascii")


def dump(*arguments, **more):
    status, out, err = finish(start(*arguments, **more))
    return status, out.decode("ascii"), err


def kinds(out):
    """Lines without time."""
    return [line.split(" ", 1)[1] for line in out.splitlines()]


def frames(pcap):
    """The frames of a pcap file: (seconds, bytes, whole length)."""
    magic, major, _, _, _, _, link = struct.unpack_from("<IHHiIII", pcap)
    assert (magic, major, link) == (0xA1B2C3D4, 2, 1), (magic, major, link)
    at, found = 24, []
    while at < len(pcap):
        seconds, fraction, there, whole = struct.unpack_from("<IIII", pcap, at)
        found.append((seconds + fraction / 1e6, pcap[at + 16:at + 16 + there], whole))
        at += 16 + there
    assert at == len(pcap), "a frame is cut"
    return found


def summary(err):
    """Shown, seen, missed each way."""
    found = re.search(r"(\d+) packets shown of (\d+) seen; missed: (\d+) app > engine, (\d+) engine > app", err)
    return [int(number) for number in found.groups()] if found else []


class Face:
    """An engine and an app, and nothing of them afterwards."""

    def __init__(self, what, user=None):
        self.name = f"{NAME}-{what}"
        self.region = f"/dev/shm/ndn-shm-{self.name}"
        self.engine, self.app = Actor(LIB, "engine", self.name, user), None

    def __enter__(self):
        return self

    def attach(self):
        self.app = Actor(LIB, "app", self.name)
        return self

    def __exit__(self, *_):
        for actor in (self.engine, self.app):
            if actor in actors.alive:
                actor.kill()
        leftover.remove(self.name)


# --- What is shown -----------------------------------------------------------------------------------


def test_lines():
    with Face("lines").attach() as face:
        face.app.put(interest("/a/b"), interest("/a/b", b"\x21\0\x12\0", tlv(10, b"\1\2\3\4"), tlv(12, b"\x03\xe8")))
        face.app.put(nack("/a/c", 150), b"\xff" * 5, tlv(100, tlv(80, b"")))
        face.engine.put(data("/a/b/1"), interest("/z\x1b[2J"))
        status, out, err = dump("-c", "7", face.name)
        wanted = ["app > engine, length 10, INTEREST: /a/b",
                  "app > engine, length 24, INTEREST: /a/b?CanBePrefix&MustBeFresh&Nonce=01020304&Lifetime=1000",
                  "app > engine, length 23, NACK (no route): /a/c",
                  "app > engine, length 5, UNKNOWN: not a packet of NDN",
                  "app > engine, length 4, IDLE",
                  "engine > app, length 55, DATA: /a/b/1",
                  "engine > app, length 11, INTEREST: /z%1B%5B2J"]
        got = kinds(out)
        tap.check(status == 0 and got == wanted, "what lies in the rings is shown, a line for each packet",
                  "\n".join([str(status), *got, err]))
        times = [float(line.split()[0]) for line in out.splitlines()]
        tap.check(all(abs(one - time.time()) < DEADLINE_S for one in times), "with the time", times)
        tap.check(summary(err) == [7, 7, 0, 0], "and summed up", err)

        following = start(face.name)
        first = [line_of(following.stdout) for _ in range(7)]
        face.app.put(interest("/new"))
        tap.check(line_of(following.stdout).endswith(b" app > engine, length 9, INTEREST: /new"), "one that comes is shown", first)
        face.engine.order("recv")
        face.app.put(interest("/new/2"))
        tap.check(line_of(following.stdout).endswith(b" INTEREST: /new/2"), "and the next, if what was before it is taken")
        following.send_signal(signal.SIGINT)
        status, out, err = finish(following)
        tap.check(status == 0 and summary(err) == [9, 9, 0, 0], "SIGINT ends it well", (status, out, err))


class Stopped:
    """While it stands still: what comes meanwhile is found in one look."""

    def __init__(self, process):
        self.process = process

    def __enter__(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def __exit__(self, *_):
        os.kill(self.process.pid, signal.SIGCONT)


def exchange(asking, answering, *names):
    for one in names:
        asking.put(interest(one))
        answering.order("recv")
        answering.put(data(one))
        asking.order("recv")


def in_one_look(process, put, n):
    """Direction, kind and name of the n packets that put() puts, if one look found them, which has one time. One that was
    under way may have found some: then it is tried again."""
    for _ in range(5):
        with Stopped(process):
            put()
        lines = [line_of(process.stdout).decode() for _ in range(n)]
        found = [re.fullmatch(r"(\S+) (\w+) > \w+, length \d+, (\w+): (\S+)", line).groups() for line in lines]
        if len({time for time, *_ in found}) == 1:
            return [" ".join(rest) for _, *rest in found]
    return ["not one time", *lines]


def test_order():
    with Face("order").attach() as face:
        following = ready(start(face.name))
        serving = ["engine INTEREST /1", "engine INTEREST /2", "app DATA /1", "app DATA /2"]
        asking = ["app INTEREST /1", "app INTEREST /2", "engine DATA /1", "engine DATA /2"]
        for what, ends, wanted in (("serves", (face.engine, face.app), serving), ("serves on", (face.engine, face.app), serving),
                                   ("asks", (face.app, face.engine), asking), ("asks on", (face.app, face.engine), asking),
                                   ("serves again", (face.engine, face.app), serving)):
            got = in_one_look(following, lambda: exchange(*ends, "/1", "/2"), 4)
            tap.check(got == wanted, f"an app {what}: questions before answers, with the time of the look", got)
        got = in_one_look(following, lambda: (face.engine.put(data("/e")), face.app.put(data("/a"))), 2)
        tap.check(got == ["app DATA /a", "engine DATA /e"], "nobody asks: first from app to engine", got)
        following.send_signal(signal.SIGTERM)
        finish(following)


def test_order_of_one():
    for more in ((), ("-w", "-")) if PCAP else ((),):
        with Face("one").attach() as face:
            following = ready(start("-c", "1", *more, face.name))
            with Stopped(following):
                exchange(face.engine, face.app, "/1")
            status, out, err = finish(following)
            got = [frame[14:] for _, frame, _ in frames(out)] == [interest("/1")] if more else b"INTEREST: /1" in out
            tap.check(status == 0 and got, f"-c 1 {' '.join(more)}: the question of two that came in one look", (out, err))


class Traced:
    """A child that goes from one call of the kernel to the next; not possible everywhere."""
    SYSCALL, DETACH, SEIZE, INTERRUPT = 24, 17, 0x4206, 0x4207

    def __init__(self, process):
        self.pid = process.pid
        self.is_possible = self.request(self.SEIZE) and self.request(self.INTERRUPT)
        if self.is_possible:
            os.waitpid(self.pid, 0)

    def request(self, what):
        return ctypes.CDLL(None).ptrace(ctypes.c_long(what), ctypes.c_long(self.pid), None, None) == 0

    def go_on(self, stops):
        for _ in range(stops):
            assert self.request(self.SYSCALL)
            os.waitpid(self.pid, 0)


def test_order_while_they_come():
    """A question comes and is answered now between these, now between those two calls of the kernel."""
    what = "now the one asks, now the other, at any time: no answer is shown before its question"
    with Face("come").attach() as face:
        following = ready(start("-e", face.name))
        traced, ends, seen, early = Traced(following), [face.engine, face.app], set(), []
        if traced.is_possible:
            for n in range(400):
                if n % 8 == 0:
                    traced.go_on(150)  # all that came is shown
                    ends.reverse()
                exchange(*ends, f"/{n}")
                traced.go_on(8 + n % 23)
            traced.request(traced.DETACH)
        for _ in range(800 * traced.is_possible):
            kind, uri = line_of(following.stdout).decode().split()[-2:]
            if kind == "DATA:" and uri not in seen:
                early.append(uri)
            seen.add(uri)
        following.send_signal(signal.SIGTERM)
        status, _, err = finish(following)
        if traced.is_possible:
            tap.check(status == 0 and len(seen) == 400 and not early, what, (status, len(seen), early, err))
        else:
            tap.skip(what, "no process may be traced here")


def test_filter_and_count():
    with Face("filter").attach() as face:
        face.app.put(interest("/a/b"), interest("/ab"), interest("/a"), nack("/a/b/c", 50), b"junk")
        face.engine.put(data("/a/b/1"), data("/c"))
        for prefix, wanted in (("/a", 4), ("/a/b", 3), ("/", 6), ("/a/b/c/d", 0)):
            limit = ("-c", str(wanted)) if wanted else ()
            process = start("-p", prefix, *limit, face.name)
            if not wanted:
                face.app.put(interest("/a/b/c/d/e"))
                wanted = 1
                tap.check(line_of(process.stdout).endswith(b"/a/b/c/d/e"), f"-p {prefix}: the one packet that has it")
                process.send_signal(signal.SIGTERM)
            status, out, err = finish(process)
            tap.check(status == 0 and summary(err)[0] == wanted, f"-p {prefix}: {wanted} packets", (status, out, err))
        status, out, err = dump("--count=2", "--prefix", "/a", face.name)
        tap.check(status == 0 and [line.split(": ")[1] for line in kinds(out)] == ["/a/b", "/a"], "-c counts what is shown", out)


def test_pcap():
    if not PCAP:
        status, out, err = dump("-w", "-", f"{NAME}-none")
        tap.check(status == 2 and out == "" and err.startswith("uvface-dump: --write: this build has no pcap\nusage: "),
                  "-w without libpcap is a wrong use, whatever the face", (status, out, err))
        _, out, _ = dump("--help")
        tap.check("-w" not in out and "This build has no pcap" in out, "and the help does not offer it", out)
        return
    _, out, _ = dump("--help")
    tap.check("-w FILE" in out and "--write=FILE" in out and "no pcap" not in out, "the help offers -w", out)
    with Face("pcap").attach() as face, tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder:
        sent, answer = [interest("/a"), b"", nack("/b", 100), b"junk"], data("/a")
        face.app.put(*filter(None, sent))
        face.engine.put(answer)
        path = os.path.join(folder, "file")
        status, out, err = dump("-c", "4", "-w", path, face.name)
        with open(path, "rb") as file:
            got = frames(file.read())
        engine, app = b"\x02eng\0\1", b"\x02app\0\2"
        wanted = [engine + app + b"\x86\x24" + packet for packet in sent if packet] + [app + engine + b"\x86\x24" + answer]
        tap.check(status == 0 and out == "" and [frame for _, frame, _ in got] == wanted,
                  "-w writes Ethernet frames of NDN's type", (status, out, err, got))
        tap.check(all(whole == len(frame) and abs(at - time.time()) < DEADLINE_S for at, frame, whole in got),
                  "with length and time", got)
        status, out, err = finish(start("-c", "4", "--write=-", face.name))
        tap.check(status == 0 and [frame for _, frame, _ in frames(out)] == wanted, "-w - writes to standard output", err)
        status, _, err = dump("-w", os.path.join(folder, "no", "file"), face.name)
        tap.check(status == 1 and "No such file" in err, "a file that cannot be made is a failure", (status, err))
        with open("/dev/full", "wb") as full:
            status, _, err = finish(start("-c", "1", "-w", "-", face.name, stdout=full))
            tap.check(status == 1 and "standard output: No space left" in err, "a full disk is a failure", (status, err))


# --- Whole, or missed --------------------------------------------------------------------------------


def torn(packet):
    """uvface-perf --verify: a number, and its low byte again and again."""
    return packet[8:] != packet[:1] * (len(packet) - 8)


def start_side(side, role, face, size, *more):
    return subprocess.Popen([PERF, "throughput", "--side", side, "--role", role, "--name", face, "--verify", "--size", str(size),
                             "--secs", "3600", *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def test_full_rate():
    """A producer that never waits writes slots while they are copied. Nothing torn may be shown, all else is counted."""
    if not PCAP:
        tap.skip("each packet of a stream at full rate is whole", "needs libpcap")
        return
    for size, more in ((1000, ()), (8000, ("--batch", "32")), (60, ("--batch", "64", "--capacity", "256"))):
        face = f"{NAME}-full-{size}"
        sides = [start_side("sink", "engine", face, size, *more)]
        while not os.path.exists(f"/dev/shm/ndn-shm-{face}") and sides[0].poll() is None:
            pass
        following = ready(start("-e", "-c", "5000", "-w", "-", face))
        sides.append(start_side("source", "app", face, size, *more))
        status, out, err = finish(following)
        for side in sides:
            os.killpg(side.pid, signal.SIGKILL)
            side.wait()
        packets = [frame[14:] for _, frame, _ in frames(out)] if out else []
        bad = [packet[:16].hex() for packet in packets if torn(packet) or len(packet) != size]
        tap.check(status == 0 and len(packets) == 5000 and not bad, f"each packet of a stream at full rate is whole: {size} bytes",
                  f"{status} {len(packets)} {len(bad)} {bad[:5]}\n{err}")
        numbers = [int.from_bytes(packet[:8], "little") for packet in packets]
        wanted = [5000, 5000, numbers[-1] + 1 - len(numbers), 0] if numbers else []
        tap.check(numbers == sorted(set(numbers)) and summary(err) == wanted,
                  "in order, each once, and what is missing is counted", (wanted, err))
        leftover.remove(face)


def test_missed():
    """While it stands still, three rounds go through a ring of 16; then it shows what is surely whole: half of them."""
    with Face("missed").attach() as face:
        following = start("-e", face.name)
        face.app.put(interest("/first"))
        tap.check(line_of(following.stdout).endswith(b"/first"), "it follows")
        os.kill(following.pid, signal.SIGSTOP)
        for n in range(48):
            face.app.put(interest(f"/n/{n}"))
            face.engine.order("recv")
        os.kill(following.pid, signal.SIGCONT)
        lines = [line_of(following.stdout).decode().split(" ", 1)[1] for _ in range(9)]
        wanted = ["app > engine, 40 MISSED", *(f"app > engine, length {len(interest(f'/n/{n}'))}, INTEREST: /n/{n}"
                                               for n in range(40, 48))]
        tap.check(lines == wanted, "what it missed is counted where it is missing", lines)
        os.kill(following.pid, signal.SIGSTOP)
        for n in range(16):
            face.app.put(interest(f"/m/{n}"))
        os.kill(following.pid, signal.SIGCONT)
        lines = [line_of(following.stdout).decode().split(": ")[-1] for _ in range(16)]
        tap.check(lines == [f"/m/{n}" for n in range(16)], "of what the consumer has not taken nothing is missed", lines)
        following.send_signal(signal.SIGTERM)
        status, _, err = finish(following)
        tap.check(status == 0 and summary(err) == [25, 25, 40, 0], "and in the summary", err)


def test_nobody_notices():
    with Face("quiet").attach() as face:
        face.app.put(interest("/a"))
        face.engine.order("recv")
        quiet = (face.engine.order("quiet"), face.app.order("quiet"))
        with open(face.region, "rb") as file:
            before = file.read()
        following = ready(start(face.name))
        deadline = time.monotonic() + DEADLINE_S
        while os.sched_getscheduler(following.pid) != os.SCHED_IDLE and time.monotonic() < deadline:
            pass
        tap.check(os.sched_getscheduler(following.pid) == os.SCHED_IDLE, "it goes behind everybody else")
        others = [os.sched_getscheduler(int(tid)) for tid in os.listdir(f"/proc/{following.pid}/task") if int(tid) != following.pid]
        tap.check(others == [os.SCHED_OTHER], "but for who looks into /proc, under other processes' locks", others)
        with open(face.region, "rb") as file:
            tap.check(file.read() == before, "nothing in the region changes")
        tap.check((face.engine.order("quiet"), face.app.order("quiet")) == quiet == ("True", "True"), "and nobody is woken", quiet)
        with open(f"/proc/{following.pid}/maps", encoding="ascii") as maps:
            mapped = maps.read()
        tap.check("uvface-dump" in mapped and "ndn-shm" not in mapped, "it maps nothing of the face", mapped)
        following.send_signal(signal.SIGTERM)
        tap.check(finish(following)[0] == 0, "SIGTERM ends it well")


# --- How it ends -------------------------------------------------------------------------------------


def test_start():
    with Face("start").attach() as face:
        face.app.order("call " + b"a\x1bpp".hex())
        ours, its = os.openpty()
        with open(ours, "rb", buffering=0) as terminal:
            following = start(face.name, stderr=its)
            os.close(its)
            said = line_of(terminal).decode()
            wanted = (rf"uvface-dump: looking at {face.name}: engine {face.engine.pid}/\w+[^/]*/[^/ ]+, "
                      rf"app {face.app.pid}/a\\x1bpp/[^/ ]+, 16 slots of 100 bytes each way")
            tap.check(re.fullmatch(wanted, said), "on a terminal it says at once at what it looks", said)
            face.app.put(interest("/a"))
            tap.check(line_of(following.stdout).endswith(b"/a"), "and not among the packets")
            following.send_signal(signal.SIGTERM)
            following.communicate(timeout=DEADLINE_S)
        status, _, err = dump("-c", "1", face.name)
        tap.check(status == 0 and err.startswith("uvface-dump: 1 packets shown") and err.count("\n") == 1,
                  "elsewhere it does not", (status, err))


def test_ends():
    with Face("end").attach() as face:
        following = start(face.name)
        face.app.put(interest("/a"))
        tap.check(line_of(following.stdout).endswith(b"/a"), "it follows")
        face.app.kill()
        face.engine.kill()
        status, _, err = finish(following)
        tap.check(status == 0 and "the face has ended" in err, "when both ends are gone it ends well", (status, err))
        status, out, err = dump(face.name)
        tap.check(status == 3 and kinds(out) == ["app > engine, length 7, INTEREST: /a"] and "its engine is dead" in err,
                  "of a dead engine's face it shows what lies there, status 3", (status, out, err))
    with Face("reader").attach() as face:
        following = start(face.name)
        following.stdout.close()
        following.stdout = None
        status = following.wait(DEADLINE_S)
        following.stderr.close()
        tap.check(status == 0, "it ends when nobody reads any more, without writing", status)
        with open("/dev/full", "wb") as full:
            if PCAP:
                status, _, err = dump("-w", "/nonexistent/x", face.name)
                tap.check(status == 1 and err == "uvface-dump: /nonexistent/x: No such file or directory\n",
                          "a file that cannot be made is a failure", (status, err))
            face.app.put(interest("/a"))
            status, _, err = finish(start("-c", "1", face.name, stdout=full))
            tap.check(status == 1 and "standard output: No space left" in err, "a full disk is a failure", (status, err))


def test_hangup():
    with Face("nohup").attach() as face:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        following = ready(start(face.name))
        signal.signal(signal.SIGHUP, before)
        following.send_signal(signal.SIGHUP)
        for n in range(3):
            face.app.put(interest(f"/{n}"))
            line = line_of(following.stdout)
            tap.check(line.endswith(f"/{n}".encode()), "a SIGHUP that is ignored does not end it", line)
        following.send_signal(signal.SIGTERM)
        status, _, err = finish(following)
        tap.check(status == 0 and summary(err) == [3, 3, 0, 0], "but SIGTERM does", (status, err))
        following = ready(start(face.name))
        following.send_signal(signal.SIGHUP)
        status, _, err = finish(following)
        tap.check(status == 0, "and so does another SIGHUP", (status, err))


# --- Which face --------------------------------------------------------------------------------------


@contextlib.contextmanager
def fake(path, model):
    """A copy of a region, with a lock as an engine has it."""
    with open(model, "rb") as file, open(path, "xb") as copy:
        try:
            copy.write(file.read())
            copy.flush()
            fcntl.flock(copy, fcntl.LOCK_EX)
            yield
        finally:
            os.unlink(path)


def test_processes():
    with Face("pid").attach() as face, Face("pid2") as second:
        face.app.put(interest("/a"))
        second.engine.put(data("/b"))
        for actor in (face.engine, face.app):
            status, out, err = dump("-c", "1", str(actor.pid))
            tap.check(status == 0 and out.endswith("INTEREST: /a\n"), "a process on one face means that face", (status, out, err))
    both = Actor(LIB, "private", "")
    both.put(data("/p"))
    process = start("-c", "1", str(both.pid))
    status, out, err = finish(process)
    tap.check((status == 0 and out.endswith(b" engine > app, length 49, DATA: /p\n")) or (status == 1 and "root" in err),
              "a private face is found by its process", (status, out, err))
    with open(f"/proc/{both.pid}/maps", encoding="ascii") as maps:
        inode = re.search(r" (\d+) +/memfd:", maps.read())[1]
    labels = [f"private:{inode}", f"(private:{inode})"]
    for label in labels:
        again = dump("-c", "1", label)
        tap.check(again[0] == status and again[1][17:] == out.decode()[17:], "and by its label", again)
    with Face("model") as face, contextlib.ExitStack() as fakes:
        face.engine.put(data("/fake"))
        for label in labels:
            fakes.enter_context(fake(f"/dev/shm/ndn-shm-{label}", face.region))
        for label in labels:
            again = dump("-c", "1", label)
            tap.check(again[0] == status and again[1][17:] == out.decode()[17:], "not the region that was named so", again)
    both.kill()
    status, out, err = dump(str(os.getpid()))
    tap.check(status == 1 and out == "" and "no such face, and no process of this number is" in err, "a process on no face", (status, err))
    two = Actor(LIB, "two", f"{NAME}-two")
    two.order("call " + b"t\x1bwo".hex())
    status, out, err = dump(str(two.pid))
    told = re.findall(rf"^  {NAME}-two([12]): engine {two.pid}/t\\x1bwo/[^/ ]+, app -$", err, re.MULTILINE)
    tap.check(status == 1 and "several faces" in err and sorted(told) == ["1", "2"],
              "a process on several faces: they are told, with programs", (status, out, err))
    two.order("bye")
    two.process.wait(DEADLINE_S)
    two.kill()
    status, out, err = dump(f"{NAME}-none")
    tap.check(status == 1 and out == "" and "no such face" in err, "no such name", (status, err))


def test_sealed():
    with Face("sealed").attach() as face:
        following = ready(start(face.name))
        face.app.put(interest("/a"))
        tap.check(line_of(following.stdout).endswith(b"/a"), "it follows a face")
        face.engine.order("recv")
        face.engine.order("probe")
        if face.engine.order("sealed") == "1":
            tap.check(not os.path.exists(face.region), "whose region then loses its name")
            face.app.put(interest("/b"))
            tap.check(line_of(following.stdout).endswith(b"/b"), "and goes on")
            for what in (face.name, str(face.app.pid), str(face.engine.pid)):
                status, out, err = dump("-c", "1", what)
                tap.check(status == 0 and out.endswith("INTEREST: /b\n"), "a sealed face is found by name and process",
                          (what, status, out, err))
        else:
            tap.skip("a sealed face", "regions cannot be sealed here")
        following.send_signal(signal.SIGTERM)
        tap.check(finish(following)[0] == 0, "SIGTERM ends it well")


class Private:
    """A private face in two processes, and who looks at it in the memory of one: mostly of that which came last, the app.
    Root could read it without."""

    def __init__(self):
        user = OTHER if os.geteuid() == 0 else None
        self.engine = Actor(LIB, "private", "", user)
        with open(f"/proc/{self.engine.pid}/task/{self.engine.pid}/children", encoding="ascii") as children:
            self.app = int(children.read().split()[0])
        self.following = ready(start(str(self.engine.pid), user=user))
        self.engine.put(data("/a"))
        self.is_possible = line_of(self.following.stdout).endswith(b"/a")

    def mapping(self):
        with open(f"/proc/{self.engine.pid}/maps", encoding="ascii") as maps:
            return re.search(r"^(\w+)-.* (\d+) +/memfd:", maps.read(), re.MULTILINE).groups()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.following.kill()
        self.following.communicate()
        self.engine.kill()


def test_memory():
    what = "a region in the memory of a process"
    if os.geteuid() == 0 and not may_be_other():
        tap.skip(what, "root reads it without, and others may not run this build")
        return
    with Private() as face:
        if not face.is_possible:
            tap.skip(what, "it may not be read here")
            return
        os.kill(face.app, signal.SIGKILL)
        face.engine.put(data("/b"))
        tap.check(line_of(face.following.stdout).endswith(b"/b"), "it goes on in the memory of the one when the other has died")
        os.kill(face.engine.pid, signal.SIGKILL)
        status, _, err = finish(face.following)
        tap.check(status == 0 and "the face has ended" in err and summary(err) == [2, 2, 0, 0], "and ends well when both have",
                  (status, err))
    for n in (0, 5):
        with Private() as face:
            os.kill(face.app, signal.SIGKILL)
            face.engine.put(data("/b"))
            line_of(face.following.stdout)
            before = face.mapping()
            with Stopped(face.following):
                face.engine.order("again")
                face.engine.put(*[data("/new")] * n)
                time.sleep(0.05)  # longer than what it takes for a look that is late
            after = face.mapping()
            status, out, err = finish(face.following)
            if after[0] != before[0]:
                tap.skip(f"{n} packets of another face at the same address", "it came to another one")
                continue
            tap.check(status == 0 and out == b"" and "the face has ended" in err and summary(err) == [2, 2, 0, 0],
                      f"{n} packets of another face at the same address are not shown", (before, after, status, out, err))


def may_be_other():
    try:
        return os.geteuid() == 0 and dump("--version", user=OTHER)[0] == 0
    except PermissionError:
        return False


def test_strangers():
    if not may_be_other():
        tap.skip("the face of another user", "needs root, and a build that others may run")
        return
    with Face("strange") as face:
        status, out, err = dump(face.name, user=OTHER)
        tap.check(status == 1 and out == "" and "may be read by its owner and root" in err,
                  "a face that may not be read: who may", (status, out, err))
        status, out, err = dump(str(face.engine.pid), user=OTHER)
        tap.check(status == 1 and out == "", "nor by its process", (status, out, err))
    with Face("theirs", OTHER) as face:
        face.engine.put(data("/a"))
        status, out, err = dump("-c", "1", face.name)
        tap.check(status == 0 and out.endswith("DATA: /a\n"), "root sees a user's packets", (status, out, err))


# --- Hostile -----------------------------------------------------------------------------------------


def poke(path, offset, value):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(struct.pack("=I", value))


def test_hostile():
    for what, offset, value, said in (
            ("a capacity of 0", 8, 0, "no header of a face"),
            ("a capacity beyond the file", 8, 1 << 20, "shorter than its header says"),
            ("a capacity beyond all", 8, 0xFFFFFFFF, "no header of a face"),
            ("a slot beyond the file", 12, 1 << 30, "shorter than its header says"),
            ("a slot beyond all", 12, 0xFFFFFFFF, "no header of a face"),
            ("an index beyond the ring", TAILS["a2e"], 17, "the indices of a ring are impossible"),
            ("a tail behind its head", TAILS["e2a"], 0xFFFFFFFF, "the indices of a ring are impossible"),
            ("no magic", 0, 0, "no header of a face")):
        with Face("hostile") as face:
            poke(face.region, offset, value)
            status, out, err = dump(face.name)
            tap.check(status == 1 and out == "" and said in err, f"{what}: {said}", (status, out, err))
    with Face("length").attach() as face:
        face.app.put(interest("/a"), interest("/b"))
        poke(face.region, HEADER_BYTES, 101)
        poke(face.region, HEADER_BYTES + SLOT_BYTES + 4, 0)
        face.app.put(interest("/c"))
        status, out, err = dump("-c", "2", face.name)
        tap.check(status == 0 and kinds(out) == ["app > engine, BROKEN: the slot says 101 bytes",
                                                 "app > engine, length 7, INTEREST: /c"],
                  "a length beyond the slot is told, one of 0 is no packet", (status, out, err))
    with Face("jumps") as face:
        following = ready(start("-e", face.name, stdout=subprocess.DEVNULL))
        tail = 0
        for jump in [16, 1 << 31, 0xFFFFFFF0, 7] * 500:
            tail = (tail + jump) & 0xFFFFFFFF
            poke(face.region, TAILS["a2e"], tail)
            poke(face.region, TAILS["a2e"] + 64, tail)
        following.send_signal(signal.SIGTERM)
        status, _, err = finish(following)
        is_told = status == 1 and "impossible" in err  # if tail and head were seen apart for long enough
        tap.check((status == 0 or is_told) and summary(err), "indices that jump about do it no harm", (status, err))
    with Face("short").attach() as face:
        face.app.put(interest("/a"))
        following = start(face.name)
        tap.check(line_of(following.stdout).endswith(b"/a"), "it follows")
        os.truncate(face.region, 100)
        status, _, err = finish(following)
        tap.check(status == 1 and "truncated" in err, "a region that is truncated meanwhile: no signal, but an error", (status, err))
        status, _, err = dump(face.name)
        tap.check(status == 1 and "shorter than a header" in err, "one that was truncated before", (status, err))
    path = f"/dev/shm/ndn-shm-{NAME}-fifo"
    os.mkfifo(path, 0o600)
    status, _, err = dump(f"{NAME}-fifo")
    os.unlink(path)
    tap.check(status == 1 and "not a regular file" in err, "what is no file is not opened", (status, err))
    status, _, err = dump("\x1b[2J")
    tap.check(status == 1 and "\\x1b" in err, "a name cannot write to the terminal", err)


def huge(path, capacity, slot_bytes, length):
    """A region whose ring from app to engine is full of packets of that length, and that is hardly there: a sparse file."""
    with open(path, "xb") as file:
        file.truncate(HEADER_BYTES + 2 * capacity * (4 + slot_bytes))
        file.write(struct.pack("=QII", 0x4E444E5F53484D00, capacity, slot_bytes))
        for slot in range(capacity if length else 0):
            file.seek(HEADER_BYTES + slot * (4 + slot_bytes))
            file.write(struct.pack("=I", length))
    poke(path, TAILS["a2e"], capacity)


def test_huge():
    path = f"/dev/shm/ndn-shm-{NAME}-huge"
    try:
        huge(path, 1 << 30, 1, 0)
        following = ready(start(f"{NAME}-huge"))
        following.send_signal(signal.SIGINT)
        status, out, err = finish(following)
        missed = (1 << 30) - 65536
        tap.check(status == 0 and kinds(out.decode()) == [f"app > engine, {missed} MISSED"] and summary(err) == [0, 0, missed, 0],
                  "a look at a ring that claims to be huge has an end, and says what it misses", (status, out, err))
        os.unlink(path)
        huge(path, 4096, 1 << 24, 1 << 24)
        following = ready(start(f"{NAME}-huge", stdout=subprocess.DEVNULL))
        following.send_signal(signal.SIGINT)
        status, _, err = finish(following)
        tap.check(status == 0 and summary(err)[0] < 4096, "SIGINT ends a look that takes long", (status, err))
    finally:
        os.unlink(path)


def is_stuck(process):
    """Whether it waits for something that does not come: not for the next look, which comes soon."""
    def sleeps():
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            return re.findall(r"^(?:State:\tS|voluntary_ctxt_switches:\t\d+)", status.read(), re.MULTILINE)
    before = sleeps()
    time.sleep(0.1)
    return len(before) == 2 and before == sleeps()


def end_stuck(process, signum):
    """Its status; None if the signal did not end it."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_stuck(process) and time.monotonic() < deadline:
        pass
    process.send_signal(signum)
    try:
        return process.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        return process.kill()


def test_no_reader():
    path = f"/dev/shm/ndn-shm-{NAME}-huge"
    huge(path, 8192, 16, 5)
    try:
        for signum, what, more, opened in ((signal.SIGTERM, "a pipe", (), os.pipe), (signal.SIGHUP, "a terminal", (), os.openpty),
                                           (signal.SIGINT, "a pipe, as pcap", ("-w", "-"), os.pipe))[:3 if PCAP else 2]:
            for has_all in (False, True):
                ours, its = opened()
                process = ready(start(*more, f"{NAME}-huge", stdout=its, **({"stderr": its} if has_all else {})))
                status = end_stuck(process, signum)
                _, _, err = (0, b"", "") if has_all else finish(process)
                tap.check(status == 0 and (has_all or summary(err)),
                          f"a signal ends it while nobody reads {what}{', and stderr goes there' * has_all}", (status, err))
                os.close(ours)
                os.close(its)
    finally:
        os.unlink(path)


def test_usage():
    tap.check(dump("--help")[0] == 0 and "--prefix" in dump("--help")[1], "--help")
    tap.check(re.fullmatch(r"uvface-dump \d+\.\d+\.\d+\n", dump("--version")[1]), "--version")
    for wrong in ([], ["--nonsense", "x"], ["a", "b"]):
        tap.check(dump(*wrong)[0] == 2, f"{' '.join(wrong)}: status 2")
    for option, value in (("--count", "0"), ("--count", "x"), ("--count", "-1"), ("--prefix", "/%zz")):
        status, _, err = dump(option, value, "a")
        tap.check(status == 2 and f'uvface-dump: {option}: "{value}" is not' in err, f"{option} {value}: status 2, and why", (status, err))


def main():
    tests = [test_lines, test_order, test_order_of_one, test_order_while_they_come, test_filter_and_count, test_pcap, test_full_rate, test_missed, test_nobody_notices, test_start, test_ends, test_hangup,
             test_processes, test_sealed, test_strangers, test_memory, test_hostile, test_huge, test_no_reader, test_usage]
    try:
        for test in tests:
            test()
    finally:
        actors.kill_all()
    left = [path for folder in ("/dev/shm", "/tmp") for path in os.listdir(folder) if NAME + "-" in path]
    tap.check(not left, "nothing is left", left)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
