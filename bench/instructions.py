#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the instructions that a packet of 64 bytes costs each end, with valgrind's callgrind on hot-path: core and
adapter, one packet at a time and batches of 32. What it counts is the same in every run, on a busy machine too;
it says nothing of caches, of the kernel or of time. With --check it compares with the numbers kept in a file and
prints TAP: more than the allowance is a failure, and so is as much less, because then the kept numbers no
longer guard anything. They belong to one compiler; --update writes them anew.

    instructions.py build/bench                                       prints a table
    instructions.py build/bench --check bench/instructions.json       compares
    instructions.py build/bench --update bench/instructions.json      keeps"""

import argparse
import json
import os
import re
import subprocess
import sys

ROUNDS = 100
# Functions of the C library that differ from machine to machine are out of the way: the plainest memcpy.
PLAIN = {'LD_BIND_NOW': '1',
         'GLIBC_TUNABLES': 'glibc.cpu.hwcaps=-AVX512VL,-AVX512F,-AVX2,-AVX,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load'}
CASES = [(layer, batch, side) for layer in ('core', 'adapter') for batch in (1, 32) for side in ('send', 'receive')]


def label(layer, batch, side):
    return f'{layer} {side} x{batch}'


def count(bench, layer, batch, side):
    """Instructions per packet."""
    argv = ['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null', '--collect-atstart=no',
            f'--toggle-collect=hot_{side}*', os.path.join(bench, 'hot-path'), layer, str(batch), str(ROUNDS)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **PLAIN})
    found = re.search(r'Collected : (\d+)', run.stderr)
    if run.returncode != 0 or not found or int(found[1]) == 0:
        sys.exit(f'{" ".join(argv)}: exit {run.returncode}: {run.stderr.strip()[-300:]}')
    return round(int(found[1]) / int(run.stdout), 2)


def check(counted, kept):
    """Prints TAP. Returns the exit code."""
    failed = 0
    print(f'1..{len(counted)}')
    for number, (name, now) in enumerate(counted.items(), 1):
        was = kept['instructions_per_packet'].get(name)
        good = was is not None and abs(now - was) <= was * kept['allowance']
        failed += not good
        print(f'{"ok" if good else "not ok"} {number} - {name}: {now} instructions per packet, kept {was}')
        if not good and was is not None:
            print(f'# {"worse" if now > was else "better: keep it with --update"}, by {now / was - 1:+.1%}')
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bench', help='directory of hot-path')
    parser.add_argument('--check', metavar='FILE')
    parser.add_argument('--update', metavar='FILE')
    parser.add_argument('--compiler', default='', help='with --update: its name and version, to be kept too')
    args = parser.parse_args()
    counted = {label(*case): count(args.bench, *case) for case in CASES}
    if args.check:
        with open(args.check, encoding='utf-8') as file:
            return check(counted, json.load(file))
    for name, now in counted.items():
        print(f'{name:20}{now:10.2f}')
    if args.update:
        with open(args.update, 'w', encoding='utf-8') as file:
            json.dump({'compiler': args.compiler, 'allowance': 0.05, 'instructions_per_packet': counted}, file,
                      indent=1)
            file.write('\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
