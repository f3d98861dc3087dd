#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that a test program runs the tests that its arguments name, and prints TAP.

Usage: test_harness.py TEST_PROGRAM   (test_window)
"""

import subprocess
import sys

from tap import Tap


def run(*command):
    return subprocess.run(command, timeout=60, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def main():
    program = sys.argv[1]
    tap = Tap()
    names = run(program, "--list").stdout.split()
    tap.check(len(names) > 5, "--list prints the names", names)
    done = run(program, names[0])
    tap.check(done.returncode == 0 and done.stdout.count("ok ") == 1 and names[0] in done.stdout,
              "a name chooses its test", done.stdout)
    some = [name for name in names if "preemption" in name]
    done = run(program, "preemption")
    tap.check(1 < len(some) < len(names) and done.stdout.count("ok ") == len(some), "a part of names chooses those",
              done.stdout)
    done = run(program, "no_such_test")
    tap.check(done.returncode == 2 and "'no_such_test'" in done.stdout, "a name that nothing has is an error",
              done.stdout)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
