#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the rivals side by side and prints medians: this library, the bare ring, Unix sockets, FIFOs, nng and ZeroMQ
where they were built and, with --rust-peer, the original face between two Rust processes. Rivals alternate within
every round, in an order that moves on with the rounds, so that a drifting host hits all of them; a cache-line
probe before each group of runs tells which placement of the CPUs it saw, groups during which that changed are
dropped, placements are reported apart. Ratios are taken within a round. With --against an older build of the
library is one more rival. Says what was measured here and now, nothing about other hosts. The workloads are those of
cases.py.

    compare.py build --rust-peer PATH --against OLDER_BUILD --json docs/performance --plot build/performance"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import plot
import tables
from cases import CASES, MUST_WORKS, RIVALS, WORKS, copied_bytes
from rivals import Failed, Probe, all_rivals, counting_command, program


class Progress:
    """A line on a terminal, a line per round elsewhere."""

    def __init__(self):
        self.done = 0
        self.began, self.tty = time.monotonic(), sys.stderr.isatty()

    def spent(self):
        return time.monotonic() - self.began

    def group(self, number, case):
        self.done += 1
        if self.tty:
            print(f'\rround {number + 1}, {case.work} {case.label}: {self.spent():.0f} s\033[K', end='',
                  file=sys.stderr, flush=True)

    def round(self, number, groups):
        print(f'{chr(13) if self.tty else ""}round {number + 1}: {groups} cases, {self.spent():.0f} s',
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
    """What the machine can do; empty if it is too busy for that."""
    try:
        return tables.rounded(probe.run()[0])
    except Failed:
        return {}


def copy_bound(case, number, seen):
    """As a run, from the probe just before: what one CPU that only copies could take. None if that is not known."""
    ns = seen.get(f'copy_{copied_bytes(case)}')
    return ns and {'round': number, 'work': case.work, 'case': case.label, 'rival': 'bound',
                   'metrics': tables.rounded({'mpps': 1000 / ns})}


def rounds_of(log, case):
    """How many there are in one placement, the one that has most."""
    seen = {(run['round'], tables.placement_of(run)) for run in log if (run['work'], run['case']) == case[:2]}
    return max([0, *(sum(where == other for _, other in seen) for where in tables.PLACEMENTS)])


def cases_of_round(args, log, number):
    """All, as often as was asked for; then those of which too few are of one placement, at most as often again."""
    if number < args.rounds:
        return args.cases
    if args.quick or number == 2 * args.rounds:
        return []
    return [case for case in args.cases if case.work in MUST_WORKS and rounds_of(log, case) < args.rounds]


def measure(args, rivals):
    """Returns every run, with the probes before and after its group."""
    probe, log, number = Probe(args), [], 0
    progress = Progress()
    before = look(probe)
    while cases := cases_of_round(args, log, number):
        if progress.done and progress.spent() * (1 + len(cases) / progress.done) > args.budget:
            print(f'stopped after {number} rounds: {args.budget:.0f} s would not be enough for another',
                  file=sys.stderr)
            break
        for case in cases:
            progress.group(number, case)
            runs = measure_group(rivals, case, secs_of(args, case), number)
            bound = copy_bound(case, number, before) if 'bound' in case.rivals else None
            after = look(probe)
            for run in runs + [bound] * bool(bound):
                run['probe'] = [before.get('round_trip'), after.get('round_trip')]
                log.append(run)
            before = after
        progress.round(number, len(cases))
        number += 1
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
    print('Medians of rounds, and ratios: median (smallest to largest) of the ratios within rounds.')
    for where, count in tables.classes(log):
        if where is None:
            print(f'\nDropped, because the placement changed meanwhile: {count} runs')
            continue
        print(f'\n=== A cache line goes there and back {tables.PLACEMENTS[where]}: {count} runs')
        found = tables.rows(log, where)
        for work, heading in WORKS.items():
            mine = [row for row in found if row.case.work == work]
            if mine:
                print(f'\n{work}. {heading}')
            for group in tables.by_case(mine):
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


def introspected(build, name):
    """What Meson knows of a build; empty if it is none of Meson's."""
    try:
        with open(os.path.join(build, 'meson-info', f'{name}.json'), encoding='utf-8') as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def revision(build):
    """Of the source that the build was made of, as it is now."""
    source = introspected(build, 'meson-info').get('directories', {}).get('source', build)
    try:
        found = subprocess.run(['git', '-C', source, 'describe', '--always', '--dirty', '--exclude', '*'],
                               capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 'unknown'
    return found.stdout.strip() or 'unknown'


def describe(args, log):
    """What the figures depend on."""
    versions = {item['name']: item['version'] for item in introspected(args.build, 'intro-dependencies')}
    build = next((run['raw']['build'] for run in log if run['rival'] == 'uvface' and 'build' in run.get('raw', ())), {})
    trips = [run['probe'][0] for run in log if run['probe'] and run['probe'][0]]
    about = {'machine': cpu_model(), 'cpus': os.cpu_count(), 'cache line there and back':
             f'{statistics.median(trips):.0f} ns' if trips else 'not known', 'kernel': platform.release(),
             'compiler': build.get('compiler', 'unknown'),
             'libuv': versions.get('libuv', 'unknown'), 'build type': build.get('type', 'unknown'),
             'revision': revision(args.build)}
    if args.against:
        about['uvface, older'] = f'revision {revision(args.against)}'
    return {**about, 'date': time.strftime('%Y-%m-%d'), 'rounds': max(run['round'] for run in log) + 1,
            'secs': args.secs, 'command': command_line()}


def command_line():
    """Without the paths, which say nothing elsewhere."""
    words = ['PATH' if os.path.isabs(word) else word for word in sys.argv[1:]]
    return ' '.join(['bench/compare.py', *words])


def save(args, log):
    about = describe(args, log)
    if args.json and not args.json.endswith('.json'):
        args.json = os.path.join(args.json, f'suite-{plot.machines_of([(about, log)])[0].slug}.json')
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
    parser.add_argument('--against', metavar='BUILD', help='build directory of an older revision: one more rival')
    parser.add_argument('--cpu', metavar='A,B', help='CPU of the client and of the server (the first two)')
    parser.add_argument('--rounds', type=int, default=7, help='of one placement; what lacks some is run more often (7)')
    parser.add_argument('--secs', type=float, default=0.2, help='length of a run; paced at least 1')
    parser.add_argument('--budget', type=float, default=1320, help='start no round that would end later (s)')
    parser.add_argument('--only', default='', metavar='TEXT', help='cases whose "W1 label" contains it')
    parser.add_argument('--rivals', default='', metavar='A,B', help=f'run only these of {", ".join(RIVALS)}')
    parser.add_argument('--json', metavar='FILE', help='write the metrics of every run, for plot.py; '
                        'in a directory as suite-CPU.json')
    parser.add_argument('--raw', metavar='FILE', help='write all that every run said')
    parser.add_argument('--plot', metavar='DIR', help='write plots and tables there, as plot.py does')
    parser.add_argument('--quick', action='store_true', help='one round of short runs, to see that it works')
    args = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    args.cpu = [int(n) for n in args.cpu.split(',')] if args.cpu else allowed[:2]
    for build in filter(None, (args.build, args.against)):
        if not os.path.exists(program(build, 'uvface-perf')):
            parser.error(f'no uvface-perf in {build}')
    if args.rust_peer and not os.path.exists(args.rust_peer):
        parser.error(f'no {args.rust_peer}')
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
    if about['build type'] != 'release':
        print(f'A build of type {about["build type"]}: what counts is measured with --buildtype=release')
    if args.plot:
        plot.write([(about, log)], args.plot)
    return 1 if any('failed' in run and run['rival'] != 'rust' for run in log) else 0


if __name__ == '__main__':
    sys.exit(main())
