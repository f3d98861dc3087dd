# SPDX-License-Identifier: MIT
"""Starts stat_actor.py, tells it what to do, and kills it. For test_stat.py and test_dump.py. Each line is waited for until
a deadline."""
import os
import select
import signal
import subprocess
import sys

SLOW = int(os.environ.get("UVFACE_SLOW", "1"))
DEADLINE_S = 60 * SLOW
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stat_actor.py")
alive = []  # those that were not killed


def line_of(stream):
    """The next line, or what there is at the deadline."""
    ready, _, _ = select.select([stream], [], [], DEADLINE_S)
    return stream.readline().strip() if ready else b"nothing"


class Actor:
    """A process with an end of a face, over the library lib; within: what a command begins with that runs another."""

    def __init__(self, lib, role, name, user=None, within=()):
        # bufsize 0: what select() does not see must not lie in a buffer of ours
        self.process = subprocess.Popen(
            [*within, sys.executable, PROGRAM, lib, role, name, *([str(user)] if user else [])], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, bufsize=0, start_new_session=True)
        alive.append(self)
        said = line_of(self.process.stdout)
        assert said == b"ready", said
        self.pid = self.process.pid

    def order(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        return line_of(self.process.stdout).decode()

    def put(self, *packets):
        for packet in packets:
            self.order("put " + packet.hex())

    def leave(self):
        """It ends by itself, and leaves nothing."""
        self.process.stdin.write(b"bye\n")
        self.process.wait(DEADLINE_S)
        self.kill()

    def kill(self):
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        alive.remove(self)


def kill_all():
    for actor in list(alive):
        actor.kill()
