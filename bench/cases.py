# SPDX-License-Identifier: MIT
"""What the suite measures: workloads W0 to W7 as cases, and which rivals each is run with. A case names the mode of
the measuring programs and their options; a metric says its unit and whether more is better. No code runs
anything here, so that the runner, the tables and the plots agree on the words."""

import collections

# mode: of uvface-perf and its kin, or 'many' or 'probe'. options: further arguments. cpus: 2, or 1 for both ends on
# one. costs: system calls are counted in a run of its own. rivals: who takes part. label: its short name in files and
# for --only; title: what readers see.
Case = collections.namedtuple('Case', 'work label mode server options cpus costs rivals title')
# kind: 'rate' (more is better), 'time', 'share' and 'cost' (less is better), 'fact' (not compared).
Metric = collections.namedtuple('Metric', 'label kind digits')

METRICS = {
    'mpps': Metric('million packets/s', 'rate', 3),
    'p50': Metric('p50 ns', 'time', 0),
    'p99': Metric('p99 ns', 'time', 0),
    'client_cpu': Metric('client CPU %', 'share', 1),
    'server_cpu': Metric('server CPU %', 'share', 1),
    'turn_p50': Metric('turn p50 ns', 'time', 0),
    'wait_turns_p99': Metric('turns until served, p99', 'fact', 0),
    'wait_turns_max': Metric('turns until served, max', 'fact', 0),
    'sleeps': Metric('sleeps per M packets', 'cost', 0),
    'wakeups': Metric('wake-up bytes per M packets', 'fact', 0),
    'syscalls': Metric('system calls per M packets', 'cost', 0),
    'memory_kib': Metric('memory of both ends, KiB', 'cost', 0),
    'fds': Metric('descriptors of both ends', 'cost', 0),
    'threads': Metric('threads of both ends', 'fact', 0),
    'face_kib': Metric('memory per face, KiB', 'cost', 1),
    'face_fds': Metric('descriptors per face', 'cost', 2),
    'round_trip': Metric('round trip ns', 'time', 0),
    'copy_64': Metric('copy of 64 B, ns', 'time', 1),
    'copy_1024': Metric('copy of 1024 B, ns', 'time', 1),
    'copy_8000': Metric('copy of 8000 B, ns', 'time', 1),
    'copy_8800': Metric('copy of 8800 B, ns', 'time', 1),
}
WORKS = {
    'W0': 'The machine: a cache line there and back, a copy of what the other CPU wrote',
    'W1': 'One way',
    'W2': 'Round trips of 100 B',
    'W3': 'Paced: 100 B there and back, 10,000 a second',
    'W4': 'Fetch: 64 Interests of 100 B outstanding, 8000 B back for each',
    'W5': 'Many faces on one loop',
    'W6': 'A full ring: the receiver takes packets every 10 ms only',
    'W7': 'What options change, against the defaults',
}
MUST_WORKS = ('W1', 'W2', 'W4')  # none of their rows is to have fewer rounds than were asked for
LINUX = ('pipe', 'seqpacket', 'nng', 'zmq')
# Name in files: (what tables call it, what it is). In the order of the tables.
RIVALS = {
    'uvface': ('uvface', 'this library, as its manual says; copies for the receiver'),
    'older': ('uvface, older', 'an older build of this library'),
    'stream': ('uvface, stream', 'this library over a Unix socket: uvface_open_stream()'),
    'socket': ('uvface, private by socket', 'this library, a face without a name, woken by a socket'),
    'pipes': ('uvface, private by pipes', 'this library, a face without a name, woken by pipes'),
    'pipe-co': ('coalesced pipe', 'uv_pipe_t on a Unix socket, one write for all packets that are ready'),
    'bound': ('copy bound', 'not a rival: one CPU that only copies what the other has written'),
    'borrow': ('uvface, borrowing', 'this library, UVFACE_RECV_BORROW: no copy; every line of a packet is read'),
    'literal': ('uvface, silent peer', 'this library, against an end that announces nothing, as one of ndn-rs'),
    'ring': ('bare ring', 'the ring of libndnshm, busy polling, without an event loop'),
    'rust': ('ndn-rs', "ndn-rs, both ends, on Tokio's current-thread runtime"),
    'pipe': ('pipe', 'uv_pipe_t on a Unix socket, a write for each packet or batch'),
    'seqpacket': ('SOCK_SEQPACKET', 'SOCK_SEQPACKET and epoll, without a library'),
    'fifo': ('FIFOs', 'two FIFOs and epoll, without a library'),
    'nng': ('nng', 'nng, pair0 on ipc'),
    'zmq': ('ZeroMQ', 'ZeroMQ, PAIR on ipc'),
}


# W7's rivals: this library with other options, which override the case's.
VARIANTS = {
    'batch 8': ('--batch', '8'),
    'batch 32': ('--batch', '32'),
    'borrowed': ('--borrow',),
    '16 slots': ('--capacity', '16'),
    '64 slots': ('--capacity', '64'),
    '1024 slots': ('--capacity', '1024'),
    'slots of 1020 B': ('--slot-size', '1020'),
    'hot 0': ('--hot-ns', '0'),
    'hot 20 us': ('--hot-ns', '20000'),
    'hot 150 us': ('--hot-ns', '150000'),
    'spin 0': ('--spin-ns', '0'),
    'spin 10 us': ('--spin-ns', '10000'),
    'both 0': ('--no-spin',),
}


def case(work, label, mode, rivals, *options, server='engine', cpus=2, costs=False, title=''):
    return Case(work, label, mode, server, options, cpus, costs, rivals, title or label)


def copied_bytes(one):
    """How long the packets are that a case mostly copies, as the probe knows it; '' where that is not what it does."""
    return {'throughput': dict(zip(one.options[::2], one.options[1::2])).get('--size', '64'),
            'fetch': '8000'}.get(one.mode, '')


def one_way():
    for size in (64, 1024, 8800):
        for batch in (1, 32):
            options = ('--size', str(size), '--batch', str(batch))
            title = f'{size} B, {"one by one" if batch == 1 else f"in batches of {batch}"}'
            ours = ('uvface', 'older', 'socket', 'pipes', 'bound', 'borrow', 'ring', 'rust')
            yield case('W1', f'{size} B x{batch} a2e', 'throughput', (*ours, 'stream', 'pipe-co', *LINUX), *options,
                       costs=size == 64, title=f'{title}, app to engine')
            yield case('W1', f'{size} B x{batch} e2a', 'throughput', ours, *options, server='app',
                       title=f'{title}, engine to app')


def many():
    for faces, active in ((1, 1), (16, 16), (128, 128), (500, 500), (16, 1), (128, 1), (500, 1)):
        yield case('W5', f'{faces} faces, {active} active', 'many', ('uvface', 'older', 'pipe'), '--faces',
                   str(faces), '--active', str(active))
    yield case('W5', '127 flood, 1 quiet', 'many', ('uvface', 'older', 'pipe'), '--faces', '128', '--quiet',
               title='127 faces flood, one is quiet')


def options():
    rings = ('16 slots', '64 slots', '1024 slots')
    windows = ('hot 0', 'hot 20 us', 'hot 150 us', 'spin 0', 'spin 10 us', 'both 0')
    yield case('W7', '64 B x1', 'throughput', ('uvface', 'batch 8', 'batch 32', 'borrowed', 'spin 0', 'spin 10 us',
                                               *rings, 'slots of 1020 B'), '--size', '64')
    yield case('W7', '8800 B x32', 'throughput', ('uvface', 'borrowed', *rings), '--size', '8800', '--batch', '32')
    yield case('W7', 'round trip', 'rtt', ('uvface', *windows))
    yield case('W7', 'paced', 'paced', ('uvface', *windows))


CASES = [
    case('W0', 'the two CPUs', 'probe', ('machine',)),
    *one_way(),
    case('W2', 'default', 'rtt', ('uvface', 'older', 'socket', 'pipes', 'ring', 'rust', 'fifo', 'stream', 'pipe-co', *LINUX), costs=True,
         title='a CPU for each end'),
    case('W2', 'windows off', 'rtt', ('uvface', 'older', 'socket', 'pipes', 'rust', 'fifo', *LINUX), '--no-spin', costs=True,
         title='both ends sleep each time'),
    case('W2', 'both ends on one CPU', 'rtt', ('uvface', 'older', 'rust', 'fifo', 'stream', 'pipe-co', *LINUX), cpus=1,
         costs=True),
    case('W3', 'default', 'paced', ('uvface', 'older', 'socket', 'pipes', 'rust', 'fifo', 'stream', *LINUX), costs=True,
         title='a packet each 100 us'),
    case('W4', 'fetch', 'fetch', ('uvface', 'older', 'bound', 'borrow', 'ring', 'rust', 'stream', 'pipe-co', *LINUX), costs=True,
         title='replies of 8000 B'),
    *many(),
    case('W6', '64 B', 'full', ('uvface', 'older', 'literal', 'ring', 'stream', *LINUX)),
    *options(),
]
