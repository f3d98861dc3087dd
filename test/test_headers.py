#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the rooms of the house, and prints TAP: each public header compiles alone and twice, as C11 and as
C++11, without a warning; the core knows nothing of libuv; includes point one way; atomics live in ring and
wake, and in the guard, only. Looks at the sources, not at what was built.

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

HEADERS = ("ndnshm.h", "uvface.h")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
# A file of lib/ may include its own level and those before it.
LIB_LEVELS = ("error", "point", "copy", "layout", "guard", "region", "ring", "wake", "endpoint", "packets")
# guard.c: the list that a signal handler reads while threads change it.
ATOMIC_FILES = {"ring.h", "ring.c", "wake.h", "wake.c", "guard.c"}
ATOMIC = re.compile(r"\batomic_\w+|\b_Atomic\b|\bstdatomic\b|\bmemory_order_\w+|\b__(?:atomic|sync)_\w+")
LIBUV = re.compile(r"\blibuv\b|\bu?uv_\w|\bUV_\w|\buv\.h\b|\bu?vface", re.IGNORECASE)
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
    source = f"#include <{header}>\n#include <{header}>\nint main(void) {{ return 0; }}\n"
    command = [*compiler, *language, *WARNINGS, *flags, "-I", str(include), "-fsyntax-only", "-"]
    done = run(command, input=source)
    tap.check(done.returncode == 0, f"{header} compiles alone, {' '.join(language)} {flags[0]}", done.stdout)


def check_headers(tap, root, cc, cxx):
    include = root / "include"
    flags = ["-D_GNU_SOURCE", *libuv_flags()]
    for header in HEADERS:
        check_alone(tap, cc, ["-xc", "-std=c11"], include, header, flags)
        if shutil.which(cxx[0]):
            check_alone(tap, cxx, ["-xc++", "-std=c++11"], include, header, flags)
        else:
            tap.skip(f"{header} as C++", f"no {cxx[0]}")
    done = run([*cc, "-D_GNU_SOURCE", "-M", "-I", str(include), str(include / "ndnshm.h")])
    # By the header's own place, not by where this tree happens to lie.
    strangers = re.findall(r"\S*/uv/[^/\s]+\.h|\S*/uv(?:face)?\.h", done.stdout)
    tap.check(done.returncode == 0 and not strangers, "ndnshm.h pulls in nothing of libuv", strangers)


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
    wrong = []
    for path in lib:
        if path.stem not in LIB_LEVELS:
            wrong.append(f"{path}: has no level; give it one in {pathlib.Path(__file__).name}")
            continue
        for _, name in includes(path):
            stem = pathlib.Path(name).stem
            if stem in LIB_LEVELS and LIB_LEVELS.index(stem) > LIB_LEVELS.index(path.stem):
                wrong.append(f"{path}: includes {name}")
    tap.check(not wrong, "includes of lib/ point one way: " + ", ".join(LIB_LEVELS), "\n".join(wrong))


def check_above(tap, root):
    """What is built on the core sees the public headers and nothing else of it."""
    inner = {path.name for path in sources(root / "lib")}
    for name in ("uvface", "docs/examples", "bench"):
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
    elsewhere = [path for path in sources(root / "lib") if path.name not in ATOMIC_FILES]
    found = matches(elsewhere + sources(root / "uvface"), ATOMIC)
    tap.check(not found, "atomics live in lib/ring and lib/wake only", found)


def main():
    root, cc = pathlib.Path(sys.argv[1]), sys.argv[2:]
    tap = Tap()
    check_headers(tap, root, cc, shlex.split(os.environ.get("CXX", "c++")))
    check_core(tap, root)
    check_above(tap, root)
    check_atomics(tap, root)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
