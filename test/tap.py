# SPDX-License-Identifier: MIT
"""What the Python tests share: TAP output. One Tap per program; exit with what done() returns."""


class Tap:
    def __init__(self):
        self.number = 0
        self.failed = 0

    def check(self, good, name, why=""):
        """One result; `why`, a text of any number of lines, is shown if it is bad. Returns good."""
        self.number += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.number} - {name}")
        if not good:
            for line in str(why).splitlines():
                print("# " + line)
        return good

    def skip(self, name, reason):
        self.number += 1
        print(f"ok {self.number} - {name} # SKIP {reason}")

    def done(self):
        print(f"1..{self.number}")
        return self.failed != 0
