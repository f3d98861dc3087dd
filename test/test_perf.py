#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Smoke test of the measuring programs, in TAP: every mode in both roles with every byte checked, what
the exit codes promise, and with a path of the ndn-rs peer as second argument all sides against the
original. Says nothing about speed. Leaves no names and no processes behind, and checks that too.

    test_perf.py BUILD_DIR [RUST_PEER]"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import leftover
from tap import Tap

BUILD = sys.argv[1]
RUST = sys.argv[2] if len(sys.argv) > 2 and sys.argv[2] else None
SLOW = float(os.environ.get('UVFACE_SLOW', '1'))
DEADLINE_S = 30 * SLOW
CPUS = sorted(os.sched_getaffinity(0))
HEADER_BYTES, MAGIC, A2E_HEAD, E2A_HEAD = 448, 0, 128, 256

processes = []
names = []


def new_name():
    names.append(f'test-perf-{os.getpid()}-{len(names)}')
    return names[-1]


def start(*argv, **more):
    process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, **more)
    processes.append(process)
    return process


def finish(process, want=0, deadline_s=DEADLINE_S):
    """Waits for the exit code `want`; returns (stdout, stderr)."""
    out, err = process.communicate(timeout=deadline_s)
    assert process.returncode == want, f'exit {process.returncode}, not {want}: {err.strip()} {out.strip()}'
    return out, err


def path_of(program):
    return os.path.join(BUILD, 'uvface/tools' if program == 'uvface-perf' else 'bench', program)


def ours(*argv, program='uvface-perf'):
    return start(path_of(program), *argv)


def paths_of(name):
    return (f'/dev/shm/ndn-shm-{name}', f'/tmp/.ndn-{name}.a2e.pipe', f'/tmp/.ndn-{name}.e2a.pipe',
            leftover.directory(name), f'/tmp/.{name}.sock')


def check_verified(side, count):
    verify = side['verify']
    assert verify == {'checked': count, 'missing': 0, 'repeated': 0, 'torn': 0, 'bad_length': 0}, verify


def run_mode(program, mode, server_role, *options):
    # On a busy machine a poller that shares its CPU waits a time slice for each reply.
    count = 300 if program == 'ring-perf' else 200 if mode == 'paced' else 3000
    fits = ('--reply', '2000') if (program, mode) == ('fifo-perf', 'fetch') else ()  # a packet in one write
    out, _ = finish(ours(mode, '--name', new_name(), '--count', count, '--server-role', server_role,
                         '--verify', '--json', *fits, *options, program=program))
    run = json.loads(out)
    assert run['program'] == program and run['mode'] == mode and run['exit'] == 0, run
    assert run['client']['stalls'] == run['server']['stalls'] == 0, run
    if mode == 'throughput':
        check_verified(run['server'], count)
    elif mode == 'fetch':
        check_verified(run['client'], count)
    else:
        rtt = run['rtt_ns']
        assert rtt['samples'] == count, rtt
        assert 0 < rtt['p50'] <= rtt['p90'] <= rtt['p99'] <= rtt['p99.9'] <= rtt['max'], rtt
        check_verified(run['client'], run['client']['verify']['checked'])
        assert run['client']['verify']['checked'] > count
    assert run['server']['role'] == server_role and run['client']['role'] != server_role
    return run


def mode_tests(program):
    for mode in ('throughput', 'rtt', 'paced', 'fetch'):
        for server_role in ('engine', 'app'):
            yield f'{program} {mode}, server is {server_role}', \
                lambda m=mode, r=server_role: run_mode(program, m, r)


def test_full():
    """The sender waits for room again and again, against an end that announces it and one that does not. A socket
    holds thousands of packets, so that it takes more of them until it has been full a few times."""
    for program, count, *options in (('uvface-perf', 3000), ('uvface-perf', 3000, '--literal'), ('uvface-perf', 3000, '--private', 'socket'),
                                     ('uvface-perf', 3000, '--private', 'pipes'), ('pipe-perf', 20000),
                                     ('seqpacket-perf', 20000)):
        out, _ = finish(ours('full', '--name', new_name(), '--count', count, '--json', *options, program=program))
        run = json.loads(out)
        assert run['exit'] == 0 and run['server']['packets'] > count * 5 // 6, run
        assert run['rtt_ns']['samples'] >= 3 and run['rtt_ns']['p50'] > 0, run
        if program == 'uvface-perf':
            woken = run['client']['link']['wakeups_received']
            assert (woken == 0) == ('--literal' in options), f'{woken} wake-ups for room {options}'


def test_coalesced():
    for mode in ('throughput', 'rtt', 'fetch'):
        run = run_mode('pipe-perf', mode, 'engine', '--coalesce', '--size', '100')
        if mode == 'throughput':
            assert run['client']['link']['writes'] < 1500, 'a write for each packet'


def test_costs():
    """What a link opens and how it grows is told; a face is three descriptors beside its loop."""
    out, _ = finish(ours('throughput', '--name', new_name(), '--count', '20000', '--json'))
    run = json.loads(out)
    for end in ('client', 'server'):
        assert 3 <= run[end]['fds'] <= 20 and run[end]['rss_bytes'] > 100000, run[end]
        assert run[end]['threads'] == 0, run[end]


def test_many_faces():
    for options in ([], ['--active', '1'], ['--quiet'], ['--sockets'], ['--sockets', '--quiet']):
        out, _ = finish(ours('--faces', '20', '--secs', '0.3', *options, program='many-perf'))
        run = json.loads(out)
        assert run['faces'] == 20 and run['packets'] > 0 and run['turn_ns']['samples'] > 0, run
        assert run['fds_per_face'] == 4 if '--sockets' not in options else 1 <= run['fds_per_face'] < 2, run
        if '--quiet' in options:
            assert run['wait_turns'] is not None and run['wait_turns']['samples'] > 0, run


def compare(*options, build=BUILD, want=0, rivals='uvface,pipe-co', **more):
    """A tiny run of the comparison, from the measuring to the tables and, where matplotlib is, the plots."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'bench', 'compare.py')
    with tempfile.TemporaryDirectory() as directory:
        out, _ = finish(start(sys.executable, script, build, '--quick', '--only', 'W4', '--rivals', rivals,
                              '--json', directory, '--plot', directory, *options, **more), want, 4 * DEADLINE_S)
        data, = glob.glob(os.path.join(directory, 'suite-*.json'))
        with open(data, encoding='utf-8') as file:
            saved = json.load(file)
        assert 'W4. Fetch' in out or 'Dropped' in out, out
        measured = saved['groups'][0][-1]
        assert set(measured) - {'bound'} == set(rivals.split(',')), measured
        assert measured['uvface']['mpps'] > 0 and 'bound' in measured or 'the probe' in out, measured
        assert os.path.exists(os.path.join(directory, 'w4.inc'))
        return out, measured, saved['about']


def test_suite():
    _, _, about = compare()
    assert re.match(r'(gcc|clang) \d', about['compiler']) and re.match(r'1\.\d', about['libuv']), about
    assert about['machine'] and about['rounds'] == 1 and os.path.abspath(BUILD) not in about['command'], about


def test_suite_against():
    """An older build is one more rival, with the place where it had its programs; one that fails is told so."""
    with tempfile.TemporaryDirectory() as older:
        os.mkdir(os.path.join(older, 'bench'))
        program = os.path.join(older, 'bench', 'uvface-perf')
        os.symlink(os.path.abspath(path_of('uvface-perf')), program)
        _, measured, about = compare('--against', older, rivals='uvface,older,pipe-co')
        assert measured['older']['mpps'] > 0 and about['uvface, older'] == 'revision unknown', (measured, about)
        os.unlink(program)
        with open(program, 'w', encoding='ascii') as file:
            file.write('#!/bin/sh\necho no ring >&2; exit 1\n')
        os.chmod(program, 0o700)
        out, measured, _ = compare('--against', older, rivals='uvface,older', want=1)
        assert 'no ring' in measured['older']['failed'] and 'FAILED' in out, (measured, out)
        assert '(0 of 1 runs)' in out or 'Dropped' in out, out


def test_suite_without_tools():
    """Where neither perf nor strace is, system calls are not counted, and all else is measured."""
    with tempfile.TemporaryDirectory() as empty:
        out, _, _ = compare(env={**os.environ, 'PATH': empty})
    assert 'System calls are not counted' in out and 'FAILED' not in out, out


def test_borrowed_lines_are_read():
    """Every byte from the ninth on is the number's low one, so the sum tells how many were read."""
    for program, size in (('uvface-perf', 64), ('uvface-perf', 1000), ('uvface-perf', 8800), ('ring-perf', 1000)):
        for borrow in ([], ['--borrow']) if program == 'uvface-perf' or len(CPUS) > 1 else ():
            run = run_mode(program, 'throughput', 'engine', '--size', str(size), *borrow)
            lines = -(-size // 64) + 1 if borrow else 1  # a slot's packet may begin anywhere in a line
            want = lines * sum(seq & 0xff for seq in range(run['server']['verify']['checked']))
            assert run['server']['read_sum'] == want, (program, size, borrow, run['server'], want)
    run = run_mode('uvface-perf', 'fetch', 'engine', '--borrow')
    interests = sum(seq & 0xff for seq in range(run['client']['verify']['checked']))
    assert run['client']['read_sum'] == (8000 // 64 + 1) * interests, run['client']
    assert run['server']['read_sum'] == 3 * interests, run['server']


def test_batches():
    for mode in ('throughput', 'fetch'):
        run_mode('uvface-perf', mode, 'engine', '--batch', '32', '--borrow', '--no-spin')
        window = ('--window', '100') if mode == 'fetch' else ()
        run_mode('uvface-perf', mode, 'app', '--batch', '48', '--capacity', '16', *window)


def test_echo_under_pressure():
    """Far more packets under way than either ring holds: echo has to keep what finds no room."""
    for program, *options in (('uvface-perf', '--capacity', '16', '--borrow'), ('pipe-perf',)):
        name = new_name()
        echo = ours('rtt', '--side', 'echo', '--role', 'engine', '--name', name, *options, program=program)
        fetch = ours('fetch', '--side', 'fetch', '--role', 'app', '--name', name, '--count', '20000',
                     '--size', '1000', '--reply', '1000', '--window', '5000', '--verify', '--json',
                     program=program)
        out, _ = finish(fetch)
        check_verified(json.loads(out), 20000)
        finish(echo)


def test_by_time_and_as_text():
    out, _ = finish(ours('rtt', '--name', new_name(), '--secs', '0.1'))
    for word in ('uvface-perf rtt', 'p99.9', 'parks', 'spin_hits', 'CPU', 'round trips/s', 'build', 'CPU model',
                 'placement', 'echo on CPU', 'hint        not pinned'):
        assert word in out, out
    out, _ = finish(ours('throughput', '--name', new_name(), '--secs', '0.1', '--cpu', str(CPUS[0])))
    assert 'M packets/s' in out and 'round trip' not in out and 'not pinned' not in out, out
    assert f'source on CPU {CPUS[0]}, pinned; sink on CPU {CPUS[0]}, pinned' in out, out


def run_with(program, mode, *options, **more):
    out, _ = finish(start(path_of(program), mode, '--name', new_name(), '--count', '2000', '--json', *options, **more))
    return json.loads(out)


def test_place():
    """Where both ends ran, whether they had to, and of what build the program is."""
    client, server = CPUS[0], CPUS[-1]
    run = run_with('uvface-perf', 'throughput', '--cpu', f'{client},{server}')
    assert (run['client']['cpus'], run['server']['cpus']) == ([client], [server]), run
    assert run['client']['pinned'] and run['server']['pinned'] and not hints_of(run, 'pinned'), run
    assert run['cpu_model'], run
    run = run_with('pipe-perf', 'throughput', preexec_fn=lambda: os.sched_setaffinity(0, {server}))
    assert run['client']['cpus'] == run['server']['cpus'] == [server] and not hints_of(run, 'pinned'), run
    assert run['build']['libraries'] == [], run
    if len(CPUS) > 1:
        run = run_with('uvface-perf', 'rtt')
        assert not run['client']['pinned'] and hints_of(run, 'not pinned'), run
        assert set(run['client']['cpus'] + run['server']['cpus']) <= set(CPUS), run
    with open(os.path.join(BUILD, 'meson-info', 'intro-buildoptions.json'), encoding='utf-8') as file:
        made = {option['name']: option['value'] for option in json.load(file)}
    run = run_with('uvface-perf', 'rtt')
    assert run['build']['type'].split()[0] == made['buildtype'], run['build']
    assert re.match(r'(gcc|clang) \d', run['build']['compiler']), run['build']
    assert ('sanitizers' in run['build']['type']) == (made['b_sanitize'] not in ('none', [])), run['build']
    assert bool(hints_of(run, '--buildtype=release')) == (run['build']['type'] != 'release'), run['hints']
    assert [os.path.basename(path).split('.')[0] for path in run['build']['libraries']] == ['libuvface', 'libndnshm']


def hints_of(run, words):
    return [hint for hint in run['hints'] if words in hint]


def test_round_trips_per_second():
    for mode, has in (('rtt', True), ('paced', True), ('throughput', False), ('fetch', False)):
        run = run_with('uvface-perf', mode)
        assert ('round_trips_per_s' in run) == has, run
        assert not has or 0 < run['round_trips_per_s'] == run['packets_per_s'], run


def test_intervals():
    """As JSON they are what the client counted, without a gap; as text they come while it runs."""
    for program, mode in (('uvface-perf', 'throughput'), ('uvface-perf', 'rtt'), ('pipe-perf', 'fetch'),
                          ('seqpacket-perf', 'paced'), ('uvface-perf', 'full')):
        out, _ = finish(ours(mode, '--name', new_name(), '--secs', '0.5', '--interval', '0.1', '--json',
                             program=program))
        run = json.loads(out)
        parts = run['intervals']
        assert 1 <= len(parts) <= parts[-1]['to_s'] / 0.1 + 1 and parts[0]['from_s'] == 0, (mode, parts)
        assert all(a['to_s'] == b['from_s'] < b['to_s'] for a, b in zip(parts, parts[1:])), (mode, parts)
        assert abs(parts[-1]['to_s'] - run['client']['seconds']) < 1e-6, (mode, parts)
        assert sum(part['packets'] for part in parts) == run['client']['packets'] > 0, (mode, parts)
        assert all(abs(part['packets_per_s'] * (part['to_s'] - part['from_s']) - part['packets']) <= 1
                   for part in parts), (mode, parts)
    out, _ = finish(ours('rtt', '--name', new_name(), '--secs', '3', '--interval', '0.01', '--json'))
    server = json.loads(out)['server']
    assert server and 'intervals' not in server, 'the server kept intervals that nobody reads'
    for mode, words in (('rtt', 'round trips/s: '), ('throughput', 'M packets/s: ')):
        run = ours(mode, '--name', new_name(), '--secs', '60', '--interval', '1')
        line = run.stdout.readline()
        assert line.startswith('   0.00 to ') and words in line and run.poll() is None, line
        run.terminate()
        finish(run, 1)
    for text in ('-1', 'x', '', '0.001'):
        finish(ours('rtt', '--interval', text), 2)


def test_stall():
    out, err = finish(ours('rtt', '--side', 'ping', '--role', 'engine', '--name', new_name(), '--count', '10',
                           '--timeout-ms', '50', '--json'), 3)
    assert err.count('STALL') == 3 and json.loads(out)['stalls'] == 3, (out, err)


def test_verify_finds_a_fault():
    name = new_name()
    both = ['throughput', '--name', name, '--count', '20', '--verify']
    sink = ours(*both, '--side', 'sink', '--role', 'engine')
    source = ours(*both, '--side', 'source', '--role', 'app', '--size', '65')
    _, err = finish(sink, 4)
    finish(source)
    assert 'wrong length: got 65, expected 64' in err, err


def test_usage():
    for argv in (['fly'], [], ['rtt', '--count', 'x'], ['rtt', '--side', 'ping'], ['rtt', '--size', '7'], ['rtt', '--private', 'fifo'], ['rtt', '--private', 'socket', '--stream'],
                 ['rtt', '--side', 'sink', '--role', 'app', '--name', 'n'], ['fly', '--help']):
        _, err = finish(ours(*argv), 2)
        assert err, argv


OPTIONS = {  # by program and mode: some that it has, and some that are another's
    ('uvface-perf', ''): ('--server-role --hot-ns --private --literal --borrow --window --verify', '--coalesce'),
    ('uvface-perf', 'fetch'): ('--count --window --reply --batch --borrow', '--interval-us --coalesce'),
    ('uvface-perf', 'throughput'): ('--batch --hot-ns', '--window --reply --interval-us'),
    ('uvface-perf', 'rtt'): ('--verify --no-spin', '--batch --window'),
    ('uvface-perf', 'paced'): ('--interval-us', '--batch --reply'),
    ('uvface-perf', 'full'): ('--literal', '--verify --batch'),
    ('ring-perf', 'rtt'): ('--borrow --capacity', '--hot-ns --literal --coalesce'),
    ('pipe-perf', 'rtt'): ('--coalesce', '--borrow --capacity --no-spin'),
    ('seqpacket-perf', 'fetch'): ('--window', '--coalesce --borrow'),
}


def test_help():
    """Each program and mode lists the options that it has, and takes no other."""
    for (program, mode), (own, foreign) in OPTIONS.items():
        mode = [mode] if mode else []
        out, _ = finish(ours(*mode, '--help', program=program))
        listed = {line.split()[0] for line in out.splitlines() if line.startswith('  --')}
        assert listed >= {'--json', '--cpu', *own.split()}, (program, mode, listed)
        assert not listed & set(foreign.split()), (program, mode, listed & set(foreign.split()))
        for option in foreign.split() if mode else ():
            _, err = finish(ours(*mode, f'{option}=1' if option in VALUED else option, program=program), 2)
            assert option.lstrip('-') in err, err


VALUED = ('--batch', '--window', '--reply', '--interval-us', '--capacity', '--hot-ns')


def test_no_engine():
    name = new_name()
    _, err = finish(ours('rtt', '--side', 'ping', '--role', 'app', '--name', name, '--timeout-ms', '50'), 1)
    assert name in err and 'No such file' in err, err


def open_region(region, process):
    """The region by its name; or as one of the files of the process and its children: a privileged engine takes
    the name away once its app is there, and the system never knew the file it keeps open by that name."""
    if os.path.exists(region):
        return open(region, 'rb')
    with open(f'/proc/{process.pid}/task/{process.pid}/children', encoding='ascii') as file:
        pids = [str(process.pid), *file.read().split()]
    for pid in pids:
        for fd in glob.glob(f'/proc/{pid}/fd/*'):
            try:
                if os.readlink(fd).startswith('/dev/shm/'):
                    return open(fd, 'rb')
            except OSError:
                pass  # a descriptor that was closed meanwhile
    raise FileNotFoundError(region)


def wait_for_header(name, offset, process):
    """Until the 32-bit number at that offset of the region's header is no longer 0."""
    region = paths_of(name)[0]
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with open_region(region, process) as file:
                if any(file.read(HEADER_BYTES)[offset:offset + 4]):
                    return
        except FileNotFoundError:
            pass
    raise AssertionError(f'{region}: nothing moved')


def test_cannot_start():
    for option, words in (('--capacity=2000M', 'echo: uvface_create'), ('--cpu=1000,0', 'sched_setaffinity')):
        began = time.monotonic()
        _, err = finish(ours('rtt', '--name', new_name(), option), 1)
        assert words in err, err
        assert time.monotonic() - began < 5 * SLOW, 'one process waited for the other, which had ended'


def test_another_user():
    """The engine's files get the permissions, owner and group that were asked for, and its user is trusted for that."""
    uid, gid = (65534, 65533) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    name = new_name()
    common = ('--name', name, '--uid', uid, '--count', '100')
    echo = ours('rtt', '--side', 'echo', '--role', 'engine', '--mode', '0640', '--gid', gid, *common)
    deadline = time.monotonic() + DEADLINE_S
    while not all(os.path.exists(path) for path in paths_of(name)[:3]):
        assert time.monotonic() < deadline and echo.poll() is None, 'no face'
        time.sleep(0.001)
    for path in paths_of(name)[:3]:
        found = os.stat(path)
        assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o640, uid, gid), (path, found)
    finish(ours('rtt', '--side', 'ping', '--role', 'app', *common))
    finish(echo)
    for argv in (['--mode', '8'], ['--mode', '01000'], ['--mode', ''], ['--uid', 'root'], ['--gid', '-1'],
                 ['--mode', '0640', '--stream'], ['--gid', '1', '--private', 'pipes']):
        _, err = finish(ours('rtt', *argv), 2)
        assert argv[0] in err, (argv, err)


def test_too_large():
    for server_role in ('engine', 'app'):
        rtt = ours('rtt', '--name', new_name(), '--slot-size', '64', '--server-role', server_role)
        _, err = finish(rtt, 1)
        assert 'uvface_try_send' in err, err


def test_peer_killed():
    name = new_name()
    ping = ours('rtt', '--side', 'ping', '--role', 'engine', '--name', name, '--secs', '60')
    echo = ours('rtt', '--side', 'echo', '--role', 'app', '--name', name)
    wait_for_header(name, E2A_HEAD, ping)
    echo.kill()
    _, err = finish(ping, 1)
    assert 'peer left' in err or 'peer is gone' in err, err


def test_sigterm():
    name = new_name()
    run = ours('throughput', '--name', name, '--secs', '60')
    wait_for_header(name, A2E_HEAD, run)
    run.terminate()
    _, err = finish(run, 1)
    assert 'Terminated' in err, err


def with_rust(ours_argv, rust_side, *rust_argv):
    """Yields (our end, the original's end), first with us as app, then as engine. The engine starts first:
    the original dies of SIGBUS when it opens a region that has no size yet."""
    for ours_role, theirs_role in (('app', 'engine'), ('engine', 'app')):
        name = new_name()
        mine = [*ours_argv, '--role', ours_role, '--name', name]
        theirs = [RUST, f'{theirs_role}-{rust_side}', name, *rust_argv]
        engine = ours(*mine) if ours_role == 'engine' else start(*theirs)
        wait_for_header(name, MAGIC, engine)
        yield (engine, start(*theirs)) if ours_role == 'engine' else (ours(*mine), engine)


def test_rust_echo():
    for ping, echo in with_rust(['rtt', '--side', 'ping', '--count', '20000', '--json'], 'echo'):
        out, _ = finish(ping)
        assert json.loads(out)['rtt_ns']['samples'] == 20000
        echo.kill()


def test_rust_ping():
    for echo, ping in with_rust(['rtt', '--side', 'echo'], 'ping', '20000', '--timeout-ms', '5000'):
        out, _ = finish(ping)
        assert 'n=20000' in out and 'timeouts=0' in out, out
        finish(echo)


def test_rust_source():
    sink_argv = ['throughput', '--side', 'sink', '--count', '20000', '--size', '1000', '--verify', '--json']
    for sink, source in with_rust(sink_argv, 'source', '20000', '1000', '--verify'):
        out, _ = finish(sink)
        check_verified(json.loads(out), 20000)
        finish(source)


def test_rust_sink():
    source_argv = ['throughput', '--side', 'source', '--count', '20000', '--size', '1000', '--batch', '8',
                   '--verify']
    for source, sink in with_rust(source_argv, 'sink', '20000', '--verify', '--size', '1000'):
        out, _ = finish(sink)
        assert 'n=20000 order_errors_forward=0 order_errors_backward=0 torn=0 badlen=0' in out, out
        finish(source)


def test_rust_fetchserver():
    fetch_argv = ['fetch', '--side', 'fetch', '--count', '20000', '--verify', '--json']
    for fetch, server in with_rust(fetch_argv, 'fetchserver', '20000', '--verify'):
        out, _ = finish(fetch)
        check_verified(json.loads(out), 20000)
        finish(server)


def test_rust_fetch():
    server_argv = ['fetch', '--side', 'fetchserver', '--verify']
    for server, fetch in with_rust(server_argv, 'fetch', '20000', '64', '--verify', '--timeout-ms', '5000'):
        out, _ = finish(fetch)
        assert 'fetch n=20000' in out and 'fwd=0 back=0 torn=0' in out, out
        finish(server)


def all_tests():
    yield from mode_tests('uvface-perf')
    yield from mode_tests('pipe-perf')
    for program in ('seqpacket-perf', 'fifo-perf', 'nng-perf', 'zmq-perf'):
        if os.path.exists(path_of(program)):
            yield from mode_tests(program)
    if len(CPUS) > 1:  # two busy pollers on one CPU wait for each other's time slice
        yield from mode_tests('ring-perf')
    yield 'of borrowed packets every line is read', test_borrowed_lines_are_read
    yield 'batches, borrowed slots, a ring smaller than the window', test_batches
    yield 'echo with more packets under way than the rings hold', test_echo_under_pressure
    yield 'a full ring: with and without SPACE, and over sockets', test_full
    yield 'coalesced writes', test_coalesced
    yield 'memory, descriptors and threads are reported', test_costs
    yield 'many faces on one loop, over sockets too', test_many_faces
    if len(CPUS) > 1:
        yield 'the comparison, tables and plots', test_suite
        yield 'the comparison with an older build', test_suite_against
        yield 'the comparison where nothing can count system calls', test_suite_without_tools
    yield 'by time, as text', test_by_time_and_as_text
    yield 'where the ends ran and of what build they are, and hints', test_place
    yield 'round trips a second, where that is what is counted', test_round_trips_per_second
    yield 'intervals: a line at once, an array in the end', test_intervals
    yield 'a missing reply is a stall: counted, exit 3', test_stall
    yield '--verify finds a fault: exit 4', test_verify_finds_a_fault
    yield 'a wrong command line: exit 2', test_usage
    yield 'each program and mode lists and takes its own options', test_help
    yield 'no engine: exit 1, the error names the face', test_no_engine
    yield 'server or client cannot start: exit 1 at once', test_cannot_start
    yield 'permissions, owner and group of the files', test_another_user
    yield 'packets larger than the slots: exit 1, the error names the call', test_too_large
    yield 'the peer is killed: exit 1', test_peer_killed
    yield 'SIGTERM: both processes end', test_sigterm
    if RUST:
        yield 'ndn-rs echo', test_rust_echo
        yield 'ndn-rs ping', test_rust_ping
        yield 'ndn-rs source', test_rust_source
        yield 'ndn-rs sink', test_rust_sink
        yield 'ndn-rs fetchserver', test_rust_fetchserver
        yield 'ndn-rs fetch', test_rust_fetch


def left_behind():
    return [path for name in names for path in paths_of(name) if os.path.exists(path)]


def clean_up():
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    processes.clear()
    for name in names:
        leftover.remove(name)
    for path in left_behind():
        os.unlink(path)


def run_test(tap, label, test):
    why = ''
    try:
        test()
        if not label.startswith('ndn-rs') and left_behind():
            why = f'left behind: {left_behind()}'
    except (AssertionError, subprocess.TimeoutExpired, KeyError, ValueError) as error:
        why = repr(error)
    finally:
        clean_up()
    tap.check(not why, label, why)


def main():
    tap = Tap()
    for label, test in all_tests():
        run_test(tap, label, test)
    if not RUST:
        tap.skip('all sides against ndn-rs', 'no peer given')
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())
