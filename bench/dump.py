#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures what uvface-dump costs the face that it looks at. One source and one sink run at full rate all the time;
uvface-dump looks at their face, and is stopped and let go on in turn, by SIGSTOP and SIGCONT. How many packets passed
in each window is told by the indices in the face's region. Two windows that follow each other are a pair, of which now
one, now the other comes first; so what the machine does to both cancels out. Prints the rates of each pair, and the
median of the pairs' costs with its 95 % interval. What uvface-dump shows goes to a file that is thrown away. The
machine should have nothing else to do.

    dump.py build-release [--pairs N] [--window S] [--size N] [--cpus A,B] [--dump=OPTIONS]"""

import argparse
import math
import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

TAIL_AT = 64  # of the ring from the app to the engine: docs/protocol.rst
SETTLE_S = 0.02  # after a switch


def catches(process, signum):
    with open(f'/proc/{process.pid}/status', encoding='ascii') as status:
        return int(re.search(r'^SigCgt:\s*(\w+)', status.read(), re.MULTILINE)[1], 16) & 1 << (signum - 1) != 0


def wait_until(what, is_so, processes):
    deadline = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > deadline or any(p.poll() is not None for p in processes):
            sys.exit(f'dump.py: {what} did not happen')
        time.sleep(0.01)


def side(args, tools, name, which, role, secs, cpu):
    pin = ['--cpu', cpu] if cpu else []
    return subprocess.Popen([os.path.join(tools, 'uvface-perf'), 'throughput', '--side', which, '--role', role,
                             '--name', name, '--size', str(args.size), '--secs', str(secs), *pin],
                            stdout=subprocess.DEVNULL)


class Tail:
    """How many packets were ever sent, modulo 2^32."""

    def __init__(self, name):
        self.fd = os.open(f'/dev/shm/ndn-shm-{name}', os.O_RDONLY)

    def read(self):
        return struct.unpack('=I', os.pread(self.fd, 4, TAIL_AT))[0]

    def rate(self, secs):
        begun, first = time.monotonic(), self.read()
        time.sleep(secs)
        last, ended = self.read(), time.monotonic()
        return (last - first) % 2**32 / (ended - begun)


def window(args, tail, dump, is_dumped):
    dump.send_signal(signal.SIGCONT if is_dumped else signal.SIGSTOP)
    time.sleep(SETTLE_S)
    return tail.rate(args.window)


def interval(values):
    """Of the median, by the ranks between which it lies in 95 of 100 cases."""
    ordered, half = sorted(values), 0.98 * math.sqrt(len(values))
    middle = (len(ordered) - 1) / 2
    return ordered[max(0, math.floor(middle - half))], ordered[min(len(ordered) - 1, math.ceil(middle + half))]


def measure(args, tools, name, processes):
    cpus = args.cpus.split(',') if args.cpus else ['', '']
    secs = 2 * args.pairs * (args.window + SETTLE_S) * 1.2 + 10
    sink = side(args, tools, name, 'sink', 'engine', secs, cpus[0])
    processes.append(sink)
    wait_until('the face', lambda: os.path.exists(f'/dev/shm/ndn-shm-{name}'), processes)
    tail = Tail(name)
    processes.append(side(args, tools, name, 'source', 'app', secs, cpus[1]))
    wait_until('the first packet', lambda: tail.read() != 0, processes)
    with tempfile.TemporaryFile() as out:
        dump = subprocess.Popen([os.path.join(tools, 'uvface-dump'), *args.dump.split(), name], stdout=out,
                                stderr=subprocess.PIPE, text=True)
        processes.append(dump)
        wait_until('uvface-dump', lambda: catches(dump, signal.SIGINT), processes)
        costs, rates = [], {False: [], True: []}
        for n in range(args.pairs):
            for is_dumped in (n % 2 == 0, n % 2 != 0):
                rates[is_dumped].append(window(args, tail, dump, is_dumped))
                out.truncate(0)
            if any(p.poll() is not None for p in processes):
                sys.exit('dump.py: one of the three has ended')
            costs.append((1 - rates[True][-1] / rates[False][-1]) * 100)
            print(f'alone {rates[False][-1] / 1e6:8.3f}, dumped {rates[True][-1] / 1e6:8.3f} million packets/s: '
                  f'{costs[-1]:6.2f} % slower')
        dump.send_signal(signal.SIGCONT)
        dump.send_signal(signal.SIGINT)
        print(dump.communicate(timeout=30)[1].strip().splitlines()[-1])
    low, high = interval(costs)
    print(f'{args.pairs} pairs of windows of {args.window} s: alone {statistics.median(rates[False]) / 1e6:.3f}, dumped '
          f'{statistics.median(rates[True]) / 1e6:.3f}; {statistics.median(costs):.2f} % slower ({low:.2f} to {high:.2f})')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('--pairs', type=int, default=100)
    parser.add_argument('--window', type=float, default=0.2, help='seconds; short ones, for a noisy machine')
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--cpus', help='of the sink and of the source, as 0,1; else where the kernel puts them')
    parser.add_argument('--dump', default='', help='options of uvface-dump')
    args = parser.parse_args()
    processes = []
    try:
        measure(args, os.path.join(args.build, 'uvface', 'tools'), f'dump-{os.getpid()}', processes)
    finally:
        for process in reversed(processes):  # an end of the face removes its names when it is asked to end
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait()
    return 0


if __name__ == '__main__':
    sys.exit(main())
