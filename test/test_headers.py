#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the rooms of the house, and prints TAP: each public header compiles alone and twice, as C11 and as
C++11, without a warning; the core knows nothing of libuv, nor of packets; includes point one way; atomics
live in words, wake, guard, chore, chores and stamp only. Looks at the sources, not at what was built.

Usage: test_headers.py SOURCE_ROOT CC...   (CXX in the environment, or c++)
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

from tap import Tap

HEADERS = ("ndnshm.h", "uvface.h", "ndnpkt.h", "uvface_mgmt.h")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
# What each file of lib/ may include and call, beside itself: the plan of the house.
LIB_ROOMS = {
    "words": (),
    "layout": (),
    "probes": (),
    "error": ("probes",),
    "cache": (),
    "guard": (),
    "names": ("error",),
    "open": ("error",),
    "hurry": (),
    "region": ("error", "guard", "layout", "names", "open"),
    "fifo": ("error", "names", "open"),
    "pair": ("error", "open"),
    "chore": ("fifo", "names", "pair", "region"),
    "ring": ("cache", "layout", "words"),
    "patience": (),
    "wake": ("patience", "words"),
    "endpoint": ("chore", "error", "fifo", "guard", "hurry", "layout", "names", "pair", "patience", "region", "ring", "wake", "words"),
    "packets": ("endpoint", "error", "probes", "region", "ring", "wake", "words"),
    "sleep": ("chore", "endpoint", "error", "probes", "layout", "patience", "region", "ring", "wake", "words"),
    "sweep": ("error", "fifo", "layout", "names", "open"),
}
# The same for lib/ndnpkt/.
NDNPKT_ROOMS = {
    "tlv": (),
    "name": ("tlv",),
    "uri": ("tlv", "name"),
    "decode": ("tlv", "name"),
    "link": ("tlv", "decode"),
    "key": ("tlv",),
    "pib": ("tlv", "name", "uri", "key"),
    "crypto": ("key",),
    "verify": ("tlv", "name", "key", "crypto"),
    "encode": ("tlv", "name", "key", "crypto"),
    "stamp": (),
    "mgmt": ("tlv", "name", "crypto", "encode", "stamp"),
}
# guard.c: the list that a signal handler reads while threads change it; chore.c, chores.c: what another thread is at; stamp.c: the
# time that all threads share; dump_follow.c: one fence between two reads by the kernel.
ATOMIC_FILES = {"words.h", "wake.h", "wake.c", "guard.c", "chore.c", "chores.c", "stamp.c", "dump_follow.c"}
ATOMIC = re.compile(r"\batomic_\w+|\b_Atomic\b|\bstdatomic\b|\bmemory_order_\w+|\b__(?:atomic|sync)_\w+")
LIBUV = re.compile(r"\blibuv\b|\bu?uv_\w|\bUV_\w|\buv\.h\b|\bu?vface", re.IGNORECASE)
# The same for uvface/, one behind the other: each may use those before it.
UVFACE_ORDER = ("window", "stream", "internal", "tap", "transport", "loop", "chores", "state", "events", "settle", "send", "recv", "turn", "due", "face")
# What each file of uvface/mgmt/ may include and call, beside itself. The two sides of the door know nothing of each other.
MGMT_ROOMS = {
    "version": (),
    "given": (),
    "handoff": (),
    "closing": (),
    "acceptor": ("handoff", "closing"),
    "handoff_server": ("handoff", "closing", "acceptor"),
    "serve": ("closing", "acceptor", "handoff_server"),
    "dataset": ("serve",),
    "user": ("serve",),
    "app": ("handoff", "closing", "acceptor", "handoff_server", "serve", "dataset", "user"),
    "command": ("handoff", "acceptor", "serve", "dataset", "app"),
    "work": ("serve", "user", "app", "command"),
    "server": ("given", "closing", "acceptor", "serve", "dataset", "app", "work"),
    "where": (),
    "link": (),
    "request": (),
    "watch": ("closing",),
    "dial": ("where", "watch"),
    "handoff_client": ("handoff", "watch", "dial"),
    "client": ("given", "handoff", "closing", "where", "link", "request", "dial", "handoff_client", "clock", "jobs", "way"),
    "clock": ("client",),
    "jobs": ("handoff", "where", "request", "client", "clock"),
    "way": ("handoff", "where", "link", "request", "dial", "handoff_client", "client", "clock", "jobs"),
}
OFFERED = re.compile(r"^(?!static\b)\w[\w *]*?\b(\w+)\((?:[^;{}]|\n)*\)\s*\{", re.MULTILINE)
INLINE = re.compile(r"^static inline [\w *]*?\b(\w+)\(", re.MULTILINE)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def run(command, **more):
    return subprocess.run(
        command, timeout=60, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more
    )


def libuv_flags():
    """Where libuv's headers are, as system headers: their warnings are not ours."""
    if not shutil.which("pkg-config"):
        return []
    flags = shlex.split(run(["pkg-config", "--cflags-only-I", "libuv"]).stdout)
    return ["-isystem" + flag[2:] for flag in flags if flag.startswith("-I")]


def check_alone(tap, compiler, language, include, header, flags):
    """Twice is once, and what users write with its macros draws no warning of theirs."""
    macros = re.findall(r"^#define (\w+)_INIT\b", (include / header).read_text(), re.MULTILINE)
    uses = "".join(f"  {macro.lower()}_t v{n} = {macro}_INIT;\n  (void) v{n};\n" for n, macro in enumerate(macros))
    source = f"#include <{header}>\n#include <{header}>\nint main(void) {{\n{uses}  return 0;\n}}\n"
    command = [*compiler, *language, *WARNINGS, *flags, "-I", str(include), "-fsyntax-only", "-"]
    done = run(command, input=source)
    tap.check(done.returncode == 0, f"{header} compiles alone, {' '.join(language)} {flags[0]}", done.stdout)


def check_headers(tap, root, cc, cxx):
    include = root / "include"
    flags = ["-D_GNU_SOURCE", *libuv_flags()]
    for header in HEADERS:
        check_alone(tap, cc, ["-xc", "-std=c11"], include, header, flags)
        if shutil.which(cxx[0]):
            check_alone(tap, cxx, ["-xc++", "-std=c++11", "-Wold-style-cast"], include, header, flags)
        else:
            tap.skip(f"{header} as C++", f"no {cxx[0]}")
    for header in ("ndnshm.h", "ndnpkt.h"):
        done = run([*cc, "-D_GNU_SOURCE", "-M", "-I", str(include), str(include / header)])
        # By the header's own place, not by where this tree happens to lie.
        strangers = re.findall(r"\S*/uv/[^/\s]+\.h|\S*/uv(?:face)?\.h|\S*/openssl/\S*", done.stdout)
        tap.check(done.returncode == 0 and not strangers, f"{header} pulls in nothing of libuv or libcrypto", strangers)


def sources(directory):
    return sorted(path for path in directory.rglob("*") if path.suffix in (".c", ".h"))


def matches(paths, pattern):
    """Every match with its place, one a line."""
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path}:{number}: {line.strip()}")
    return "\n".join(found)


def includes(path):
    return INCLUDE.findall(path.read_text())


def check_core(tap, root):
    lib = sources(root / "lib")
    found = matches(lib, LIBUV)
    tap.check(lib and not found, "lib/ never mentions libuv", found)
    packets = sources(root / "lib/ndnpkt")
    crossed = matches(set(lib) - set(packets), re.compile(r"\bndnpkt", re.IGNORECASE))
    crossed += matches(packets, re.compile(r"\bndnshm", re.IGNORECASE))
    tap.check(packets and not crossed, "libndnshm and libndnpkt know nothing of each other", crossed)


def without_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)


def definitions(path):
    """The functions that a file offers to others: not static in a .c, in line in a .h."""
    pattern = OFFERED if path.suffix == ".c" else INLINE
    return set(pattern.findall(without_comments(path.read_text())))


def check_rooms(tap, folder, rooms):
    """Includes and calls of a folder go where its plan allows, and nowhere else."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".c", ".h"))
    home = {name: path.stem for path in paths for name in definitions(path)}
    wrong = []
    for path in paths:
        if path.stem not in rooms:
            wrong.append(f"{path}: has no room; give it one in {pathlib.Path(__file__).name}")
            continue
        used = {(f"includes {name}", pathlib.Path(name).stem) for _, name in includes(path)}
        words = set(re.findall(r"\w+", without_comments(path.read_text())))
        used |= {(f"uses {name}()", stem) for name, stem in home.items() if path.suffix == ".c" and name in words}
        allowed = {path.stem, *rooms[path.stem]}
        wrong += [f"{path}: {how} of {stem}" for how, stem in sorted(used) if stem in rooms and stem not in allowed]
    calls = sum(len(definitions(path)) for path in paths)
    tap.check(calls > 0 and not wrong, f"includes and calls of {folder.name}/ go one way", "\n".join(wrong))


def check_above(tap, root):
    """What is built on the core sees the public headers and nothing else of it."""
    inner = {path.name for path in sources(root / "lib")}
    for name in ("uvface", "docs/examples", "bench", "test/stress"):
        wrong = []
        for path in sources(root / name):
            own = {sibling.name for sibling in path.parent.glob("*.h")}
            for _, included in includes(path):
                if "lib/" in included or (included in inner and included not in own):
                    wrong.append(f"{path}: includes {included}")
                if name != "uvface" and "uvface/" in included:
                    wrong.append(f"{path}: includes {included}")
        tap.check(not wrong, f"{name}/ includes no header of lib/", "\n".join(wrong))


def check_atomics(tap, root):
    elsewhere = [path for path in sources(root / "lib") + sources(root / "uvface") if path.name not in ATOMIC_FILES]
    found = matches(elsewhere, ATOMIC)
    tap.check(not found, f"atomics live in {', '.join(sorted(ATOMIC_FILES))} only", found)


def main():
    root, cc = pathlib.Path(sys.argv[1]), sys.argv[2:]
    tap = Tap()
    check_headers(tap, root, cc, shlex.split(os.environ.get("CXX", "c++")))
    check_core(tap, root)
    check_rooms(tap, root / "lib", LIB_ROOMS)
    check_rooms(tap, root / "lib" / "ndnpkt", NDNPKT_ROOMS)
    check_rooms(tap, root / "uvface", {name: UVFACE_ORDER[:at] for at, name in enumerate(UVFACE_ORDER)})
    check_rooms(tap, root / "uvface" / "mgmt", MGMT_ROOMS)
    check_above(tap, root)
    check_atomics(tap, root)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
