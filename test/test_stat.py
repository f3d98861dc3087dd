#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs uvface-stat among real faces, whose processes are really killed, and prints TAP: what it shows, what it calls
stale and removes, what it leaves alone, that nothing makes it wait and nobody is disturbed, and that what others call
themselves cannot write to the terminal. Looks at its own faces alone, and removes by name.

Usage: test_stat.py BUILD_ROOT LIBNDNSHM [EXAMPLES]   (the directory of the built examples)"""
import fcntl
import hashlib
import json
import os
import pwd
import pty
import re
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time

import actors
import leftover
from actors import DEADLINE_S, Actor, line_of
from tap import Tap

ROOT, LIB = (os.path.abspath(path) for path in sys.argv[1:3])
STAT = os.path.join(ROOT, "uvface", "tools", "uvface-stat")
OTHER = 61234  # a user that nobody is
NAME = f"st-{os.getpid()}"
tap = Tap()


def user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


USER = user_name(os.geteuid())


def region(name):
    return f"/dev/shm/ndn-shm-{name}"


def fifos(name):
    return [f"/tmp/.ndn-{name}.{way}.pipe" for way in ("a2e", "e2a")]


def there(name):
    return sorted(path for path in [region(name), *fifos(name), leftover.directory(name)] if os.path.lexists(path))


def stat(*arguments, user=None, **more):
    """Status, standard output and error, of bytes that must be ASCII. It may not wait for anything."""
    more.update({"user": user, "group": user, "extra_groups": []} if user else {})
    done = subprocess.run([STAT, *arguments], capture_output=True, timeout=DEADLINE_S, **more)
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii")


def may_be_other():
    """True if this test may play another user, and that one may run what was built."""
    try:
        return os.geteuid() == 0 and stat("--version", user=OTHER)[0] == 0
    except PermissionError:
        return False


def face(name, **more):
    """The face as JSON tells it."""
    faces = [one for one in json.loads(stat("--json", **more)[1])["faces"] if one["name"] == name]
    return faces[0] if len(faces) == 1 else {"found": len(faces)}


def row(name):
    """Its line of the table, in words."""
    lines = [line.split() for line in stat()[1].splitlines()]
    rows = [line for line in lines if line[0] == name]
    return rows[0] if len(rows) == 1 else rows


def shows(shown, wanted, what):
    wrong = {key: (shown.get(key), value) for key, value in wanted.items() if shown.get(key) != value}
    tap.check(not wrong, what, f"{wrong}\n{shown}")


# What the page lists.
KEYS = """name kind has_region_name state app_state engine app roles_unknown other_processes inode owner_uid sealed file_size capacity
    slot_size engine_caps app_caps a2e e2a missing""".split()


def process(actor, program, uid=None):
    uid = os.geteuid() if uid is None else uid
    return {"pid": actor.pid, "program": program, "uid": uid, "user": user_name(uid)}


def see_app(name, state, cell, what):
    """Of an app that is not there: only who sees all processes knows that."""
    all_seen = json.loads(stat("--json")[1])["hidden_processes"] == 0
    shows(face(name), {"app": None, "app_state": state if all_seen else "unknown"}, f"no app: {what}")
    tap.check(row(name)[3] == (cell if all_seen else "?"), "and so in its line", row(name))


def test_named():
    name = f"{NAME}-named"
    engine = Actor(LIB, "engine", name)
    engine.order("call " + b"forwarder".hex())
    shows(face(name), {"kind": "named", "state": "alive", "engine": process(engine, "forwarder"), "app": None,
                       "capacity": 16, "slot_size": 100, "sealed": False, "missing": None}, "an engine without an app")
    tap.check(sorted(face(name)) == sorted(KEYS), "with all that the page lists", face(name))
    before, looked, after = time.time(), json.loads(stat("--json")[1]).get("time", 0), time.time()
    tap.check(before - 0.01 <= looked <= after + 0.01 and looked % 1 != 0, "and when it looked", (before, looked, after))
    see_app(name, "none", "-", "one that never came")
    app = Actor(LIB, "app", name)
    app.order("call " + b"ping".hex())
    app.order("send 3 50")
    engine.order("send 5 20")
    got = face(name)
    shows(got, {"engine": process(engine, "forwarder"), "app": process(app, "ping"), "app_state": "alive"}, "engine and app")
    shows(got["a2e"], {"tail": 3, "head": 0, "used": 3}, "the slots used towards the engine")
    shows(got["e2a"], {"tail": 5, "head": 0, "used": 5}, "the slots used towards the app")
    wanted = [name, "alive", f"{engine.pid}/forwarder/{USER}", f"{app.pid}/ping/{USER}", "16x100", "3", "5", "-", "no"]
    tap.check(row(name) == wanted, "the same in one line", row(name))
    tap.check(stat(name)[0] == 0 and stat(name, f"{NAME}-none")[0] == 1, "status 0 for a live face, 1 for one that is not there")
    with open(region(name), "rb"):
        shows(face(name), {"other_processes": 1, "missing": "1 more process"}, "who else has it, as in its line")
        tap.check(" ".join(row(name)[9:]) == "1 more process", "and there", row(name))
    lines = stat(name)[1].splitlines()
    tap.check([lines[1].index(f"  {n}  ") + 3 for n in (3, 5)] == [lines[0].index(way) + 3 for way in ("A2E", "E2A")],
              "numbers end where their titles end", lines)
    app.kill()
    engine.order("recv")
    shows(face(name), {"state": "alive", "app": None}, "an app that was killed")
    see_app(name, "dead", "dead", "one that was killed")
    app = Actor(LIB, "app", name)
    app.leave()
    see_app(name, "gone", "gone", "one that has left")

    before = there(name)
    engine.kill()
    status, out, _ = stat(name)
    tap.check(status == 3 and " dead " in out, "status 3 for a dead engine's face", (status, out))
    status, out, _ = stat()
    tap.check(status == 0 and row(name)[:2] == [name, "dead"], "which a list of all does not end with", (status, out))
    status, out, _ = stat("--help")
    tap.check("With NAME or PID: 0 all are alive" in out and "A list of all ends with 0, whatever it shows" in out, "and --help says so", out)
    status, out, err = stat("--stale", name)
    tap.check(status == 3 and sorted(out.split()) == before and there(name) == before,
              "--stale lists what it left, and touches nothing", (status, out, err, there(name)))
    shown = json.loads(stat("--stale", "--json", name)[1])["stale"]
    tap.check(sorted(one["path"] for one in shown) == before, "the same as JSON", shown)
    tap.check(set(before) <= set(stat("--stale")[1].split()), "and among all")
    status, out, err = stat("--remove", name)
    tap.check(status == 0 and sorted(out.split()) == before and not there(name), "--remove removes that", (status, out, err))
    tap.check(stat("--stale", name)[0] == 1 and stat(name)[0] == 1, "then there is no such face")


def test_live_is_left_alone():
    name = f"{NAME}-live"
    engine, before = Actor(LIB, "engine", name), there(name)
    app = Actor(LIB, "app", name)
    app.order("send 1 10")
    engine.order("recv")
    engine.order("probe")
    quiet = (engine.order("quiet"), app.order("quiet"))
    for _ in range(3):
        stat()
        stat("--stale", "--json")
    tap.check((engine.order("quiet"), app.order("quiet")) == quiet == ("True", "True"), "nobody on a face notices a look", quiet)
    if there(name) == before:  # else it is sealed
        status, _, err = stat("--remove", name)
        tap.check(status == 1 and "alive" in err and there(name) == before, "--remove of a live face fails", (status, err))
    app.kill()
    engine.kill()
    stat("--remove", name)
    deadline = time.monotonic() + DEADLINE_S
    while there(name) and time.monotonic() < deadline:  # a second, where only FIFOs are left
        stat("--remove", name)
        time.sleep(0.05)
    tap.check(not there(name), "nothing is left", there(name))


def see_sealed_as_other(name, engine):
    if not may_be_other():
        tap.skip("a sealed face of another user", "needs root, and a build that others may run")
        return
    shows(face(name, user=OTHER), dict.fromkeys(("capacity", "file_size", "inode"), None) | {"kind": "named", "has_region_name": False},
          "a sealed face of another user")
    for arguments in ([], [name]):
        status, out, err = stat(*arguments, user=OTHER)
        lines = [line for line in out.splitlines() if line.startswith(f"{name} ")]
        tap.check(status == 0 and len(lines) == 1 and lines[0].split()[2:4] == [f"{engine.pid}/python3/{USER}", "?"],
                  "a sealed face of another user: whether it has an app is not known", (status, out))
        tap.check("root sees" in out, "and its line says who sees it", out)
        tap.check(re.search(r"^\d+ processes .* could not be looked into", err), "and that processes were not seen", err)
    script = ["-m", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid "$0" --clear-groups "$@"', str(OTHER)]
    done = subprocess.run(["unshare", *script, STAT, "--json", name], capture_output=True, timeout=DEADLINE_S)
    if done.stdout:
        shows(json.loads(done.stdout)["faces"][0], {"app_state": "unknown"}, "nor among processes that are not even listed")
    else:
        tap.skip("nor among processes that are not even listed", done.stderr.decode().strip())


def test_sealed():
    name = f"{NAME}-sealed"
    engine = Actor(LIB, "engine", name)
    app = Actor(LIB, "app", name)
    engine.order("probe")
    if engine.order("sealed") == "1":
        app.order("send 2 10")
        shows(face(name), {"kind": "named", "has_region_name": False, "state": "alive", "sealed": True, "capacity": 16,
                           "engine": process(engine, "python3"), "app": process(app, "python3")},
              "a sealed face, whose region has no name")
        see_sealed_as_other(name, engine)
    else:
        tap.skip("a sealed face, whose region has no name", "regions cannot be sealed here")
    app.kill()
    engine.kill()
    deadline = time.monotonic() + DEADLINE_S
    while there(name) and time.monotonic() < deadline:
        stat("--remove", name)
        time.sleep(0.05)
    tap.check(not there(name), "and what its engine left is removed")


def private_of(actor, user=None):
    faces = json.loads(stat("--json", user=user)[1])["faces"]
    return [one for one in faces if actor.pid in [end["pid"] for end in (one["engine"], one["app"]) if end]]


def test_private():
    actor = Actor(LIB, "private", "")
    actor.order("send 4 30")
    faces = private_of(actor)
    if tap.check(len(faces) == 1, "a private face is found by its processes", faces):
        shows(faces[0], {"name": None, "kind": "private", "state": "alive", "roles_unknown": False}, "without a name")
        shows(faces[0], {"engine": process(actor, "python3")}, "its engine has put its PID into the region's name")
        if faces[0]["capacity"] if "capacity" in faces[0] else None:
            shows(faces[0], {"capacity": 16, "slot_size": 100}, "and with its geometry")
            shows(faces[0]["e2a"], {"used": 4}, "and its packets")
        else:
            tap.check("root" in faces[0]["missing"], "or it says what is missing", faces[0])
        label = f"private:{faces[0]['inode']}"
        for meant in (str(actor.pid), label, f"({label})"):
            status, out, err = stat("--json", meant)
            found = json.loads(out)["faces"]
            tap.check(status == 0 and [one["inode"] for one in found] == [faces[0]["inode"]],
                      f"it is found by its {'label' if 'private' in meant else 'process'}", (status, found, err))
        tap.check(f"({label})" in stat(str(actor.pid))[1], "and is shown so")
        for nobodys in (f"({label}", f"{label}0", f"{label})"):
            tap.check(stat(nobodys)[0] == 1, "and by nothing like it", nobodys)
    if may_be_other():
        tap.check(not private_of(actor, OTHER), "another user does not see it")
        status, _, err = stat(user=OTHER)
        tap.check(status == 0 and re.search(r"\d+ processes of other users", err), "and is told so", err)
    else:
        tap.skip("another user does not see it", "needs root, and a build that others may run")
    actor.kill()


def roles(name, within=(), child_name=False):
    """Which end of a region of this name, that this process has and a child opens later, is shown as which."""
    child = subprocess.Popen([*within, "sh", "-c", 'read -r path; exec 3<"$path"; echo open; read -r end'], bufsize=0,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    fd = os.memfd_create(f"ndn-shm:{child.pid}" if child_name else name)
    child.stdin.write(f"/proc/{os.getpid()}/fd/{fd}\n".encode())
    said = line_of(child.stdout)
    inode = os.fstat(fd).st_ino
    shown = [one for one in json.loads(stat("--json")[1])["faces"] if one["inode"] == inode]
    os.close(fd)
    child.communicate(b"\n", timeout=DEADLINE_S)
    if said != b"open" or len(shown) != 1:
        return said, shown
    return ["unknown" if shown[0]["roles_unknown"] else "this" if one["pid"] == os.getpid() else "child"
            for one in (shown[0]["engine"], shown[0]["app"])]


def test_roles():
    """Of two ends of one user, that is the engine whose PID the region's name has."""
    for name, child_name, wanted in ((f"ndn-shm:{os.getpid()}", False, ["this", "child"]), ("", True, ["child", "this"]),
                                     ("ndn-shm:999999999", False, ["unknown"] * 2), ("ndn-shm", False, ["unknown"] * 2),
                                     (f"ndn-shm:{os.getpid()}x", False, ["unknown"] * 2), ("ndn-shm:", False, ["unknown"] * 2),
                                     (f"ndn-shm:{2**32 + os.getpid()}", False, ["unknown"] * 2)):
        got = roles(name, child_name=child_name)
        what = "the child's PID" if child_name else name.replace(str(os.getpid()), "PID")
        tap.check(got == wanted, f"roles by {what}", got)
    apart = ["unshare", "-p", "-f"]
    if os.geteuid() != 0 or subprocess.run([*apart, "true"], stderr=subprocess.DEVNULL).returncode:
        tap.skip("a PID in a container", "needs root, and namespaces")
        return
    got = roles("ndn-shm:1", within=apart)
    tap.check(got == ["child", "this"], "a PID is that which an engine sees itself, in a container", got)


def test_processes():
    names = [f"{NAME}-pid", f"{NAME}-pid2"]
    engines = [Actor(LIB, "engine", name) for name in names]
    status, out, err = stat("--json", *[str(engine.pid) for engine in engines])
    tap.check(status == 0 and [one["name"] for one in json.loads(out)["faces"]] == names, "two processes, two faces", (status, out, err))
    status, out, err = stat("--json", names[0], str(engines[0].pid))
    tap.check(status == 0 and [one["name"] for one in json.loads(out)["faces"]] == names[:1], "a face twice meant is shown once", (status, out, err))
    digits = Actor(LIB, "engine", str(engines[0].pid))
    status, out, err = stat("--json", str(engines[0].pid))
    tap.check(status == 0 and [one["name"] for one in json.loads(out)["faces"]] == [str(engines[0].pid)], "a name of digits goes first", (status, out, err))
    for nobodys in ("0", "-0", "4294967296", str(2**32 + engines[1].pid), str(os.getpid())):
        status, _, err = stat("--", nobodys)
        tap.check(status == 1 and f"{nobodys}: no such face" in err, "a process on no face", (status, err))
    for engine in [digits, *engines]:
        engine.kill()
    for name in [str(engines[0].pid), *names]:
        tap.check(stat(name)[0] == 3 and stat("--remove", name)[0] == 0 and not there(name), "of the dead, the name is left")


def test_strangers():
    name = f"{NAME}-strange"
    if not may_be_other():
        tap.skip("the faces of other users", "needs root, and a build that others may run")
        return
    engine = Actor(LIB, "engine", name)
    shown = face(name, user=OTHER)
    shows(shown, {"state": "alive", "engine": process(engine, "python3"), "a2e": None},
          "who has a foreign face is known by its lock")
    tap.check("Permission denied" in (shown["missing"] or ""), "and what is missing is said", shown)
    tap.check(sorted(shown) == sorted(KEYS) and shown["file_size"] == os.stat(region(name)).st_size and
              {shown[key] for key in ("capacity", "slot_size", "engine_caps", "app_caps", "sealed")} == {None},
              "what could not be read is null", shown)
    engine.kill()
    shows(face(name, user=OTHER), {"state": "unknown"}, "whether a foreign engine is dead is not known")
    tap.check(stat("--remove", name, user=OTHER)[0] == 1 and len(there(name)) == 4, "and nothing of it is removed")
    tap.check(stat("--remove", name)[0] == 0 and not there(name), "but by its owner")

    actor = Actor(LIB, "engine", name, user=OTHER)
    shows(face(name), {"state": "alive", "engine": process(actor, "python3", OTHER)}, "root sees a user's face")
    tap.check(stat("--remove", name)[0] == 1 and len(there(name)) == 4, "and leaves it while it lives")
    actor.kill()
    shows(face(name), {"state": "dead"}, "and sees it dead")
    os.lchown(fifos(name)[0], 0, 0)
    tap.check(stat("--remove", name)[0] == 1 and len(there(name)) == 4, "with its user's rights alone")
    os.lchown(fifos(name)[0], OTHER, OTHER)
    tap.check(stat("--remove", name)[0] == 0 and not there(name), "and removes it")


def test_hostile():
    name = f"{NAME}-hostile"
    path = region(name)

    def seen(what, missing, state="unknown"):
        shown = face(name)
        tap.check(shown.get("state") == state and missing in (shown["missing"] or ""), f"{what}: {missing}", shown)
        status, _, _ = stat("--remove", name)
        tap.check(status == 1 and os.path.lexists(path), f"{what}: is not removed")
        os.unlink(path)

    os.mkfifo(path, 0o600)
    seen("a FIFO under the name of a region", "not a regular file")
    os.symlink("/etc/passwd", path)
    seen("a symbolic link", "not a regular file")
    with open(path, "wb") as file:
        file.write(b"garbage")
    seen("a short file", "shorter than a header")
    with open(path, "wb") as file:
        file.write(b"\xff" * 500)
    seen("a file of garbage", "no header of a face")

    engine = Actor(LIB, "engine", name)
    os.truncate(path, 100)
    shows(face(name), {"state": "alive", "missing": "the region is shorter than a header"}, "a region that was truncated")
    engine.kill()
    os.unlink(path)
    stat("--remove", name)
    leftover.remove(name)

    Actor(LIB, "engine", name).kill()
    lease = Actor(LIB, "lease", name)
    shown = face(name)
    tap.check("lease" in (shown["missing"] or ""), "a leased region is not waited for", shown)
    lease.kill()
    stat("--remove", name)
    tap.check(not there(name), "and removed when the lease is over")


def test_escapes():
    name = f"{NAME}-\x1b[2J\n\udcff\\ "
    shown = f"{NAME}-\\x1b[2J\\x0a\\xff\\x5c\\x20"
    with open(os.fsencode(region(name)), "wb"):
        pass
    tap.check(row(shown) and row(shown)[0] == shown, "a file's name cannot write to the terminal", row(shown))
    shows(face(f"{NAME}-\\x1b[2J\\x0a\\xff\\x5c "), {"state": "unknown"}, "and JSON stays JSON")
    status, _, err = stat("--stale", os.fsencode(name))
    tap.check(status == 1 and "\\x1b" in err, "nor can one that was asked for", err)
    os.unlink(os.fsencode(region(name)))

    name = f"{NAME}-comm"
    engine = Actor(LIB, "engine", name)
    engine.order("call " + b"\xff\xfe\x1b]0;x\x07 a/b"[:15].hex())
    tap.check(row(name)[2] == f"{engine.pid}/\\xff\\xfe\\x1b]0;x\\x07\\x20a/b/{USER}", "nor a process's", row(name))
    tap.check(face(name)["engine"]["program"] == "\\xff\\xfe\\x1b]0;x\\x07 a/b", "nor into JSON", face(name))
    engine.kill()
    stat("--remove", name)


def start_watching(*arguments, **more):
    return subprocess.Popen([STAT, *arguments], bufsize=0, start_new_session=True, **more)


def test_watch():
    name = f"{NAME}-watch"
    engine = Actor(LIB, "engine", name)
    watching = start_watching("--json", "--watch=0.05", name, stdout=subprocess.PIPE)
    looked = json.loads(line_of(watching.stdout))
    first = looked["faces"][0]
    tap.check(abs(looked.get("time", 0) - time.time()) < DEADLINE_S, "each look tells its time", looked)
    tap.check(first["e2a"]["packets_per_s"] is None, "the first look knows no rate", first)
    engine.order("send 10 70")
    moved, deadline = [], time.monotonic() + DEADLINE_S
    while sum(ring["packets_per_s"] > 0 for ring in moved) == 0 and time.monotonic() < deadline:
        moved.append(json.loads(line_of(watching.stdout))["faces"][0]["e2a"])
    ring = moved[-1]
    tap.check(ring["packets_per_s"] > 0 and abs(ring["bytes_per_s"] / ring["packets_per_s"] - 70) < 1e-6,
              "packets and bytes a second", moved)
    watching.send_signal(signal.SIGINT)
    tap.check(watching.wait(DEADLINE_S) == 0, "SIGINT ends it well", watching.returncode)
    watching.stdout.close()

    for ignores in (False, True):
        watching = start_watching("--watch=3600", stdout=subprocess.PIPE, restore_signals=not ignores)
        tap.check(line_of(watching.stdout).startswith(b"FACE"), "a table goes into a pipe")
        watching.stdout.close()
        tap.check(watching.wait(DEADLINE_S) == 0, "it ends when nobody reads any more, without writing", watching.returncode)

    ours, theirs = pty.openpty()
    watching = start_watching("--watch=0.05", name, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text, deadline = b"", time.monotonic() + DEADLINE_S
    while text.count(b"\x1b[H") < 3 and time.monotonic() < deadline:
        if select.select([ours], [], [], 1)[0]:
            text += os.read(ours, 65536)
    tap.check(text.startswith(b"\x1b[H\x1b[2J") and text.count(name.encode()) >= 2, "a terminal is drawn anew", text[:300])
    watching.send_signal(signal.SIGTERM)
    try:
        while select.select([ours], [], [], DEADLINE_S)[0]:
            os.read(ours, 65536)  # so that it never waits for us
    except OSError:
        pass  # it has closed the other side
    tap.check(watching.wait(DEADLINE_S) == 0, "SIGTERM ends it well", watching.returncode)
    os.close(ours)
    engine.kill()
    stat("--remove", name)


def test_watch_keeps_time():
    """Looks are at whole intervals after the first, and do not come later by what each of them takes."""
    watching = start_watching("--json", "--watch=0.1", f"{NAME}-none", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    off_s, deadline = 1, time.monotonic() + DEADLINE_S
    while off_s >= 0.01 and time.monotonic() < deadline:  # others may keep us from the processor for a while
        times = [json.loads(line_of(watching.stdout))["time"] for _ in range(20)]
        off_s = min(off_s, *(statistics.median(abs((at - first + 0.05) % 0.1 - 0.05) for at in times) for first in times))
    tap.check(off_s < 0.01, "a watched list keeps its time", off_s)
    watching.kill()
    watching.wait()
    watching.stdout.close()


def test_rates_of_nonsense():
    """A tail that goes back, or on by half of all numbers, gives no rate."""
    name = f"{NAME}-tail"
    header = bytearray(448)
    struct.pack_into("<QII", header, 0, 0x4E444E5F53484D00, 16, 64)
    with open(region(name), "wb", buffering=0) as file:
        file.write(header + bytes(2 * 16 * 68))
        watching = start_watching("--json", "--watch=0.05", name, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line_of(watching.stdout)
        for tail, is_known in ((5, True), (3, False), (3 + 2**31, False), (2 + 2**32, True), (1, False)):
            os.pwrite(file.fileno(), struct.pack("<I", tail % 2**32), 64)
            ring, deadline = {}, time.monotonic() + DEADLINE_S
            while ring.get("tail") != tail % 2**32 and time.monotonic() < deadline:
                ring = json.loads(line_of(watching.stdout))["faces"][0]["a2e"]
            tap.check((ring["packets_per_s"] is not None) == (ring["bytes_per_s"] is not None) == is_known,
                      f"a rate to a tail of {tail}{'' if is_known else ': unknown'}", ring)
        watching.kill()
        watching.wait()
        watching.stdout.close()
    os.unlink(region(name))


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read().split()


def state_of(pid):
    """Its letter, or nothing if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def stop_a_child(pid):
    """Stops a child before it ends by itself, if one can be met until the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for child in children_of(pid):
            try:
                os.kill(int(child), signal.SIGSTOP)
            except ProcessLookupError:
                continue
            if state_of(child) in ("T", "t", "R", "S", "D"):
                return child
    return None


def test_watch_reaps():
    """Root looks at what a user left in a process with that user's rights, who can stop it."""
    path = region(f"{NAME}-reap")
    if os.geteuid() != 0 or not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        tap.skip("a look that hangs leaves no zombie", "needs root, and a kernel that tells of children")
        return
    with open(path, "wb") as file:
        os.fchown(file.fileno(), OTHER, OTHER)
    watching = start_watching("--json", "--watch=0.05", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child = stop_a_child(watching.pid)
    while child and state_of(child) not in ("Z", "") and watching.poll() is None:  # it is killed after three seconds
        line_of(watching.stdout)
    looked = [line_of(watching.stdout)[:8] for _ in range(4)]  # one may have been on its way
    tap.check(child and looked == [b'{"time":'] * 4 and state_of(child) == "", "a look that hangs leaves no zombie",
              (child, looked, state_of(child) if child else ""))
    watching.kill()
    watching.wait()
    watching.stdout.close()
    os.unlink(path)


def draw(columns, lines, *names):
    """What a terminal of that size shows at one look, as lines; but for the one that says how many processes could not be
    looked into, for which there is one more."""
    lines += lines > 4 and json.loads(stat("--json")[1])["hidden_processes"] > 0
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    watching = start_watching("--watch=0.05", *names, stdout=theirs, stderr=theirs)
    text, deadline = b"", time.monotonic() + DEADLINE_S
    while text.count(b"\x1b[H") < 3 and time.monotonic() < deadline:
        if select.select([ours], [], [], 1)[0]:
            text += os.read(ours, 65536)
    watching.kill()
    watching.wait()
    os.close(ours)
    os.close(theirs)
    shown = text.decode("ascii").split("\x1b[H\x1b[2J")[1].splitlines()
    return [line for line in shown if " processes of other users" not in line]


def test_screen():
    """A watched list fits a terminal; in a pipe it is whole."""
    names = [f"{NAME}-scr-{'x' * 60}-{i:02}" for i in range(12)]
    for name in names:
        with open(region(name), "wb"):
            pass
    shown = draw(70, 9, *names)
    tap.check(re.fullmatch(r"uvface-stat \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, every 0\.05 s: 12 faces", shown[0]), "the time is its title", shown)
    tap.check(len(shown) == 8 and shown[-1] == "... 7 more", "as many lines as it has, and how many more there are", shown)
    tap.check(max(map(len, shown)) == 70, "none is longer than it is wide", shown)
    cut = f"{names[0][:7]}...{names[0][-7:]}"
    tap.check(shown[2].split()[:2] == [cut, "unknown"], "a long name loses its middle", (cut, shown[2]))
    shown = draw(70, 14, *names)
    tap.check(len(shown) == 13 and shown[-1] == "... 2 more", "one line too few", shown)
    shown = draw(70, 15, *names)
    tap.check(len(shown) == 14 and shown[-1].startswith(f"{names[-1][:7]}..."), "all lines are used", shown)
    shown = draw(80, 15, *names)
    tap.check(shown[1].split()[:6] == "FACE STATE A2E-PKT/S A2E-B/S E2A-PKT/S E2A-B/S".split() and shown[2].split()[1:6] == ["unknown"] + 4 * ["-"],
              "80 columns have room for the rates", shown)
    shown = draw(400, 15, f"{NAME}-none", *names)
    tap.check(len(shown) == 14 and shown[1] == f"uvface-stat: {NAME}-none: no such face" and shown[-1] == "... 2 more" and
              shown[3].split()[0] == names[0], "who is not there has a line, and a long name has room", shown)
    for columns, lines in ((1, 1), (5, 2), (12, 4)):
        shown = draw(columns, lines, *names)
        tap.check(len(shown) <= lines - 1 and all(len(line) <= columns for line in shown), f"{columns}x{lines}", shown)
    shown = draw(0, 0, *names)
    tap.check(len(shown) == 14 and shown[2].split()[0] == names[0], "where the size is not known all is shown", shown)
    watching = start_watching("--watch=3600", *names, stdout=subprocess.PIPE)
    shown = [line_of(watching.stdout).decode() for _ in range(14)]
    tap.check(shown[0].startswith("FACE") and [line.split()[0] for line in shown[1:13]] == names and shown[13] == "",
              "a pipe gets all", shown)
    watching.kill()
    watching.wait()
    watching.stdout.close()
    for name in names:
        os.unlink(region(name))


def contained(mounts, *command):
    """A program among mounts of its own."""
    script = "".join(f"mount {mount} && " for mount in mounts) + 'exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh", *command]


def wait_for(process, text):
    """Its output up to this text, or what there is at the deadline or its end."""
    said, deadline = b"", time.monotonic() + DEADLINE_S
    while text not in said and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 1)[0]:
            more = os.read(process.stdout.fileno(), 65536)
            if not more:
                break
            said += more
    return said


def test_watch_for():
    """Somebody who is not there yet: it says so once, and goes on."""
    name = f"{NAME}-later"
    watching = subprocess.Popen([STAT, "--watch=0.05", "--json", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    tap.check(line_of(watching.stderr) == f"uvface-stat: {name}: no such face".encode(), "who is watched for and not there is told")
    engine, deadline, seen = Actor(LIB, "engine", name), time.monotonic() + DEADLINE_S, []
    while not seen and time.monotonic() < deadline:
        seen = json.loads(line_of(watching.stdout))["faces"]
    tap.check(seen and seen[0]["name"] == name, "and shown when it comes", seen)
    watching.send_signal(signal.SIGTERM)
    err = watching.communicate(timeout=DEADLINE_S)[1]
    tap.check(watching.returncode == 0 and not err, "it was told once", (watching.returncode, err))
    engine.kill()
    tap.check(stat("--remove", name)[0] == 0 and not there(name), "nothing is left of it")


def test_watch_seconds():
    """Seconds without a "=" are the name of a face or a process."""
    for option in ("--watch", "-w"):
        for seconds in ("0.25", str(os.getpid() % 86400 + 1)):
            watching = start_watching(option, seconds, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            said = [line_of(watching.stderr).decode() for _ in range(2)]
            tap.check(said[0].startswith(f"uvface-stat: {seconds}: no such face") and
                      said[1] == f'uvface-stat: seconds go with "=": --watch={seconds}', f"{option} {seconds}: how to say it", said)
            watching.send_signal(signal.SIGTERM)
            err = watching.communicate(timeout=DEADLINE_S)[1]
            tap.check(watching.returncode == 0, "it was told, and watched", err)


def test_containers():
    """As docs/operate.rst says: apps of containers, with and without a common /tmp."""
    if len(sys.argv) < 4 or os.geteuid() != 0 or ROOT.startswith("/tmp/"):
        tap.skip("apps of containers", "needs the examples, root, and a build that is not in /tmp")
        return
    forwarder, producer, consumer = (os.path.join(os.path.abspath(sys.argv[3]), f"ndn-{name}")
                                     for name in ("forwarder", "producer", "consumer"))
    content = os.urandom(5000)
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder:
        uri, path = f"unix://{folder}/ndn.sock", os.path.join(folder, "file")
        with open(path, "wb") as file:
            file.write(content)
        serving = subprocess.Popen([forwarder, "--listen", f"{folder}/ndn.sock"], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        wait_for(serving, b"ready")
        offering = subprocess.Popen(contained(["-t tmpfs tmpfs /dev/shm"], producer, "--forwarder", uri, "--prefix", "/st",
                                              "--file", path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = wait_for(offering, b"registered")
        tap.check(b"registered" in said, "an app with its own /dev/shm finds its forwarder", said)
        faces = json.loads(stat("--json")[1])["faces"]
        both = {serving.pid, offering.pid}
        found = [one for one in faces if {end["pid"] for end in (one["engine"], one["app"]) if end} == both]
        tap.check(len(found) == 1 and found[0]["kind"] == "private",
                  "it has a private face, which the host sees", (said, found))
        done = subprocess.run(contained([f"--bind {folder} /mnt", "-t tmpfs tmpfs /tmp"], consumer, "--forwarder",
                                        "unix:///mnt/ndn.sock", "--prefix", "/st"), capture_output=True, timeout=DEADLINE_S)
        fetched = hashlib.sha256(content).hexdigest().encode() in done.stderr
        tap.check(done.returncode == 0 and fetched, "one with its own /tmp goes on over the socket", done.stderr)
        for process in (offering, serving):
            process.kill()
            process.wait()
            process.stdout.close()


def app_of(shown):
    return shown["app"]["pid"] if shown.get("app") else None


def test_other_files_of_that_name():
    """Paths in /proc are text: neither a file that is gone nor one of another place is that of the face."""
    name = f"{NAME}-same"
    os.mkfifo(fifos(name)[0], 0o600)
    squatter = os.open(fifos(name)[0], os.O_RDONLY | os.O_NONBLOCK)
    os.unlink(fifos(name)[0])
    engine = Actor(LIB, "engine", name)
    hanging = Actor(LIB, "app", name)
    tap.check(app_of(face(name)) == hanging.pid, "an app", face(name))
    engine.kill()
    status, out, _ = stat(name)
    tap.check(status == 3 and " dead " in out, "who has a FIFO that had the name is no engine", (status, out))
    os.close(squatter)

    engine = Actor(LIB, "engine", name)
    shows(face(name), {"app": None, "state": "alive", "engine": process(engine, "python3")},
          "an app that hangs is not that of the next engine")
    status, out, _ = stat("--json", str(hanging.pid))
    shown = json.loads(out)["faces"]
    tap.check(status == 1 and [one["kind"] for one in shown] == ["unnamed"] and app_of(shown[0]) == hanging.pid,
              "it has a face without a name", (status, shown))
    engine.order("probe")
    app = Actor(LIB, "app", name)
    engine.order("probe")
    tap.check(app_of(face(name)) == app.pid, "the next app is, sealed or not", face(name))
    for actor in (hanging, app):
        actor.kill()
    see_contained(name, engine)
    engine.kill()
    deadline = time.monotonic() + DEADLINE_S
    while there(name) and time.monotonic() < deadline:  # a second, where only FIFOs are left
        stat("--remove", name)
        time.sleep(0.05)
    tap.check(not there(name), "nothing is left of them", there(name))


def see_contained(name, engine):
    what = "a face of that name in a container is another one"
    mounts = ["-t tmpfs tmpfs /tmp", "-t tmpfs tmpfs /dev/shm"]
    if os.geteuid() != 0 or ROOT.startswith("/tmp/") or subprocess.run(contained(mounts, "true"), stderr=subprocess.DEVNULL).returncode:
        tap.skip(what, "needs root, mounts, and a build that is not in /tmp")
        return
    theirs = Actor(LIB, "engine", name, within=contained(mounts))
    app = Actor(LIB, "app", name, within=["nsenter", "-t", str(theirs.pid), "-m"])
    shows(face(name), {"app": None, "engine": process(engine, "python3"), "other_processes": 0}, what)
    shown = json.loads(stat("--json", str(app.pid))[1])["faces"]
    tap.check([(one["kind"], app_of(one), one["engine"]) for one in shown] == [("unnamed", app.pid, process(theirs, "python3"))],
              "which has its own ends", shown)
    for actor in (app, theirs):
        actor.kill()


def completed(program, typed, before=""):
    """What bash, after other commands, makes of a command line at a tab, with a bar where the cursor then stands."""
    tools = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "uvface", "tools")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 1000, 0, 0))
    environment = {"PATH": f"{os.path.dirname(STAT)}:{os.environ['PATH']}", "TERM": "dumb", "INPUTRC": "/dev/null"}
    with tempfile.NamedTemporaryFile("w", prefix=f"{NAME}-") as rc:
        rc.write(f". {tools}/{program}.bash\nunset HISTFILE\n{before}\nPS1='ready> '\n")
        rc.flush()
        bash = subprocess.Popen(["bash", "--noprofile", "--rcfile", rc.name], stdin=theirs, stdout=theirs, stderr=theirs,
                                start_new_session=True, env=environment)
        os.close(theirs)
        text, deadline, done, is_typed = b"", time.monotonic() + DEADLINE_S, None, False
        while done is None and time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                text += os.read(ours, 65536)
            if b"ready> " in text and not is_typed:
                os.write(ours, f"{typed}\t|'\x01echo 'done:\n".encode())  # ^A: to the beginning of the line
                is_typed = True
            done = re.search(rb"^done:(.*)\r$", text, re.MULTILINE)
    bash.kill()
    bash.wait()
    os.close(ours)
    return (done[1] if done else text).decode()


def test_completion():
    if not shutil.which("bash"):
        tap.skip("completion", "there is no bash")
        return
    name, sealed = f"{NAME}-cmpl1", f"{NAME}-cmpl2"
    engine, other, private = Actor(LIB, "engine", name), Actor(LIB, "engine", sealed), Actor(LIB, "private", "")
    app = Actor(LIB, "app", sealed)
    other.order("probe")
    label = f"private:{private_of(private)[0]['inode']}"
    wanted = {f"uvface-stat {NAME}-c": f"uvface-stat {NAME}-cmpl|",
              f"uvface-stat {name}": f"uvface-stat {name} |",
              f"{STAT} {name}": f"{STAT} {name} |",
              f"uvface-stat --watch=2 {sealed}": f"uvface-stat --watch=2 {sealed} |",
              f"uvface-stat {label}": f"uvface-stat {label} |",
              f"uvface-dump {label}": f"uvface-dump {label} |",
              f"{STAT[:-4]}dump --eager {sealed}": f"{STAT[:-4]}dump --eager {sealed} |",
              "uvface-stat --js": "uvface-stat --json |",
              "uvface-stat --wat": "uvface-stat --watch|",
              "uvface-stat --watch=": "uvface-stat --watch=|",
              "uvface-dump --wr": "uvface-dump --write=|",
              "uvface-dump --ea": "uvface-dump --eager |"}
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder:
        os.mkdir(f"{folder}/directory")
        with open(f"{folder}/a file", "wb"):
            pass
        for option in ("-w ", "--write ", "--write="):
            wanted[f"uvface-dump {option}{folder}/dir"] = f"uvface-dump {option}{folder}/directory/|"
            wanted[f"uvface-dump {option}{folder}/a"] = f"uvface-dump {option}{folder}/a\\ file |"
        wanted[f"uvface-dump --prefix={folder}/dir"] = f"uvface-dump --prefix={folder}/dir|"
        for typed, line in wanted.items():
            got = completed(typed.split()[0].rsplit("/", 1)[-1], typed)
            tap.check(got == line, f"{typed}, and a tab", got)
    got = completed("uvface-stat", f"uvface-stat {label}", before="COMP_WORDBREAKS=' '")
    tap.check(got == f"uvface-stat {label} |", "where a colon ends no word", got)
    for actor in (app, engine, other, private):
        actor.kill()
    deadline = time.monotonic() + DEADLINE_S
    while there(name) + there(sealed) and time.monotonic() < deadline:  # a second, where only FIFOs are left
        stat("--remove", name, sealed)
        time.sleep(0.05)


def test_usage():
    tap.check(stat("--help")[0] == 0 and "--stale" in stat("--help")[1], "--help")
    tap.check(re.fullmatch(r"uvface-stat \d+\.\d+\.\d+\n", stat("--version")[1]), "--version")
    for wrong in (["--nonsense"], ["--watch=x"], ["--watch=0"], ["--watch", "--stale"], ["--stale", "--remove", f"{NAME}-none"],
                  ["--remove", "--stale", f"{NAME}-none"]):
        status, out, err = stat(*wrong)
        tap.check(status == 2 and not out and (err.startswith("uvface-stat: ") or "--nonsense" in err),
                  f"{' '.join(wrong)}: status 2, and why", (status, out, err))
    status, out, err = stat(f"{NAME}-none")
    tap.check(status == 1 and not out and err == f"uvface-stat: {NAME}-none: no such face\n", "no such face, no table", (status, out, err))
    status, out, err = stat("--remove", "private:1")
    tap.check(status == 1 and "one without a name leaves nothing" in err, "what has no name leaves nothing", (status, out, err))


def test_full_disk():
    """What cannot be written is a failure, and told; that nobody reads a watched list any more is none."""
    name = f"{NAME}-full"
    Actor(LIB, "engine", name).kill()
    engine = Actor(LIB, "engine", f"{NAME}-full2")
    for arguments in ([], ["--json"], ["--watch=0.05"], ["--watch=0.05", "--json"], ["--stale", name], ["--stale", "--json", name],
                      ["--remove", name], ["--help"], ["--version"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([STAT, *arguments], stdout=full, stderr=subprocess.PIPE, timeout=DEADLINE_S)
        tap.check(done.returncode == 1 and b"standard output: No space left on device" in done.stderr,
                  f"{' '.join(arguments[:-1] if name in arguments else arguments)}: a full disk", (done.returncode, done.stderr))
    for arguments in (["--watch=0.05"], ["--watch=0.05", "--json"]):
        reads, writes = os.pipe()
        os.close(reads)
        done = subprocess.run([STAT, *arguments], stdout=writes, stderr=subprocess.PIPE, timeout=DEADLINE_S)
        os.close(writes)
        tap.check(done.returncode == 0 and b"standard output" not in done.stderr, f"{' '.join(arguments)}: nobody reads",
                  (done.returncode, done.stderr))
    engine.kill()
    tap.check(stat("--remove", f"{NAME}-full2")[0] == 0 and not there(name), "nothing is left of them")


def main():
    try:
        for test in (test_named, test_live_is_left_alone, test_sealed, test_private, test_roles, test_processes, test_strangers,
                     test_hostile, test_escapes, test_watch, test_watch_keeps_time, test_rates_of_nonsense, test_watch_reaps,
                     test_screen, test_watch_for, test_watch_seconds, test_containers, test_other_files_of_that_name,
                     test_completion, test_usage, test_full_disk):
            test()
    finally:
        actors.kill_all()
    left = [path for folder in ("/dev/shm", "/tmp") for path in os.listdir(os.fsencode(folder)) if NAME.encode() + b"-" in path]
    tap.check(not left, "nothing is left", left)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
