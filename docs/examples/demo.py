#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The demonstration: fetches a file through an NDN forwarder, three processes, every hop a shared-memory
face. Starts ndn-forwarder, ndn-producer and ndn-consumer from the directory --bin; all that the apps know is the
forwarder's socket. Checks the content's hash with Python's own hashlib, prints goodput, packets and CPU time, and ends
with PASS or FAIL and status 0 or 1. However it ends, by an error or ^C too, its processes are gone, and it says so if
they left a name behind. Does not measure with care: that is what a benchmark is for."""
import argparse
import glob
import hashlib
import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

SEGMENT_BYTES = 8000
MIB = 1 << 20


class Failure(Exception):
    pass


class Program:
    """A child with its output, both streams, on one pipe. Its end shows as the end of that."""

    def __init__(self, argv):
        self.name = os.path.basename(argv[0])
        self.started_s = time.time()
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.output = b""
        self.cpu_seconds = 0.0
        self.status = None

    def read_until(self, done, timeout_s):
        """Reads until done(output), or to the end if done is None."""
        deadline = time.monotonic() + timeout_s
        fd = self.process.stdout.fileno()
        while done is None or not done(self.output):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise Failure(f"{self.name}: nothing happened within {timeout_s} s\n{self.text()}")
            got = os.read(fd, 65536)
            if not got and done is None:
                return
            if not got:
                raise Failure(f"{self.name} ended early\n{self.text()}")
            self.output += got

    def text(self):
        return self.output.decode(errors="replace")

    def wait_for(self, text, timeout_s=10):
        self.read_until(lambda output: text.encode() in output, timeout_s)

    def reap(self):
        _, status, usage = os.wait4(self.process.pid, 0)
        self.status = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        self.process.stdout.close()

    def finish(self, timeout_s):
        """Waits for it to end by itself; returns its exit status."""
        self.read_until(None, timeout_s)
        self.reap()
        return self.status

    def signal(self, signum):
        os.kill(self.process.pid, signum)  # Popen's own would reap a dead child, and that is our business

    def terminate(self):
        self.signal(signal.SIGTERM)
        return self.finish(10)

    def end(self):
        """Ends it in any case; gently at first, because a killed engine cannot remove its names."""
        if self.status is not None:
            return
        try:
            self.terminate()
        except Failure:
            self.signal(signal.SIGKILL)
            self.reap()


def write_file(path, size):
    """Random content, the same every time; returns its SHA-256."""
    source = random.Random(1)
    digest = hashlib.sha256()
    with open(path, "wb") as out:
        while size > 0:
            block = source.randbytes(min(size, MIB))
            out.write(block)
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def left_behind(path, programs):
    """The forwarder's socket, and what there is of faces in the names of these processes, not of older ones that had the
    same number."""
    found = [path] if os.path.exists(path) else []
    for program in programs:
        face = f"app-{program.process.pid}-"
        for name in glob.glob(f"/dev/shm/ndn-shm-{face}*") + glob.glob(f"/tmp/.ndn-{face}*"):
            if os.path.getmtime(name) >= program.started_s - 1:
                found.append(name)
    return found


def number(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise Failure(f"no '{pattern}' in\n{text}")
    return found.group(1)


def fetch(options, listen, path, sha256, started):
    """Runs the three programs; `started` gets each, so that the caller can end them."""
    def start(program, *arguments):
        started.append(Program([os.path.join(options.bin, program), *arguments]))
        return started[-1]

    app = ("--forwarder", f"unix://{listen}", "--prefix", "/demo/file", "--verbose")
    forwarder = start("ndn-forwarder", "--listen", listen)
    forwarder.wait_for("ready")
    producer = start("ndn-producer", *app, "--file", path, "--segment-bytes", str(SEGMENT_BYTES))
    producer.wait_for("registered", 60)
    consumer = start("ndn-consumer", *app, "--window", str(options.window), "--expect-sha256", sha256)
    status = consumer.finish(120)
    if status != 0:
        raise Failure(f"ndn-consumer ended with {status}\n{consumer.text()}")
    for program in (producer, forwarder):
        if program.terminate() != 0:
            raise Failure(f"{program.name} ended with {program.status}\n{program.text()}")
    for program in (producer, consumer):
        if "connected over shared memory" not in program.text():
            raise Failure(f"this is no shared-memory demonstration\n{program.text()}")
    return forwarder, producer, consumer


def report(options, forwarder, producer, consumer, sha256):
    seen = number(r"sha256 ([0-9a-f]{64})", consumer.text())
    if seen != sha256:
        raise Failure(f"sha256 is {seen}, hashlib says {sha256}")
    segments = int(number(r"([0-9]+) segments", consumer.text()))
    interests = int(number(r"([0-9]+) interests", forwarder.text()))
    data = int(number(r"([0-9]+) data", forwarder.text()))
    if segments != -(-options.size_mib * MIB // SEGMENT_BYTES) or interests < segments or data < segments:
        raise Failure(f"{segments} segments, {interests} Interests and {data} Data cannot be")
    print(f"demo: {options.size_mib} MiB in {segments} segments of {SEGMENT_BYTES} bytes, "
          f"window {options.window}; consumer - forwarder - producer, three processes, "
          "two shared-memory faces")
    print(f"demo: goodput {number(r'([0-9.]+) MB/s', consumer.text())} MB/s, "
          f"{number(r'([0-9.]+) Mbit/s', consumer.text())} Mbit/s, "
          f"{number(r'([0-9.]+) s,', consumer.text())} s")
    print(f"demo: {interests} Interests and {data} Data through the forwarder, "
          f"{number(r'([0-9]+) retransmissions', consumer.text())} retransmissions, "
          f"{number(r'([0-9]+) drops', forwarder.text())} drops")
    programs = (forwarder, producer, consumer)
    each = ", ".join(f"{program.name} {program.cpu_seconds:.3f}" for program in programs)
    print(f"demo: CPU seconds: {each}, total {sum(program.cpu_seconds for program in programs):.3f}")


def run(options):
    started = []
    with tempfile.TemporaryDirectory(prefix="uvface-demo-") as directory:
        listen, path = os.path.join(directory, "ndn.sock"), os.path.join(directory, "file")
        try:
            sha256 = write_file(path, options.size_mib * MIB)
            report(options, *fetch(options, listen, path, sha256, started), sha256)
            if left_behind(listen, started):
                raise Failure("the programs did not clean up")
            print(f"demo: PASS: sha256 {sha256}, as hashlib computes it; nothing left behind")
            return 0
        except (Failure, OSError) as failure:
            print(f"demo: FAIL: {failure}")
            return 1
        finally:
            for program in reversed(started):
                program.end()
            if left_behind(listen, started):
                print(f"demo: left behind: {left_behind(listen, started)}")


def main():
    parser = argparse.ArgumentParser(description="fetch a file through an NDN forwarder over shared memory")
    parser.add_argument("--bin", default=".", help="directory of the built examples")
    parser.add_argument("--size-mib", type=int, default=64)
    parser.add_argument("--window", type=int, default=64)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(1))  # so that `finally` runs
    return run(options)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
