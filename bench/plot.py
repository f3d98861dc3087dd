#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From the file that compare.py wrote with --json to what docs/performance.rst shows: per workload its plots, as SVG,
and its tables, as reStructuredText that shows the plots first. The tables need nothing; the plots need matplotlib and
are left out where it is missing, and about.inc says so. A plot shows the placement of the CPUs that its workload saw
most, and says which; tables show all. The same file gives the same output.

    plot.py docs/performance/suite.json DIRECTORY"""

import json
import os
import statistics
import sys

import tables
from cases import METRICS, RIVALS, WORKS

try:
    import matplotlib
    matplotlib.use('svg')
    matplotlib.rcParams.update({'svg.fonttype': 'none', 'svg.hashsalt': 'uvface', 'font.size': 9,
                                'font.sans-serif': ['DejaVu Sans', 'sans-serif'],
                                'axes.spines.top': False, 'axes.spines.right': False})
    from matplotlib import pyplot
except ImportError:
    pyplot = None

COLOURS = {'uvface': '#0b5fa5', 'borrow': '#5fa8e6', 'literal': '#a8d0f0', 'ring': '#2b2b2b', 'rust': '#c2410c',
           'pipe': '#15803d', 'pipe-co': '#65c18c', 'seqpacket': '#a16207', 'fifo': '#d4a72c', 'nng': '#7e22ce',
           'zmq': '#c084fc'}


# --- Tables -----------------------------------------------------------------------------------------------------


def list_table(title, some_rows):
    names = tables.rivals_of(some_rows)
    lines = [f'.. list-table:: {title}', '   :header-rows: 1', '', '   * -']
    lines += [f'     - {name}' for name in names]
    for row in some_rows:
        lines.append(f'   * - {row.case.label}, {METRICS[row.metric].label}')
        for name in names:
            ratio = tables.ratio(row, name)
            lines.append(f'     - {tables.number(tables.median(row, name), row.metric)}'.rstrip())
            if ratio:
                lines += ['', f'       *{ratio}*', '']
    return lines + ['']


def image(name):
    """As a page in the directory above shows it."""
    return ['.. image:: performance/' + name + '.svg', '']


def write_tables(runs, plots, directory):
    """plots: {workload: names}."""
    classes = [where for where, _ in tables.classes(runs) if where is not None]
    for work in WORKS:
        lines = ['.. made by bench/plot.py; do not edit', '']
        for name in plots.get(work, ()):
            lines += image(name)
        for where in classes:
            mine = [row for row in tables.rows(runs, where) if row.case.work == work]
            for group in tables.grouped(mine):
                lines += list_table(f'{work}{", costs" if tables.is_cost(group[0]) else ""}: CPUs {where}', group)
        with open(os.path.join(directory, f'{work.lower()}.inc'), 'w', encoding='utf-8') as file:
            file.write('\n'.join(lines))


# What docs/tuning.rst advises: what, how, the metric, as (work, case, rival) where it was and where it is then, and
# the command.
TUNING = (
    ('Send what is there in batches', 'uvface_try_send_batch(), 8 packets', 'mpps', ('W7', '64 B x1', 'uvface'),
     ('W7', '64 B x1', 'batch 8'), 'uvface-perf throughput --batch 8'),
    ('', '32 packets', 'mpps', ('W7', '64 B x1', 'uvface'), ('W7', '64 B x1', 'batch 32'),
     'uvface-perf throughput --batch 32'),
    ('Borrow, if the peer is trusted', 'UVFACE_RECV_BORROW, 64 B', 'mpps', ('W7', '64 B x1', 'uvface'),
     ('W7', '64 B x1', 'borrowed'), 'uvface-perf throughput --borrow'),
    ('', 'UVFACE_RECV_BORROW, 8800 B', 'mpps', ('W7', '8800 B x32', 'uvface'), ('W7', '8800 B x32', 'borrowed'),
     'uvface-perf throughput --size 8800 --batch 32 --borrow'),
    ('Leave the capacity', 'capacity 64, 8800 B', 'mpps', ('W7', '8800 B x32', 'uvface'),
     ('W7', '8800 B x32', '64 slots'), 'uvface-perf throughput --size 8800 --batch 32 --capacity 64'),
    ('', 'capacity 1024, 8800 B', 'mpps', ('W7', '8800 B x32', 'uvface'), ('W7', '8800 B x32', '1024 slots'),
     'uvface-perf throughput --size 8800 --batch 32 --capacity 1024'),
    ('', 'capacity 16, 64 B', 'mpps', ('W7', '64 B x1', 'uvface'), ('W7', '64 B x1', '16 slots'),
     'uvface-perf throughput --capacity 16'),
    ('Smaller slots save memory', 'slot_size 1020, 64 B', 'mpps', ('W7', '64 B x1', 'uvface'),
     ('W7', '64 B x1', 'slots of 1020 B'), 'uvface-perf throughput --slot-size 1020'),
    ('Widen the hot window beyond the gap of your packets, if a CPU is to be had',
     'hot_ns 150000, packets each 100 us', 'p50', ('W7', 'paced', 'uvface'), ('W7', 'paced', 'hot 150 us'),
     'uvface-perf paced --hot-ns 150000'),
    ('', 'what it costs the server', 'server_cpu', ('W7', 'paced', 'uvface'), ('W7', 'paced', 'hot 150 us'),
     'uvface-perf paced --hot-ns 150000'),
    ('Shut the windows, if no CPU is to be spent on waiting', 'hot_ns 0, spin_ns 0', 'p50',
     ('W7', 'round trip', 'uvface'), ('W7', 'round trip', 'both 0'), 'uvface-perf rtt --no-spin'),
    ('', 'what it saves the server, packets each 100 us', 'server_cpu', ('W7', 'paced', 'uvface'),
     ('W7', 'paced', 'both 0'), 'uvface-perf paced --no-spin'),
    ('Leave the spin', 'spin_ns 10000', 'mpps', ('W7', '64 B x1', 'uvface'), ('W7', '64 B x1', 'spin 10 us'),
     'uvface-perf throughput --spin-ns 10000'),
    ('', 'spin_ns 0', 'p50', ('W7', 'round trip', 'uvface'), ('W7', 'round trip', 'spin 0'),
     'uvface-perf rtt --spin-ns 0'),
    ('Give each end a CPU of its own', 'both on one', 'p50', ('W2', 'default', 'uvface'),
     ('W2', 'both ends on one CPU', 'uvface'), 'uvface-perf rtt --cpu 0'),
)


def write_tuning(runs, where, directory):
    """Each advice with its effect: the medians, and by what factor within the rounds that have both."""
    data = {(row.case.work, row.case.label, row.metric): row for row in tables.rows(runs, where)}
    lines = ['.. made by bench/plot.py; do not edit', '', f'.. list-table:: CPUs {where}', '   :header-rows: 1', '']
    lines += ['   * - Advice', '     - Set', '     - Effect', '     - Command']
    for advice, option, metric, (*at, rival), (*at_after, rival_after), command in TUNING:
        before, after = (data.get((*key, metric)) for key in (at, at_after))
        if before is None or after is None:
            continue
        was, now = before.values.get(rival, {}), after.values.get(rival_after, {})
        factors = [now[n] / was[n] for n in was if n in now and was[n] > 0]
        if not factors:
            continue
        effect = f'{tables.number(tables.median(before, rival), metric)} to ' \
                 f'{tables.number(tables.median(after, rival_after), metric)} {METRICS[metric].label}: x ' \
                 f'{tables.short(statistics.median(factors))} ({tables.short(min(factors))} to ' \
                 f'{tables.short(max(factors))})'
        lines += [f'   * - {advice}'.rstrip(), f'     - {option}', f'     - {effect}', f'     - ``{command}``']
    with open(os.path.join(directory, 'tuning.inc'), 'w', encoding='utf-8') as file:
        file.write('\n'.join(lines + ['']))


def write_instructions(directory):
    """From the numbers that the tests compare with, beside this file."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, 'instructions.json'), encoding='utf-8') as file:
        kept = json.load(file)
    lines = ['.. made by bench/plot.py; do not edit', '', f'.. list-table:: {kept["compiler"]}',
             '   :header-rows: 1', '', '   * - 64 B', '     - instructions per packet']
    for name, count in kept['instructions_per_packet'].items():
        lines += [f'   * - {name}', f'     - {count:.0f}']
    with open(os.path.join(directory, 'instructions.inc'), 'w', encoding='utf-8') as file:
        file.write('\n'.join(lines + ['']))


def write_about(about, runs, plots, directory):
    counts = ', '.join(f'{count} {where or "dropped, because it changed meanwhile"}'
                       for where, count in tables.classes(runs))
    lines = ['.. made by bench/plot.py; do not edit', '']
    lines += [f':{key}: {value}' for key, value in about.items() if key != 'command']
    lines += [f':runs by placement: {counts}', f':command: ``{about["command"]}``']
    if not plots:
        lines.append(':plots: none: they need python3-matplotlib')
    with open(os.path.join(directory, 'about.inc'), 'w', encoding='utf-8') as file:
        file.write('\n'.join(lines + ['']))


# --- Plots ------------------------------------------------------------------------------------------------------


class Data:
    """Medians with their spread, of one placement."""

    def __init__(self, runs, where):
        self.where = where
        self.rows = {(row.case.work, row.case.label, row.metric): row for row in tables.rows(runs, where)}

    def values(self, work, label, metric, rival):
        row = self.rows.get((work, label, metric))
        return sorted(row.values.get(rival, {}).values()) if row else []

    def rivals(self, work, label, metric):
        row = self.rows.get((work, label, metric))
        return [name for name in RIVALS if row and row.values.get(name)]


def new_axes(data, count, title, width=3.2, height=3.4):
    figure, axes = pyplot.subplots(1, count, figsize=(width * count, height), squeeze=False)
    figure.suptitle(f'{title} (CPUs {data.where})', fontsize=10)
    return figure, axes[0]


def finish(figure, directory, name):
    figure.tight_layout()
    figure.savefig(os.path.join(directory, name + '.svg'), metadata={'Date': None})
    pyplot.close(figure)
    return name


def bars(axis, title, found, log=True):
    """found: [(rival, sorted values)]; the whisker is from the smallest to the largest."""
    axis.set_title(title, fontsize=9)
    for at, (name, values) in enumerate(reversed(found)):
        middle = statistics.median(values)
        axis.barh(at, middle, color=COLOURS[name], xerr=[[middle - values[0]], [values[-1] - middle]],
                  error_kw={'elinewidth': 0.8, 'ecolor': '#666666'})
        axis.annotate(f' {tables.short(middle)}', (values[-1], at), va='center', fontsize=7)
    axis.set_yticks(range(len(found)), [name for name, _ in reversed(found)], fontsize=8)
    if log:
        axis.set_xscale('log')
        axis.minorticks_off()
    axis.margins(x=0.25)


# Each returns the names of what it has drawn.
def plot_one_way(data, directory):
    names = []
    for batch in (1, 32):
        figure, axes = new_axes(data, 3, f'One way, {"one packet at a time" if batch == 1 else "batches of 32"}: '
                                   'million packets a second')
        for axis, size in zip(axes, (64, 1024, 8800)):
            label = f'{size} B x{batch} a2e'
            bars(axis, f'{size} B', [(name, data.values('W1', label, 'mpps', name))
                                     for name in data.rivals('W1', label, 'mpps')])
        names.append(finish(figure, directory, f'one-way-x{batch}'))
    return names


def plot_round_trips(data, directory):
    figure, axes = new_axes(data, 3, 'Round trip of 100 B: p50 (dot) and p99 (line ends), microseconds')
    for axis, label in zip(axes, ('default', 'windows off', 'both ends on one CPU')):
        names = data.rivals('W2', label, 'p50')
        axis.set_title(label, fontsize=9)
        for at, name in enumerate(reversed(names)):
            p50, p99 = (statistics.median(data.values('W2', label, key, name)) / 1000 for key in ('p50', 'p99'))
            axis.plot([p50, p99], [at, at], color=COLOURS[name], linewidth=2)
            axis.plot([p50], [at], 'o', color=COLOURS[name])
            axis.annotate(tables.short(p50), (p50, at), xytext=(0, 5), textcoords='offset points', fontsize=7,
                          ha='center')
        axis.set_yticks(range(len(names)), list(reversed(names)), fontsize=8)
        axis.set_xscale('log')
        axis.minorticks_off()
        axis.margins(y=0.12)
    return [finish(figure, directory, 'round-trip')]


def plot_paced(data, directory):
    figure, axes = new_axes(data, 1, 'Paced, 10,000 a second: what being awake costs the server', 6)
    points = [('W3', 'default', name) for name in data.rivals('W3', 'default', 'p50')]
    points += [('W7', 'paced', name) for name in ('hot 0', 'hot 20 us', 'hot 150 us', 'both 0')]
    for work, label, name in points:
        if not data.values(work, label, 'p50', name):
            continue
        p50 = statistics.median(data.values(work, label, 'p50', name)) / 1000
        cpu = statistics.median(data.values(work, label, 'server_cpu', name))
        axes[0].plot([cpu], [p50], 'o' if work == 'W3' else '^', color=COLOURS.get(name, COLOURS['uvface']))
        axes[0].annotate(name if work == 'W3' else f'uvface, {name}', (cpu, p50), xytext=(5, 3),
                         textcoords='offset points', fontsize=7)
    axes[0].set_xlabel('CPU of the server, %')
    axes[0].set_ylabel('round trip p50, us')
    axes[0].set_yscale('log')
    axes[0].margins(x=0.2, y=0.2)
    return [finish(figure, directory, 'paced')]


def plot_fetch(data, directory):
    figure, axes = new_axes(data, 1, 'Fetch, 8000 B replies, 64 outstanding: million replies a second', 6)
    bars(axes[0], '', [(name, data.values('W4', 'fetch', 'mpps', name))
                       for name in data.rivals('W4', 'fetch', 'mpps')])
    return [finish(figure, directory, 'fetch')]


def plot_many(data, directory):
    figure, axes = new_axes(data, 2, 'Many faces on one loop', 4)
    for axis, metric, title, scale in ((axes[0], 'mpps', 'million packets a second', 1),
                                       (axes[1], 'turn_p50', 'turn of the loop, one face active: p50, us', 1000)):
        axis.set_title(title, fontsize=9)
        for name in ('uvface', 'pipe'):
            points = []
            for faces in (1, 16, 128, 500):
                active = faces if metric == 'mpps' else 1
                values = data.values('W5', f'{faces} faces, {active} active', metric, name)
                if values:
                    points.append((faces, statistics.median(values) / scale))
            if points:
                axis.plot(*zip(*points), 'o-', color=COLOURS[name], label=name)
        axis.set_xscale('log')
        axis.set_xticks([1, 16, 128, 500], ['1', '16', '128', '500'])
        axis.minorticks_off()
        axis.set_xlabel('faces')
        axis.set_ylim(bottom=0)
        if axis.lines:
            axis.legend(frameon=False, fontsize=8)
    return [finish(figure, directory, 'many-faces')]


def plot_full(data, directory):
    figure, axes = new_axes(data, 2, 'A full ring', 4)
    bars(axes[0], 'CPU of the waiting sender, %', [(name, data.values('W6', '64 B', 'client_cpu', name))
                                                   for name in data.rivals('W6', '64 B', 'client_cpu')], log=False)
    bars(axes[1], 'from room to the next packet, p50, us',
         [(name, [value / 1000 for value in data.values('W6', '64 B', 'p50', name)])
          for name in data.rivals('W6', '64 B', 'p50')])
    return [finish(figure, directory, 'full-ring')]


PLOTS = (('W1', plot_one_way), ('W2', plot_round_trips), ('W3', plot_paced), ('W4', plot_fetch), ('W5', plot_many),
         ('W6', plot_full))


def usual_placement(runs, work):
    """The one that most runs of the workload saw; None if there is none."""
    seen = tables.classes([run for run in runs if run['work'] == work])
    return next((where for where, _ in seen if where is not None), None)


def draw(runs, directory):
    """{workload: names of its plots}."""
    if pyplot is None:
        return {}
    placed = [(work, plot, usual_placement(runs, work)) for work, plot in PLOTS]
    return {work: plot(Data(runs, where), directory) for work, plot, where in placed if where is not None}


def write(about, runs, directory):
    """Tables and plots of these runs; what was not measured is left as it is."""
    os.makedirs(directory, exist_ok=True)
    plots = draw(runs, directory)
    write_about(about, runs, plots, directory)
    write_tables(runs, plots, directory)
    write_tuning(runs, usual_placement(runs, 'W7'), directory)
    write_instructions(directory)


def main():
    if len(sys.argv) != 3:
        print('Usage: plot.py FILE DIR', file=sys.stderr)
        return 2
    write(*tables.load(sys.argv[1]), sys.argv[2])
    return 0


if __name__ == '__main__':
    sys.exit(main())
