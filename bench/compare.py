#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the rivals side by side and prints medians: uvface-perf, ring-perf (the bare ring), pipe-perf (a
Unix socket) and, with --rust-peer, the original face between two Rust processes. Rivals alternate within
every round, so that a drifting host hits all of them; a cache-line probe before each group of runs tells
which placement of the CPUs it saw, groups during which that changed are dropped, placements are reported
apart. Ratios are taken within a round. Says what was measured here and now, nothing about other hosts.

    compare.py build/bench --cpu 0,1 --rust-peer PATH --raw raw.json"""

import argparse
import collections
import json
import os
import re
import statistics
import subprocess
import sys
import time

Case = collections.namedtuple('Case', 'label mode size batch server')
RATE, TIME, SHARE = 'M/s', 'ns', 'CPU %'

CASES = [Case(f'{size} B x{batch} {direction}', 'throughput', size, batch, server)
         for size in (64, 1024, 8800)
         for batch in (1, 32)
         for direction, server in (('a2e', 'engine'), ('e2a', 'app'))]
CASES += [Case('round trip 100 B', 'rtt', 100, 1, 'engine'),
          Case('paced 10000/s', 'paced', 100, 1, 'engine'),
          Case('fetch 64 x 8000 B', 'fetch', 100, 1, 'engine')]


def placement(ns):
    """The classes between which a virtual CPU drifts: shared cache, same die, another socket."""
    return 'near' if ns < 105 else 'mid' if ns < 260 else 'far'


class Failed(Exception):
    """A run that gave no number, and why."""


def start(argv, cpu=None):
    pin = None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=pin)


def stop(process):
    """Ends one process of ours, politely first: an engine that is killed leaves its names behind."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def finish(process, timeout):
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f'no end within {timeout:.0f} s') from None
    if process.returncode != 0:
        raise Failed(f'exit {process.returncode}: {err.strip()[-200:]}')
    return out


def probe(args):
    process = start([os.path.join(args.bench, 'ring-perf'), 'probe', '--cpu', f'{args.cpu[0]},{args.cpu[1]}'])
    try:
        return json.loads(finish(process, 20))['min']
    finally:
        stop(process)


class Ours:
    """A measuring program of this project: both processes, one JSON object."""

    def __init__(self, args, program, *options):
        self.args, self.command = args, [os.path.join(args.bench, program)]
        self.options = list(options)

    def run(self, case, secs):
        process = start(self.command + [
            case.mode, '--json', '--secs', str(secs), '--size', str(case.size), '--batch', str(case.batch),
            '--server-role', case.server, '--cpu', f'{self.args.cpu[0]},{self.args.cpu[1]}'] + self.options)
        try:
            raw = json.loads(finish(process, secs + 30))
        finally:
            stop(process)
        return self.metrics(case, raw), raw

    @staticmethod
    def metrics(case, raw):
        if raw['packets_per_s'] is None:
            raise Failed('too short: everything arrived at once')
        if case.mode in ('throughput', 'fetch'):
            return {RATE: raw['packets_per_s'] / 1e6}
        rtt = raw['rtt_ns']
        values = {f'p50 {TIME}': rtt['p50'], f'p99 {TIME}': rtt['p99']}
        if case.mode == 'paced':
            values[SHARE] = raw['server']['cpu']['share'] * 100
        return values


class Rust:
    """The original, both ends. It knows counts only, so the count follows from the rate seen before; it
    loses wake-ups, so every run has a deadline."""
    SERVERS = {'throughput': 'sink', 'rtt': 'echo', 'paced': 'echo', 'fetch': 'fetchserver'}
    CLIENTS = {'throughput': 'source', 'rtt': 'ping', 'paced': 'paced', 'fetch': 'fetch'}

    def __init__(self, args):
        self.args, self.rates, self.serial = args, {}, 0

    def commands(self, case, name, count, secs):
        other = 'app' if case.server == 'engine' else 'engine'
        server = [f'{case.server}-{self.SERVERS[case.mode]}', name]
        client = [f'{other}-{self.CLIENTS[case.mode]}', name]
        if case.mode == 'throughput':
            server += [str(count)]
            client += [str(count), str(case.size), '--timeout-ms', '50']
        elif case.mode == 'rtt':
            client += [str(count)]
        elif case.mode == 'fetch':
            client += [str(count), '64']
        else:
            client += ['--secs', str(secs), '--interval-us', '100']
        tail = ['--rt', 'ct', '--size', str(case.size), '--reply', '8000']
        return ([self.args.rust_peer] + command + tail for command in (server, client))

    def run(self, case, secs):
        if case not in self.rates and case.mode != 'paced':
            self.once(case, {'throughput': 100000, 'rtt': 20000, 'fetch': 20000}[case.mode], secs)
        return self.once(case, max(1000, int(self.rates.get(case, 0) * secs)), secs)

    def once(self, case, count, secs):
        self.serial += 1
        name = f'compare-{os.getpid()}-{self.serial}'
        server_argv, client_argv = self.commands(case, name, count, secs)
        server = client = None
        try:
            server = start(server_argv, self.args.cpu[1])
            if case.mode == 'paced':
                client_argv += ['--peer-pid', str(server.pid)]
            client = start(client_argv, self.args.cpu[0])
            out = finish(client, secs * 4 + 4)
            if case.mode == 'throughput':
                out += finish(server, 4)
        finally:
            for process in (client, server):
                if process is not None:
                    stop(process)
            self.clean(name)
        return self.metrics(case, out), out

    def metrics(self, case, out):
        if case.mode in ('throughput', 'fetch'):
            found = re.search(r'sink n=\d+ ([\d.]+) Mmsg/s|fetch n=\d+ ([\d.]+) replies/s', out)
            rate = float(found[1]) if found[1] else float(found[2]) / 1e6
            self.rates[case] = rate * 1e6
            return {RATE: rate}
        values = {f'{p} {TIME}': int(re.search(p + r'=(\d+)', out)[1]) for p in ('p50', 'p99')}
        if case.mode == 'paced':
            values[SHARE] = float(re.search(r'peer_cpu=([\d.]+)', out)[1]) * 100
        else:
            self.rates[case] = 1e9 / float(re.search(r'mean=(\d+)', out)[1])
        return values

    @staticmethod
    def clean(name):
        for path in (f'/dev/shm/ndn-shm-{name}', f'/tmp/.ndn-{name}.a2e.pipe', f'/tmp/.ndn-{name}.e2a.pipe'):
            if os.path.exists(path):
                os.unlink(path)


def measure_group(rivals, case, secs, log):
    """One run of each rival, one after the other."""
    values = {}
    for name, rival in rivals.items():
        if case.mode == 'paced' and name == 'ring':
            continue  # it never sleeps: nothing to learn
        entry = {'case': case.label, 'rival': name}
        try:
            values[name], entry['raw'] = rival.run(case, secs)
        except Failed as failure:
            entry['failed'] = str(failure)
        log.append(entry)
    return values


def measure(args, rivals):
    """Returns [(round, case, placement or None if it changed, {rival: {metric: value}})] and the log."""
    groups, log, began = [], [], time.monotonic()
    before = probe(args)
    for number in range(args.rounds):
        for case in args.cases:
            runs = []
            secs = max(args.secs, 1.0) if case.mode == 'paced' and not args.quick else args.secs
            values = measure_group(rivals, case, secs, runs)
            after = probe(args)
            same = placement(before) == placement(after)
            groups.append((number, case, placement(before) if same else None, values))
            for entry in runs:
                log.append({'round': number, 'probe_before_ns': before, 'probe_after_ns': after, **entry})
            before = after
        spent = time.monotonic() - began
        print(f'\rround {number + 1} of {args.rounds}, {spent:.0f} s', end='', file=sys.stderr, flush=True)
        if spent * (number + 2) / (number + 1) > args.budget and number + 1 < args.rounds:
            print(f'\nstopped after {number + 1} rounds: {args.budget} s are used up', file=sys.stderr)
            break
    print(file=sys.stderr)
    return groups, log


def spread(ratios):
    return '{:.3g} ({:.3g}..{:.3g})'.format(statistics.median(ratios), min(ratios), max(ratios))


def rows_of(groups, cases):
    """{(case label, metric): {rival: [value of each round or None]}}, in the order of the cases."""
    rows = {}
    for case in cases:
        mine = [values for _, c, _, values in groups if c == case]
        metrics = dict.fromkeys(m for values in mine for v in values.values() for m in v)
        for metric in metrics:
            names = dict.fromkeys(name for values in mine for name in values)
            rows[case.label, metric] = {n: [v.get(n, {}).get(metric) for v in mine] for n in names}
    return rows


def print_table(rows, names):
    first = names[0]
    head = [f'{"":30}'] + [f'{n:>10}' for n in names] + [f'{first + " : " + n:>24}' for n in names[1:]]
    print(''.join(head))
    for (label, metric), values in rows.items():
        line = f'{label + ", " + metric:30}'
        for name in names:
            known = [v for v in values.get(name, []) if v is not None]
            line += f'{statistics.median(known):10.3f}' if known and metric == RATE else \
                f'{statistics.median(known):10.0f}' if known else f'{"-":>10}'
        for name in names[1:]:
            pairs = [(a, b) for a, b in zip(values.get(first, []), values.get(name, [])) if a and b]
            ratios = [a / b if metric == RATE else b / a for a, b in pairs]
            line += f'{spread(ratios) if ratios else "-":>24}'
        print(line)


def was_disturbed(entry):
    if entry['rival'] != 'ring' or 'failed' in entry:
        return False
    return min(entry['raw'][end]['cpu']['share'] for end in ('client', 'server')) < 0.95


def report(args, groups, log, names):
    classes = collections.Counter(where for _, _, where, _ in groups)
    print('Medians of rounds. Ratios: how many times better the first is (more packets, less time, less '
          'CPU), median (min..max) of the ratios within rounds.')
    for where, count in classes.most_common():
        if where is None:
            continue
        print(f'\nPlacement of the CPUs: {where}, {count} of {len(groups)} groups of runs')
        print_table(rows_of([g for g in groups if g[2] == where], args.cases), names)
    if classes[None]:
        print(f'\nDropped, because the placement changed meanwhile: {classes[None]} groups')
    disturbed = sum(map(was_disturbed, log))
    if disturbed:
        print(f'\nDISTURBED: in {disturbed} runs of the bare ring, which only polls, others used its CPUs')
    for entry in log:
        if 'failed' in entry:
            print(f'FAILED: round {entry["round"] + 1}, {entry["case"]}, {entry["rival"]}: {entry["failed"]}')


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bench', help='directory of uvface-perf, pipe-perf and ring-perf')
    parser.add_argument('--rust-peer', metavar='PATH', help='command-line program around the original face')
    parser.add_argument('--cpu', default='0,1', metavar='A,B', help='CPU of the client and of the server')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--secs', type=float, default=0.3, help='length of a run; paced at least 1')
    parser.add_argument('--budget', type=float, default=330, help='start no round that would end later (s)')
    parser.add_argument('--only', default='', metavar='TEXT', help='cases whose label contains it')
    parser.add_argument('--rivals', default='uvface,pipe,ring,rust', metavar='A,B', help='run only these')
    parser.add_argument('--raw', metavar='FILE', help='write every run as JSON')
    parser.add_argument('--quick', action='store_true', help='one round of short runs, to see that it works')
    args = parser.parse_args()
    args.cpu = [int(n) for n in args.cpu.split(',')]
    if len(args.cpu) != 2 or args.cpu[0] == args.cpu[1]:
        parser.error('--cpu needs two different CPUs')
    if args.quick:
        args.rounds, args.secs = 1, 0.05
    args.cases = [case for case in CASES if args.only in case.label]
    return args


def main():
    args = parse_arguments()
    rivals = {'uvface': Ours(args, 'uvface-perf'), 'pipe': Ours(args, 'pipe-perf'),
              'ring': Ours(args, 'ring-perf')}
    if args.rust_peer:
        rivals['rust'] = Rust(args)
    rivals = {name: rival for name, rival in rivals.items() if name in args.rivals.split(',')}
    groups, log = measure(args, rivals)
    report(args, groups, log, list(rivals))
    if args.raw:
        with open(args.raw, 'w', encoding='utf-8') as file:
            json.dump({'cpu': args.cpu, 'secs': args.secs, 'runs': log}, file, indent=1)
    ours_failed = any('failed' in entry and entry['rival'] != 'rust' for entry in log)
    return 1 if ours_failed else 0


if __name__ == '__main__':
    sys.exit(main())
