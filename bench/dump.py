#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures what uvface-dump costs the face that it looks at: throughput with and without it, in alternation, and prints
the rate of each round, both medians with their spread, and the cost in percent. What it shows goes to a file that is
thrown away. The machine should have nothing else to do.

    dump.py build-release [--rounds N] [--secs S] [--size N] [--dump=OPTIONS]"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time


def follows(dump):
    """Whether it has found its face: then it catches SIGINT."""
    with open(f'/proc/{dump.pid}/status', encoding='ascii') as status:
        return int(re.search(r'^SigCgt:\s*(\w+)', status.read(), re.MULTILINE)[1], 16) & 2 != 0


def side(tools, name, args, which, role):
    return subprocess.Popen([os.path.join(tools, 'uvface-perf'), 'throughput', '--side', which, '--role', role, '--json',
                             '--name', name, '--size', str(args.size), '--secs', str(args.secs)],
                            stdout=subprocess.PIPE, text=True)


def throughput(tools, name, args, dumped):
    """Packets a second, and what the dump says that it saw. Both kinds of rounds begin alike: the dump follows before the
    first packet goes, or has gone before."""
    sink = side(tools, name, args, 'sink', 'engine')
    while not os.path.exists(f'/dev/shm/ndn-shm-{name}') and sink.poll() is None:
        time.sleep(0.01)
    with tempfile.TemporaryFile() as out:
        dump = subprocess.Popen([os.path.join(tools, 'uvface-dump'), *args.dump.split(), name], stdout=out,
                                stderr=subprocess.PIPE, text=True)
        while dump.poll() is None and not follows(dump):
            time.sleep(0.01)
        if not dumped:
            dump.terminate()
            dump.wait()
        source = side(tools, name, args, 'source', 'app')
        source.communicate(timeout=120)
        rate = json.loads(sink.communicate(timeout=120)[0])['packets_per_s']
        said = dump.communicate(timeout=120)[1].strip().splitlines()[-1]
        if dump.returncode != 0:
            sys.exit(f'uvface-dump: status {dump.returncode}: {said}')
        return rate, said if dumped else ''


def spread(rates):
    return (max(rates) - min(rates)) / statistics.median(rates) * 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--secs', type=float, default=2)
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--dump', default='', help='options of uvface-dump')
    args = parser.parse_args()
    tools = os.path.join(args.build, 'uvface', 'tools')
    rates = {False: [], True: []}
    for n in range(args.rounds):
        for dumped in (False, True) if n % 2 == 0 else (True, False):
            rate, said = throughput(tools, f'dump-{os.getpid()}-{n}', args, dumped)
            rates[dumped].append(rate)
            print(f'{"dumped" if dumped else "alone ":6} {rate / 1e6:8.3f} million packets/s  {said}')
    alone, dumped = (statistics.median(rates[key]) for key in (False, True))
    print(f'alone {alone / 1e6:.3f} (spread {spread(rates[False]):.1f} %), dumped {dumped / 1e6:.3f} '
          f'(spread {spread(rates[True]):.1f} %): {(1 - dumped / alone) * 100:.2f} % slower')
    return 0


if __name__ == '__main__':
    sys.exit(main())
