#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Short runs of uvface-soak and uvface-attack, in TAP: that nothing is lost, leaked or left behind when apps are
killed, hostile or flooding, and that the programs notice if it is. A run of seconds says nothing about
times: the exit status of the soak is not looked at where it judges them. Needs a /dev/shm.

    test_stress.py DIRECTORY_OF_THE_PROGRAMS"""

import glob
import json
import os
import signal
import subprocess
import sys
import time

from tap import Tap

PROGRAMS = sys.argv[1]
SLOW = float(os.environ.get('UVFACE_SLOW', '1'))
DEADLINE_S = 120 * SLOW
# What is judged by the clock and not by what happened.
BY_THE_CLOCK = ('p50 of the healthy apps', 'p99 of the healthy apps', 'the healthy apps keep', 'the engine takes',
                'the engine stays')


pids = []  # of the programs started here; the names they make begin with it


def start(argv, **more):
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    pids.append(process.pid)
    return process


def program(name, *argv):
    return [os.path.join(PROGRAMS, name), *argv]


def run(argv, **more):
    """Returns (exit status, standard output, standard error)."""
    process = start(argv, **more)
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.communicate()
    return process.returncode, out, err


def left_behind():
    patterns = ('/dev/shm/ndn-shm-uvface-*-{}-*', '/tmp/.ndn-uvface-*-{}-*', '/tmp/uvface-*-{}.canary')
    return [path for pid in pids for pattern in patterns for path in glob.glob(pattern.format(pid))]


def report(name, *argv):
    status, out, err = run(program(name, *argv, '--json'))
    assert out, f'exit {status}: {err}'
    found = json.loads(out)
    failure = found['failure']
    assert failure is None or failure.startswith(BY_THE_CLOCK), failure
    assert (status == 0) == (failure is None), (status, failure)
    return found


def test_soak():
    found = report('uvface-soak', '--secs', '3')
    assert found['faults'] == 0 and found['left_behind'] == 0, found
    assert found['healthy'] == 8 and found['killed'] >= 3 and found['started'] >= 20, found
    assert found['rate']['clean'] > 0 and found['rate']['villains'] > 0, found
    assert found['apart'] == (len(os.sched_getaffinity(0)) > 1), found


def test_crowd():
    found = report('uvface-soak', 'crowd', '--secs', '2')
    assert found['faults'] == 0 and not found['apart'] and found['rate']['villains'] > 0, found


def test_private():
    found = report('uvface-soak', 'private', '--secs', '3')
    assert found['faults'] == 0 and found['breaches'] == 0 and found['left_behind'] == 0, found
    assert found['blows'] >= 30 and found['rate']['villains'] > 0 and found['rate']['computing'] > 0, found
    assert found['stay_ms']['longest'] > 0, found


def test_private_by_one_part():
    for argv in (['private', '--only', 'hold'], ['private', '--only', 'bomb'], ['private', '--only', 'punch'], ['pour']):
        found = report('uvface-soak', *argv, '--secs', '0.5')
        assert found['blows'] > 0 and found['breaches'] == 0, (argv, found)


def test_flood():
    found = report('uvface-soak', 'flood', '--secs', '1')
    assert found['faults'] == 0 and found['rate']['villains'] > 0, found


def test_stopped():
    found = report('uvface-soak', 'stopped', '--secs', '1')
    assert found['faults'] == 0 and found['rate']['villains'] > 0, found


def test_idle():
    status, out, err = run(program('uvface-soak', 'idle', '--secs', '0.5', '--json'))
    assert out, f'exit {status}: {err}'
    found = json.loads(out)
    assert found['packets'] > 0 and found['turn_with_idle_ns'] > 0, (status, found, err)


def check_attack(found):
    assert found['faults'] == 0 and found['breaches'] == 0 and found['left_behind'] == 0, found
    skipped = {kind for kind, n in found['attacks'].items() if n['tried'] == 0}
    allowed = (set() if found['guard'] else {'truncate'}) | (set() if found['stranger'] else {'others'})
    assert skipped == allowed, f'never tried: {skipped}'
    assert found['faces']['opened'] > 10 and found['faces']['eproto'] > 0, found


def test_attack():
    found = report('uvface-attack', '--secs', '3')
    assert found['stranger'] and found['attacks']['others']['refused'] == found['attacks']['others']['tried'], found
    check_attack(found)


def test_attack_of_same_user():
    """An engine without rights and its attacker are the same user: less can be refused, nothing may be lost."""
    as_nobody = {'user': 65534, 'group': 65534, 'extra_groups': []} if os.geteuid() == 0 else {}
    fd = os.open(os.path.join(PROGRAMS, 'uvface-attack'), os.O_RDONLY)  # nobody need not be able to reach the file
    status, out, err = run([f'/proc/self/fd/{fd}', '--secs', '2', '--json'], pass_fds=[fd], **as_nobody)
    os.close(fd)
    assert status == 0, (status, out, err)
    found = json.loads(out)
    assert not found['stranger'], found
    check_attack(found)


def children_of(pid):
    with open(f'/proc/{pid}/task/{pid}/children') as file:
        return [int(child) for child in file.read().split()]


def argv_of(pid):
    with open(f'/proc/{pid}/cmdline') as file:
        return file.read().split('\0')


def wait_for(what, condition):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f'waited in vain for {what}')


def find_child(soak, part):
    for pid in children_of(soak.pid):
        try:
            if part in argv_of(pid):
                return pid
        except (FileNotFoundError, ProcessLookupError):
            pass
    return None


def kill_one(part, *argv):
    """Kills the first process of that part under a running program; returns what the program says of it."""
    process = start(program(*argv, '--secs', '60', '--json'))
    try:
        wait_for('an app', lambda: find_child(process, 'app'))  # an engine is killed when it has begun
        os.kill(wait_for(part, lambda: find_child(process, part)), signal.SIGKILL)
        out, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1, process.returncode
    return json.loads(out)['failure']


def test_death_of_an_app_is_noticed():
    assert 'ended by itself' in kill_one('app', 'uvface-soak')


def test_death_of_the_engine_is_noticed():
    for name in ('uvface-soak', 'uvface-attack'):
        failure = kill_one('engine', name)
        assert 'the engine ended (signal 9)' in failure or 'the app of place' in failure, failure


def cpus_of_parts(soak):
    """By whether it is one of the eight or their engine: the CPUs of the processes that run now."""
    cpus = {True: set(), False: set()}
    for pid in children_of(soak.pid):
        try:
            _, option, part, face, *_ = argv_of(pid)
            if option == '--as':  # else it has not begun to be what it is
                cpus[part == 'engine' or int(face.split('-')[-2]) < 8] |= os.sched_getaffinity(pid)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            pass  # it has ended
    return cpus


def test_villains_are_apart():
    process = start(program('uvface-soak', '--secs', '60'))

    def apart():
        cpus = cpus_of_parts(process)
        return all(cpus.values()) and not cpus[True] & cpus[False]

    try:
        wait_for('CPUs of their own', apart)
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


def test_sigterm():
    process = start(program('uvface-soak', '--secs', '60'))
    try:
        wait_for('an app', lambda: find_child(process, 'app'))
        process.terminate()
        out, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1 and 'Terminated' in out, (process.returncode, out)


def test_usage():
    for argv in (['uvface-soak', 'fly'], ['uvface-soak', 'soak', '--only', 'hold'], ['uvface-soak', 'idle', '--only', 'hold'], ['uvface-soak', '--secs', 'x'], ['uvface-soak', '--secs', '-1'],
                 ['uvface-soak', '--fly'], ['uvface-attack', 'now'], ['uvface-attack', '--secs', '0']):
        status, _, err = run(program(*argv))
        assert status == 2 and '--help' in err, (argv, status, err)
    for name in ('uvface-soak', 'uvface-attack'):
        status, out, _ = run(program(name, '--help'))
        assert status == 0 and '--secs' in out, (name, status, out)


TESTS = (
    ('villains among apps: nothing lost, leaked or left behind', test_soak),
    ('the same on shared CPUs, beside processes that use them: nothing lost', test_crowd),
    ('ten that misuse the kernel on private faces: nothing lost, nothing allowed, nobody held', test_private),
    ('each part of these ten alone strikes, and one that pours', test_private_by_one_part),
    ('a flooder beside an app: nothing lost', test_flood),
    ('a stopped app beside another: nothing lost', test_stopped),
    ('500 idle faces beside a busy one', test_idle),
    ('an attack from one user: nothing lost', test_attack_of_same_user),
    ('an app that dies is noticed: exit 1', test_death_of_an_app_is_noticed),
    ('an engine that dies is noticed: exit 1', test_death_of_the_engine_is_noticed),
    ('SIGTERM: all processes end', test_sigterm),
    ('a wrong command line: exit 2', test_usage),
)


def run_test(tap, label, test):
    why = ''
    try:
        test()
        if left_behind():
            why = f'left behind: {left_behind()}'
    except (AssertionError, subprocess.TimeoutExpired, KeyError, ValueError, OSError) as error:
        why = repr(error)
    tap.check(not why, label, why)


def main():
    tap = Tap()
    for label, test in TESTS:
        run_test(tap, label, test)
    if len(os.sched_getaffinity(0)) > 1:
        run_test(tap, 'villains have a CPU of their own', test_villains_are_apart)
    label = 'an attack from another user: nothing lost, all refused that must be'
    if os.geteuid() == 0:
        run_test(tap, label, test_attack)
    else:
        tap.skip(label, 'needs root, to be another user')
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())
