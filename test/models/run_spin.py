#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the wake-up models with spin, every variant exhaustively, and prints TAP.

Usage: run_spin.py SPIN CC...   (the compiler may be several words)

A correct variant must be safe over its whole state space; a broken one must lose a wake-up. A broken
variant that is safe is a failure: then the model proves nothing. Leaves no file behind.
"""

import pathlib
import subprocess
import sys
import tempfile

SAFE, LOST = "safe", "lost wake-up"

VARIANTS = [
    ("wakeup.pml", "", SAFE),
    ("wakeup.pml", "NO_PUBLISH_FENCE", LOST),
    ("wakeup.pml", "NO_PARK_FENCE", LOST),
    ("wakeup.pml", "NO_PUBLISH_FENCE NO_PARK_FENCE", LOST),
    ("wakeup.pml", "NO_SECOND_LOOK", LOST),
    ("wakeup.pml", "DRAIN_LATE", LOST),
    ("wakeup.pml", "CLEAR_BY_STORE", LOST),
    # A producer like that of ndn-rs: if it fenced, as it is, and what our recheck makes of it.
    ("wakeup.pml", "LITERAL", SAFE),
    ("wakeup.pml", "LITERAL NO_PUBLISH_FENCE", LOST),
    ("wakeup.pml", "LITERAL NO_PUBLISH_FENCE RECHECK", SAFE),
    ("wakeup.pml", "DEFERRED", SAFE),
    ("wakeup.pml", "DEFERRED NO_PARK_FENCE", LOST),
    ("wakeup.pml", "DEFERRED SETTLE_AFTER_BLOCKING", LOST),
    ("wakeup.pml", "DEFERRED NO_SETTLE_ON_CLOSE", LOST),
    ("wakeup.pml", "DEFERRED NO_SETTLE_FENCE", LOST),
    ("wakeup.pml", "DEFERRED DROP_SECOND_BYTE", LOST),
    ("space.pml", "", SAFE),
    ("space.pml", "NO_TAIL_FENCE", LOST),
    ("space.pml", "NO_HEAD_FENCE", LOST),
    ("space.pml", "NO_PARK_FENCE", LOST),
    ("space.pml", "NO_SPACE_LOOK", LOST),
    ("space.pml", "NO_SPACE_WAKE", LOST),
    ("space.pml", "DEFERRED", SAFE),
    ("space.pml", "DEFERRED NO_PARK_FENCE", LOST),
    ("space.pml", "DEFERRED NO_SPACE_LOOK", LOST),
    ("space.pml", "DEFERRED SETTLE_AFTER_BLOCKING", LOST),
    ("space.pml", "DEFERRED NO_SETTLE_ON_CLOSE", LOST),
    ("space.pml", "DEFERRED NO_SETTLE_FENCE", LOST),
    ("space.pml", "DEFERRED DROP_SECOND_BYTE", LOST),
    ("space.pml", "DEFERRED BYTE_BETWEEN_FLAGS", LOST),
]


def output_of(command, directory):
    done = subprocess.run(
        command, cwd=directory, timeout=60, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout


def check(spin, cc, model, macros):
    """Returns (verdict, what the tools said); the verdict is anything but SAFE or LOST if a tool failed."""
    defines = ["-D" + macro for macro in macros.split()]
    with tempfile.TemporaryDirectory() as directory:
        for command in (
            [spin, "-a", *defines, str(model)],
            [*cc, "-w", "-DSAFETY", "-DNOREDUCE", "-o", "pan", "pan.c"],
        ):
            status, said = output_of(command, directory)
            if status != 0:
                return command[0] + " failed", said
        _, said = output_of(["./pan", "-m200000"], directory)
    complete = "Search not completed" not in said and "max search depth too small" not in said
    if "errors: 0" in said and complete:
        return SAFE, said
    return (LOST if "invalid end state" in said else "no verdict"), said


def main():
    spin, *cc = sys.argv[1:]
    here = pathlib.Path(__file__).resolve().parent
    failed = 0
    print(f"1..{len(VARIANTS)}")
    for number, (model, macros, expected) in enumerate(VARIANTS, 1):
        verdict, said = check(spin, cc, here / model, macros)
        good = verdict == expected
        failed += not good
        result = "ok" if good else "not ok"
        print(f"{result} {number} - {model} {macros or 'as it is'}: {verdict}", flush=True)
        if not good:
            print(f"# expected: {expected}")
            print("".join("# " + line + "\n" for line in said.splitlines()), end="")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
