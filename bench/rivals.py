# SPDX-License-Identifier: MIT
"""The rivals as the suite sees them: each runs one case and returns its metrics by the names of cases.py, or raises
Failed. Guarantees that no process of a run outlives it and that every run has a deadline. Judges nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from cases import VARIANTS


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


def run_json(argv, timeout):
    process = start(argv)
    try:
        return json.loads(finish(process, timeout))
    finally:
        stop(process)


def program(build, name):
    """uvface-perf is installed and lies with the tools, in older builds with the others."""
    installed = os.path.join(build, 'uvface/tools', name)
    return installed if os.path.exists(installed) else os.path.join(build, 'bench', name)


def cpu_option(args, case):
    return f'{args.cpu[0]},{args.cpu[1]}' if case.cpus == 2 else str(args.cpu[0])


class Probe:
    """W0: not a rival, but the machine."""

    def __init__(self, args):
        self.argv = [program(args.build, 'ring-perf'), 'probe', '--cpu', f'{args.cpu[0]},{args.cpu[1]}']

    def run(self, _case=None, _secs=0):
        raw = run_json(self.argv, 60)
        return {'round_trip': raw['min'], **{f'copy_{size}': ns for size, ns in raw['copy_ns'].items()}}, raw


class Ours:
    """A measuring program of this project: both processes, one JSON object."""

    def __init__(self, args, name, *options, build=None):
        self.args, self.path, self.options = args, program(build or args.build, name), list(options)
        self.has_windows = name == 'uvface-perf'  # to switch off: the others always sleep

    def argv(self, case, *length):
        mine = [o for o in case.options if o != '--no-spin' or self.has_windows]
        return [self.path, case.mode, '--json', *length, '--server-role', case.server,
                '--cpu', cpu_option(self.args, case), *mine, *self.options]

    def run(self, case, secs):
        raw = run_json(self.argv(case, '--secs', str(secs)), secs + 30)
        if raw['packets_per_s'] is None:
            raise Failed('too short: everything arrived at once')
        return self.metrics(case, raw), raw

    @staticmethod
    def metrics(case, raw):
        ends = (raw['client'], raw['server'])
        values = {}
        if case.mode in ('throughput', 'fetch'):
            values['mpps'] = raw['packets_per_s'] / 1e6
        else:
            values.update(p50=raw['rtt_ns']['p50'], p99=raw['rtt_ns']['p99'])
        if case.mode in ('paced', 'full'):
            for key, end in (('client_cpu', ends[0]), ('server_cpu', ends[1])):
                used = end['cpu']['user_s'] + end['cpu']['system_s'] - end['cpu']['pacing_s']
                values[key] = max(0.0, used / end['seconds'] * 100)
        if case.mode == 'full':
            del values['server_cpu']  # it sleeps on purpose
        elif raw['packets'] > 0:
            values['sleeps'] = sum(e['cpu']['voluntary_switches'] for e in ends) * 1e6 / raw['packets']
            if 'wakeups_sent' in ends[0]['link']:
                values['wakeups'] = sum(e['link']['wakeups_sent'] for e in ends) * 1e6 / raw['packets']
        if case.costs:
            values.update(memory_kib=sum(e['rss_bytes'] for e in ends) / 1024, fds=sum(e['fds'] for e in ends),
                          threads=sum(e['threads'] for e in ends))
        return values

    def syscalls(self, case):
        """System calls per packet, from a run of its own; those of starting and ending are taken off."""
        count = {'paced': 2000, 'rtt': 10000}.get(case.mode, 100000)
        count, few = count // (10 if self.args.quick else 1), 100
        most, least = (count_syscalls(self.argv(case, '--count', str(n))) for n in (count, few))
        return {'syscalls': max(0.0, (most - least) / (count - few) * 1e6)}


def counting_command(path):
    """What counts system calls into a file here: perf if it is there and may, else strace, else None."""
    for command in (['perf', 'stat', '-x', ',', '-o', path, '-e', 'raw_syscalls:sys_enter', '--'],
                    ['strace', '-f', '-c', '-q', '-o', path]):
        if shutil.which(command[0]) and subprocess.run(
                command + [sys.executable, '--version'], capture_output=True, check=False).returncode == 0:
            return command
    return None


def count_syscalls(argv):
    with tempfile.NamedTemporaryFile('r', suffix='.txt') as file:
        command = counting_command(file.name)
        process = start(command + argv)
        try:
            finish(process, 120)
        finally:
            stop(process)
        text = file.read()
    found = re.search(r'^(\d+),', text, re.M) or re.search(r'^100\.00.*?(\d+)(?: +\d+)? +total$', text, re.M)
    if not found:
        raise Failed(f'{command[0]} counted nothing')
    return int(found[1])


class Many:
    """W5: many-perf, over faces or over sockets."""

    def __init__(self, args, *options, build=None):
        self.args, self.path, self.options = args, program(build or args.build, 'many-perf'), list(options)

    def run(self, case, secs):
        if not os.path.exists(self.path):
            raise Failed('there is no many-perf in that build')
        raw = run_json([self.path, '--secs', str(secs),
                        '--cpu', cpu_option(self.args, case), *case.options, *self.options], secs + 30)
        if raw['packets_per_s'] is None:
            raise Failed('too short: everything arrived at once')
        values = {'mpps': raw['packets_per_s'] / 1e6, 'turn_p50': raw['turn_ns']['p50'],
                  'face_kib': raw['rss_bytes_per_face'] / 1024, 'face_fds': raw['fds_per_face']}
        if raw['quiet'] and raw['wait_ns']:
            values = {'p50': raw['wait_ns']['p50'], 'p99': raw['wait_ns']['p99'],
                      'wait_turns_p99': raw['wait_turns']['p99'], 'wait_turns_max': raw['wait_turns']['max']}
        return values, raw


class ByMode:
    """One rival, two programs: W5 has its own."""

    def __init__(self, usual, many):
        self.usual, self.many = usual, many

    def run(self, case, secs):
        return (self.many if case.mode == 'many' else self.usual).run(case, secs)

    def syscalls(self, case):
        return self.usual.syscalls(case)


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
        size = dict(zip(case.options[::2], case.options[1::2])).get('--size', '100')
        if case.mode == 'throughput':
            server += [str(count)]
            client += [str(count), size, '--timeout-ms', '50']
        elif case.mode == 'rtt':
            client += [str(count)]
        elif case.mode == 'fetch':
            client += [str(count), '64']
        else:
            client += ['--secs', str(secs), '--interval-us', '100']
        tail = ['--rt', 'ct', '--size', size, '--reply', '8000']
        return ([self.args.rust_peer] + command + tail for command in (server, client))

    def run(self, case, secs):
        if case.label not in self.rates and case.mode != 'paced':
            self.once(case, {'throughput': 100000, 'rtt': 20000, 'fetch': 20000}[case.mode], secs)
        return self.once(case, max(1000, int(self.rates.get(case.label, 0) * secs)), secs)

    def once(self, case, count, secs):
        self.serial += 1
        name = f'compare-{os.getpid()}-{self.serial}'
        server_argv, client_argv = self.commands(case, name, count, secs)
        server = client = None
        try:
            server = start(server_argv, self.args.cpu[case.cpus - 1])
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
            self.rates[case.label] = rate * 1e6
            return {'mpps': rate}
        values = {p: int(re.search(p + r'=(\d+)', out)[1]) for p in ('p50', 'p99')}
        if case.mode == 'paced':
            values['server_cpu'] = float(re.search(r'peer_cpu=([\d.]+)', out)[1]) * 100
        else:
            self.rates[case.label] = 1e9 / float(re.search(r'mean=(\d+)', out)[1])
        return values

    def syscalls(self, case):
        raise Failed('two processes without a common parent')

    @staticmethod
    def clean(name):
        for path in (f'/dev/shm/ndn-shm-{name}', f'/tmp/.ndn-{name}.a2e.pipe', f'/tmp/.ndn-{name}.e2a.pipe'):
            if os.path.exists(path):
                os.unlink(path)


def all_rivals(args):
    """{name: rival} of those that can run here, and the names of those that cannot."""
    found = {'machine': Probe(args), 'uvface': ByMode(Ours(args, 'uvface-perf'), Many(args)),
             'borrow': Ours(args, 'uvface-perf', '--borrow'), 'literal': Ours(args, 'uvface-perf', '--literal'),
             'stream': Ours(args, 'uvface-perf', '--stream'), 'socket': Ours(args, 'uvface-perf', '--private', 'socket'),
             'pipes': Ours(args, 'uvface-perf', '--private', 'pipes'), 'ring': Ours(args, 'ring-perf'), 'pipe': ByMode(Ours(args, 'pipe-perf'), Many(args, '--sockets')),
             'pipe-co': Ours(args, 'pipe-perf', '--coalesce')}
    found.update({name: Ours(args, 'uvface-perf', *options) for name, options in VARIANTS.items()})
    missing = []
    if args.against:
        found['older'] = ByMode(Ours(args, 'uvface-perf', build=args.against), Many(args, build=args.against))
    for name in ('seqpacket', 'fifo', 'nng', 'zmq'):
        if os.path.exists(program(args.build, f'{name}-perf')):
            found[name] = Ours(args, f'{name}-perf')
        else:
            missing.append(name)
    if args.rust_peer:
        found['rust'] = Rust(args)
    else:
        missing.append('rust')
    return found, missing
