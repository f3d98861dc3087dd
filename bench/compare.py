#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the rivals side by side and prints medians: this library, the bare ring, Unix sockets, FIFOs, nng and ZeroMQ
where they were built and, with --rust-peer, the original face between two Rust processes. Rivals alternate within
every round, in an order that moves on with the rounds, so that a drifting host hits all of them; a cache-line
probe before each group of runs tells which placement of the CPUs it saw, groups during which that changed are
dropped, placements are reported apart. Ratios are taken within a round. Says what was measured here and now,
nothing about other hosts. The workloads are those of cases.py.

    compare.py build --rust-peer PATH --json suite.json --plot build/plots"""

import argparse
import json
import os
import platform
import sys
import time

import plot
import tables
from cases import CASES, RIVALS, WORKS
from rivals import Failed, Probe, all_rivals, counting_command


class Progress:
    """A line on a terminal, a line per round elsewhere."""

    def __init__(self, rounds, groups):
        self.rounds, self.total, self.done = rounds, rounds * groups, 0
        self.began, self.tty = time.monotonic(), sys.stderr.isatty()

    def spent(self):
        return time.monotonic() - self.began

    def group(self, number, case):
        left = self.spent() / self.done * (self.total - self.done) if self.done else 0
        self.done += 1
        if self.tty:
            print(f'\rround {number + 1} of {self.rounds}, {case.work} {case.label}: {self.spent():.0f} s, '
                  f'about {left:.0f} s left\033[K', end='', file=sys.stderr, flush=True)

    def round(self, number):
        print(f'{chr(13) if self.tty else ""}round {number + 1} of {self.rounds}, {self.spent():.0f} s',
              end='\033[K\n' if self.tty else '\n', file=sys.stderr, flush=True)


def measure_group(rivals, case, secs, number):
    """One run of each rival, one after the other."""
    names = [name for name in case.rivals if name in rivals]
    shift = number % len(names) if names else 0
    runs = []
    for name in names[shift:] + names[:shift]:
        run = {'round': number, 'work': case.work, 'case': case.label, 'rival': name}
        try:
            metrics, run['raw'] = rivals[name].run(case, secs)
            run['metrics'] = tables.rounded(metrics)
        except Failed as failure:
            run['failed'] = str(failure)
        runs.append(run)
    return runs


def secs_of(args, case):
    """Paced and full rings see few packets in a second."""
    least = 0.5 if case.mode == 'full' or '--quiet' in case.options else 0
    if case.mode == 'paced':
        least = 0.5 if case.work == 'W7' else 1.0
    return args.secs if args.quick else max(args.secs, least)


def look(probe):
    """The time of a cache line's round trip; None if the machine is too busy for that."""
    try:
        return tables.rounded({'ns': probe.run()[0]['round_trip']})['ns']
    except Failed:
        return None


def measure(args, rivals):
    """Returns every run, with the probes before and after its group."""
    probe, log = Probe(args), []
    progress = Progress(args.rounds, len(args.cases))
    before = look(probe)
    for number in range(args.rounds):
        for case in args.cases:
            progress.group(number, case)
            runs = measure_group(rivals, case, secs_of(args, case), number)
            after = look(probe)
            for run in runs:
                run['probe'] = [before, after]
            log += runs
            before = after
        progress.round(number)
        if progress.spent() * (number + 2) / (number + 1) > args.budget and number + 1 < args.rounds:
            print(f'stopped after {number + 1} rounds: {args.budget:.0f} s are used up', file=sys.stderr)
            break
    return log


def count_syscalls(args, rivals):
    """Runs of their own, because counting slows them down."""
    runs = []
    if counting_command(os.devnull) is None:
        print('System calls are not counted: neither perf nor strace can do it here.')
        return runs
    for case in args.cases:
        for name in case.rivals if case.costs else ():
            if name not in rivals or name == 'rust':
                continue
            run = {'round': 0, 'work': case.work, 'case': case.label, 'rival': name, 'probe': []}
            try:
                run['metrics'] = tables.rounded(rivals[name].syscalls(case))
            except Failed as failure:
                run['failed'] = f'counting system calls: {failure}'
            runs.append(run)
    return runs


def was_disturbed(run):
    if run['rival'] != 'ring' or run['work'] == 'W6' or not isinstance(run.get('raw'), dict):
        return False
    return min(run['raw'][end]['cpu']['share'] for end in ('client', 'server')) < 0.95


def report(log):
    print('Medians of rounds; below each, how many times better the first is (more packets, less time, less CPU): '
          'median (min..max) of the ratios within rounds.')
    for where, count in tables.classes(log):
        if where is None:
            print(f'\nDropped, because the placement changed meanwhile: {count} runs')
            continue
        print(f'\n=== Placement of the CPUs: {where}, {count} runs')
        found = tables.rows(log, where)
        for work, title in WORKS.items():
            mine = [row for row in found if row.case.work == work]
            if mine:
                print(f'\n{work}. {title}')
            for group in tables.grouped(mine):
                print('\n'.join(tables.text_table(group)))
    disturbed = sum(map(was_disturbed, log))
    if disturbed:
        print(f'\nDISTURBED: in {disturbed} runs of the bare ring, which only polls, others used its CPUs')
    for run in log:
        if 'failed' in run:
            print(f'FAILED: round {run["round"] + 1}, {run["work"]} {run["case"]}, {run["rival"]}: {run["failed"]}')


def cpu_model():
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        for line in file:
            if line.startswith('model name'):
                return line.split(':')[1].strip()
    return platform.machine()


def save(args, log):
    about = {'command': ' '.join(['bench/compare.py', *sys.argv[1:]]), 'date': time.strftime('%Y-%m-%d'),
             'machine': cpu_model(), 'cpus': os.cpu_count(), 'kernel': platform.release(), 'secs': args.secs,
             'rounds': max(run['round'] for run in log) + 1}
    for path in filter(None, (args.raw, args.json)):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if args.raw:
        with open(args.raw, 'w', encoding='utf-8') as file:
            json.dump({'about': about, 'runs': log}, file, indent=1)
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as file:
            file.write(tables.pack(about, log))
    return about


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', help='build directory, which has the measuring programs')
    parser.add_argument('--rust-peer', metavar='PATH', help='command-line program around the original face')
    parser.add_argument('--cpu', metavar='A,B', help='CPU of the client and of the server (the first two)')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--secs', type=float, default=0.2, help='length of a run; paced at least 1')
    parser.add_argument('--budget', type=float, default=480, help='start no round that would end later (s)')
    parser.add_argument('--only', default='', metavar='TEXT', help='cases whose "W1 label" contains it')
    parser.add_argument('--rivals', default='', metavar='A,B', help=f'run only these of {", ".join(RIVALS)}')
    parser.add_argument('--json', metavar='FILE', help='write the metrics of every run, for plot.py')
    parser.add_argument('--raw', metavar='FILE', help='write all that every run said')
    parser.add_argument('--plot', metavar='DIR', help='write plots and tables there, as plot.py does')
    parser.add_argument('--quick', action='store_true', help='one round of short runs, to see that it works')
    args = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    args.cpu = [int(n) for n in args.cpu.split(',')] if args.cpu else allowed[:2]
    if len(args.cpu) != 2 or args.cpu[0] == args.cpu[1]:
        parser.error('two different CPUs are needed')
    if args.quick:
        args.rounds, args.secs = 1, 0.05
    args.cases = [case for case in CASES if args.only in f'{case.work} {case.label}']
    return args


def main():
    args = parse_arguments()
    rivals, missing = all_rivals(args)
    if args.rivals:
        rivals = {name: rival for name, rival in rivals.items() if name in args.rivals.split(',')}
    args.cases = [case for case in args.cases if any(name in rivals for name in case.rivals)]
    if not args.cases:
        print('compare.py: nothing to run', file=sys.stderr)
        return 2
    log = measure(args, rivals)
    log += count_syscalls(args, rivals)
    report(log)
    if missing and not args.rivals:
        print(f'Not built, or not given: {", ".join(missing)}')
    about = save(args, log)
    if args.plot:
        plot.write(about, log, args.plot)
    return 1 if any('failed' in run and run['rival'] != 'rust' for run in log) else 0


if __name__ == '__main__':
    sys.exit(main())
