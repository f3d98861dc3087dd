#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From the files that compare.py wrote with --json, one for each machine, to what docs/performance.rst shows: three
sentences and a plot first, then per workload its plots, as SVG, and its tables, as reStructuredText. The tables need
nothing; the plots need matplotlib and are left out where it is missing, and about.inc says so. Of each machine the
placement of its CPUs is shown that the workload saw most, and it is said which. The same files give the same output.

    plot.py docs/performance/suite-amd-epyc.json ... DIRECTORY"""

import collections
import json
import os
import re
import statistics
import sys

import tables
from cases import CASES, METRICS, RIVALS, WORKS

try:
    import matplotlib
    matplotlib.use('svg')
    matplotlib.rcParams.update({'svg.fonttype': 'none', 'svg.hashsalt': 'uvface', 'font.size': 9,
                                'font.sans-serif': ['DejaVu Sans', 'sans-serif'],
                                'axes.spines.top': False, 'axes.spines.right': False})
    import matplotlib.ticker
    from matplotlib import pyplot
except ImportError:
    pyplot = None

COLOURS = {'uvface': '#0b5fa5', 'older': '#7aa5c9', 'bound': '#bbbbbb', 'borrow': '#5fa8e6', 'literal': '#a8d0f0', 'ring': '#2b2b2b',
           'rust': '#c2410c', 'pipe': '#15803d', 'pipe-co': '#65c18c', 'seqpacket': '#a16207', 'fifo': '#d4a72c', 'nng': '#7e22ce',
           'zmq': '#c084fc', 'stream': '#0f766e', 'socket': '#1d4ed8', 'pipes': '#3b82f6'}


MADE = ['.. made by bench/plot.py; do not edit', '']
MAX_COLUMNS = 5  # of figures, beside the rivals' names

Machine = collections.namedtuple('Machine', 'name slug about runs where')  # where: {workload: usual placement}


def machines_of(sets):
    """[Machine] of [(about, runs)], the latest first."""
    found = []
    for about, runs in sorted(sets, key=lambda one: one[0]['date'], reverse=True):
        name = ' '.join(re.sub(r'\((R|TM)\)|\bProcessor\b|\bCPU\b|@.*', ' ', about['machine']).split())
        while name in [machine.name for machine in found]:
            name += ', earlier'
        slug = re.sub(r'\W+', '-', name.lower())
        found.append(Machine(name, slug, about, runs, {work: tables.usual_placement(runs, work) for work in WORKS}))
    return found


def write_file(directory, name, lines):
    with open(os.path.join(directory, name), 'w', encoding='utf-8') as file:
        file.write('\n'.join(MADE + lines + ['']))


def list_table(title, head, lines):
    """lines: lists of cells, as long as the head."""
    text = [f'.. list-table:: {title}', '   :header-rows: 1', '']
    for line in [head, *lines]:
        text += [f'   {"-" if at else "* -"} {cell}'.rstrip() if at == 0 else f'     - {cell}'.rstrip()
                 for at, cell in enumerate(line)]
    return text + ['']


# --- Tables -----------------------------------------------------------------------------------------------------


def columns(machines, groups, metric):
    """[(head, cell of a rival)] of one metric, machine beside machine."""
    found = []
    for machine, group in zip(machines, groups):
        of_whom = f', {machine.name}' if len(machines) > 1 else ''
        for row in group:
            if row.metric != metric:
                continue
            found.append((METRICS[metric].label + of_whom, lambda name, row=row: tables.measured(row, name)))
            if tables.has_ratio(row):
                found.append((tables.ratio_title(row) + of_whom, lambda name, row=row: tables.ratio(row, name)))
    return found


def case_tables(machines, groups):
    """groups: for each machine the rows of the case, or none. As many metrics beside each other as fit."""
    case = next(group[0].case for group in groups if group)
    if len(machines) > 1:
        counts = ', '.join(f'{machine.name} {tables.rounds(group)}'
                           for machine, group in zip(machines, groups) if group)
        title = f'{case.title} (rounds: {counts})'
    else:
        title = f'{case.title} (rounds: {tables.rounds(groups[0])})'
    parts = [[]]
    for metric in METRICS:
        found = columns(machines, groups, metric)
        if parts[-1] and len(parts[-1]) + len(found) > MAX_COLUMNS:
            parts.append([])
        parts[-1] += found
    rivals = tables.rivals_of([row for group in groups for row in group])
    text = []
    for part in parts:
        lines = [[tables.title(name), *(cell(name) for _, cell in part)] for name in rivals]
        text += list_table(title, ['', *(head for head, _ in part)], [line for line in lines if any(line[1:])])
    return text


def write_tables(machines, plots, directory):
    """plots: {workload: names}."""
    for work in WORKS:
        lines = []
        for name in plots.get(work, ()):
            lines += [f'.. image:: performance/{name}.svg', '   :alt: the medians of the tables below', '']
        seen = [machine for machine in machines if machine.where[work]]
        if seen:
            lines += ['A cache line went there and back ' + ', '.join(
                f'{tables.PLACEMENTS[machine.where[work]]} ({machine.name})' for machine in seen) + '.', '']
        groups = []
        for machine in seen:
            mine = [row for row in tables.rows(machine.runs, machine.where[work]) if row.case.work == work]
            groups.append({(group[0].case.label, tables.is_cost(group[0])): group for group in tables.by_case(mine)})
        for cost in (False, True):
            for case in CASES:
                mine = [group.get((case.label, cost), []) for group in groups]
                if case.work == work and any(mine):
                    lines += case_tables(seen, mine)
        write_file(directory, f'{work.lower()}.inc', lines)


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


def effect(machine, metric, before, after):
    """The medians, and by what factor within the rounds that have both; '' if there are none."""
    data = {(row.case.work, row.case.label, row.metric): row
            for row in tables.rows(machine.runs, machine.where['W7'])}
    rows = [data.get((*key, metric)) for *key, _ in (before, after)]
    if None in rows:
        return ''
    was, now = (row.values.get(key[-1], {}) for row, key in zip(rows, (before, after)))
    factors = [now[n] / was[n] for n in was if n in now and was[n] > 0]
    if not factors:
        return ''
    pair = ' to '.join(tables.number(tables.median(row, key[-1]), metric) for row, key in zip(rows, (before, after)))
    return f'{pair} {METRICS[metric].label}: x {tables.short(statistics.median(factors))} ' \
           f'({tables.short(min(factors))} to {tables.short(max(factors))})'


def write_tuning(machines, directory):
    """Each advice with its effect."""
    lines = []
    for advice, option, metric, before, after, command in TUNING:
        effects = [effect(machine, metric, before, after) for machine in machines]
        if any(effects):
            lines.append([advice, option, *effects, f'``{command}``'])
    head = ['Advice', 'Set', *(f'Effect, {machine.name}' for machine in machines), 'Command']
    write_file(directory, 'tuning.inc', list_table('What options change', head, lines))


def write_instructions(directory):
    """From the numbers that the tests compare with, beside this file."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, 'instructions.json'), encoding='utf-8') as file:
        kept = json.load(file)
    write_file(directory, 'instructions.inc', list_table(
        kept['compiler'], ['64 B', 'instructions per packet'],
        [[name, f'{count:.0f}'] for name, count in kept['instructions_per_packet'].items()]))


NOT_OF_ALL = ('uvface, older', 'remark')


def write_about(machines, plots, directory):
    keys = list(dict.fromkeys(key for machine in machines for key in machine.about))
    lines = [[key, *(machine.about.get(key, '' if key in NOT_OF_ALL else 'not recorded') for machine in machines)]
             for key in keys if key != 'command']
    lines.append(['runs by placement of the CPUs', *(', '.join(
        f'{count} {f"{where} (a cache line {tables.PLACEMENTS[where]})" if where else "dropped: it changed meanwhile"}'
        for where, count in tables.classes(machine.runs)) for machine in machines)])
    lines.append(['command', *(f'``{machine.about["command"]}``' for machine in machines)])
    text = list_table('Where the figures are from', ['', *(machine.name for machine in machines)], lines)
    write_file(directory, 'about.inc', text + ([] if plots else ['There are no plots: they need python3-matplotlib.']))
    write_file(directory, 'rivals.inc', list_table('The rivals', ['', ''], [[*rival] for rival in RIVALS.values()]))


def joined(parts):
    return ' and '.join(part for part in parts if part)


def medians(machines, work, label, metric, rival, unit):
    """"28.2 million (Intel Xeon) and 59.6 million (AMD EPYC)", or "(not measured)"."""
    found = []
    for machine in machines:
        rows = tables.rows(machine.runs, machine.where[work])
        values = [tables.median(row, rival) for row in rows
                  if (row.case.work, row.case.label, row.metric) == (work, label, metric)]
        if values and values[0] is not None:
            text = f'{values[0]:,.0f}' if values[0] >= 100 else tables.short(values[0])
            found.append(f'{text} {unit} ({machine.name})')
    return joined(found) or '(not measured)'


def write_summary(machines, plots, directory):
    """Three sentences and a plot."""
    sent = [medians(machines, 'W1', '64 B x1 a2e', 'mpps', name, 'million') for name in ('uvface', 'pipe-co', 'pipe')]
    there = [medians(machines, 'W2', 'default', 'p50', name, 'ns') for name in ('uvface', 'pipe')]
    lines = [f'Of packets of 64 B, sent one by one, a face carries {sent[0]} a second; a Unix pipe carries {sent[1]} if '
             f'its sender coalesces what it writes, else {sent[2]}.',
             f'A packet of 100 B is there and back in {there[0]}, through a Unix pipe in {there[1]}.',
             'That is what these machines did on their day; ratios travel better, so each table has beside what a '
             'rival reached how many times as fast this library was in the same round.', '']
    for name in plots.get('summary', ()):
        lines += [f'.. image:: performance/{name}.svg', '   :alt: packets of 64 B a second, by rival', '']
    write_file(directory, 'summary.inc', lines)
    write_front(machines, directory)


def write_front(machines, directory):
    """Three figures for the first page, of each machine, beside those of its best known rival."""
    figures = (('packets of 64 B, one by one, million a second', 'W1', '64 B x1 a2e', 'mpps'),
               ('Data of 8000 B fetched with 64 Interests outstanding, million a second', 'W4', 'fetch', 'mpps'),
               ('100 B there and back, median, ns', 'W2', 'default', 'p50'))
    lines = []
    for what, work, label, metric in figures:
        for machine in machines:
            cells = [medians([machine], work, label, metric, rival, '') for rival in ('uvface', 'pipe', 'pipe-co')]
            cells = ['not measured' if '(not measured)' in cell else cell.split()[0] for cell in cells]
            lines.append([f'{what} ({machine.name})', *cells])
    head = ['', 'uvface', 'Unix pipe', 'Unix pipe, coalescing']
    write_file(directory, 'front.inc', list_table('Three figures', head, lines))


# --- Plots ------------------------------------------------------------------------------------------------------


class Data:
    """Medians with their spread, of one machine and the placement that the workload mostly saw."""

    def __init__(self, machine, work):
        self.machine, self.where = machine, machine.where[work]
        self.rows = {(row.case.work, row.case.label, row.metric): row
                     for row in tables.rows(machine.runs, self.where)}

    def values(self, work, label, metric, rival):
        row = self.rows.get((work, label, metric))
        return sorted(row.values.get(rival, {}).values()) if row else []

    def rivals(self, work, label, metric):
        row = self.rows.get((work, label, metric))
        return [name for name in RIVALS if row and row.values.get(name)]


def new_axes(data, count, title, width=3.7, height=3.6):
    figure, axes = pyplot.subplots(1, count, figsize=(width * count, height), squeeze=False)
    figure.suptitle(f'{title}\n{data.machine.name}, a cache line there and back {tables.PLACEMENTS[data.where]}',
                    fontsize=10)
    return figure, axes[0]


def finish(figure, directory, name, data):
    name = f'{name}-{data.machine.slug}'
    return save_figure(figure, directory, name)


def save_figure(figure, directory, name):
    figure.tight_layout()
    figure.savefig(os.path.join(directory, name + '.svg'), metadata={'Date': None})
    pyplot.close(figure)
    return name


def log_scale(axis):
    """With plain numbers, and more than one of them where not much more than a power of ten is shown."""
    axis.set_xscale('log')
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axis.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f'{value:g}'))
    axis.minorticks_off()


def bars(axis, title, unit, found, log=True, size=8):
    """found: [(rival, sorted values)]; the whisker is from the smallest to the largest."""
    axis.set_title(title, fontsize=size + 1)
    axis.set_xlabel(unit + (' (log scale)' if log else ''), fontsize=size)
    for at, (name, values) in enumerate(reversed(found)):
        middle = statistics.median(values)
        axis.barh(at, middle, color=COLOURS[name], xerr=[[middle - values[0]], [values[-1] - middle]],
                  error_kw={'elinewidth': 0.8, 'ecolor': '#666666'})
        axis.annotate(f' {tables.short(middle)}', (values[-1], at), va='center', fontsize=size - 1)
    axis.set_yticks(range(len(found)), [tables.title(name) for name, _ in reversed(found)], fontsize=size)
    axis.tick_params(axis='x', labelsize=size)
    if log:
        log_scale(axis)
    axis.margins(x=0.25)


# Each returns the names of what it has drawn.
def plot_one_way(data, directory):
    names = []
    for batch in (1, 32):
        figure, axes = new_axes(data, 3, f'One way, {"one by one" if batch == 1 else "in batches of 32"}, app to '
                                   'engine')
        for axis, size in zip(axes, (64, 1024, 8800)):
            label = f'{size} B x{batch} a2e'
            bars(axis, f'{size} B', 'million packets/s', [(name, data.values('W1', label, 'mpps', name))
                                                        for name in data.rivals('W1', label, 'mpps')])
        names.append(finish(figure, directory, f'one-way-x{batch}', data))
    return names


def plot_round_trips(data, directory):
    figure, axes = new_axes(data, 3, 'Round trip of 100 B: p50 (dot) and p99 (end of the line)')
    for axis, label in zip(axes, ('default', 'windows off', 'both ends on one CPU')):
        names = data.rivals('W2', label, 'p50')
        axis.set_title({'default': 'a CPU each', 'windows off': 'both sleep each time'}.get(label, label), fontsize=9)
        axis.set_xlabel('microseconds (log scale)', fontsize=8)
        for at, name in enumerate(reversed(names)):
            p50, p99 = (statistics.median(data.values('W2', label, key, name)) / 1000 for key in ('p50', 'p99'))
            axis.plot([p50, p99], [at, at], color=COLOURS[name], linewidth=2)
            axis.plot([p50], [at], 'o', color=COLOURS[name])
            axis.annotate(tables.short(p50), (p50, at), xytext=(0, 5), textcoords='offset points', fontsize=7,
                          ha='center')
        axis.set_yticks(range(len(names)), [tables.title(name) for name in reversed(names)], fontsize=8)
        log_scale(axis)
        axis.margins(y=0.12)
    return [finish(figure, directory, 'round-trip', data)]


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
        axes[0].annotate(tables.title(name) if work == 'W3' else f'uvface, {name}', (cpu, p50), xytext=(5, 3),
                         textcoords='offset points', fontsize=7)
    axes[0].set_xlabel('CPU of the server, %')
    axes[0].set_ylabel('round trip p50, microseconds (log scale)')
    axes[0].set_yscale('log')
    axes[0].margins(x=0.2, y=0.2)
    return [finish(figure, directory, 'paced', data)]


def plot_fetch(data, directory):
    figure, axes = new_axes(data, 1, 'Fetch, 8000 B replies, 64 outstanding', 6)
    bars(axes[0], '', 'million replies/s', [(name, data.values('W4', 'fetch', 'mpps', name))
                                            for name in data.rivals('W4', 'fetch', 'mpps')])
    return [finish(figure, directory, 'fetch', data)]


def plot_many(data, directory):
    figure, axes = new_axes(data, 2, 'Many faces on one loop', 4)
    for axis, metric, title, unit, scale in (
            (axes[0], 'mpps', 'all faces active', 'million packets/s', 1),
            (axes[1], 'turn_p50', 'one face active', 'turn of the loop: p50, microseconds', 1000)):
        axis.set_title(title, fontsize=9)
        axis.set_ylabel(unit)
        for name in ('uvface', 'pipe'):
            points = []
            for faces in (1, 16, 128, 500):
                active = faces if metric == 'mpps' else 1
                values = data.values('W5', f'{faces} faces, {active} active', metric, name)
                if values:
                    points.append((faces, statistics.median(values) / scale))
            if points:
                axis.plot(*zip(*points), 'o-', color=COLOURS[name], label=tables.title(name))
        axis.set_xscale('log')
        axis.set_xticks([1, 16, 128, 500], ['1', '16', '128', '500'])
        axis.minorticks_off()
        axis.set_xlabel('faces (log scale)')
        axis.set_ylim(bottom=0)
        if axis.lines:
            axis.legend(frameon=False, fontsize=8)
    return [finish(figure, directory, 'many-faces', data)]


def plot_full(data, directory):
    figure, axes = new_axes(data, 2, 'A full ring', 4)
    bars(axes[0], 'The sender waits', 'its CPU, %', [(name, data.values('W6', '64 B', 'client_cpu', name))
                                                     for name in data.rivals('W6', '64 B', 'client_cpu')], log=False)
    bars(axes[1], 'From room to the next packet', 'p50, microseconds',
         [(name, [value / 1000 for value in data.values('W6', '64 B', 'p50', name)])
          for name in data.rivals('W6', '64 B', 'p50')])
    return [finish(figure, directory, 'full-ring', data)]


def plot_summary(machines, directory):
    """One way for all machines, below each other, at most 500 pixels wide."""
    mine = [machine for machine in machines if machine.where['W1']]
    figure, axes = pyplot.subplots(len(mine), 1, figsize=(5.1, 2.6 * len(mine)), squeeze=False)
    for machine, (axis,) in zip(mine, axes):
        data, label = Data(machine, 'W1'), '64 B x1 a2e'
        bars(axis, f'{machine.name}: packets of 64 B, one by one', 'million packets/s',
             [(name, data.values('W1', label, 'mpps', name)) for name in data.rivals('W1', label, 'mpps')
              if name in SUMMARY_RIVALS], size=9)
    return [save_figure(figure, directory, 'summary')]


SUMMARY_RIVALS = ('uvface', 'bound', 'pipe-co', 'rust', 'pipe', 'seqpacket', 'nng', 'zmq')
PLOTS = (('W1', plot_one_way), ('W2', plot_round_trips), ('W3', plot_paced), ('W4', plot_fetch), ('W5', plot_many),
         ('W6', plot_full))


def draw(machines, directory):
    """{workload: names of its plots}, and 'summary'."""
    if pyplot is None:
        return {}
    found = collections.defaultdict(list)
    for work, plot in PLOTS:
        for machine in machines:
            found[work] += plot(Data(machine, work), directory) if machine.where[work] else []
    if any(machine.where['W1'] for machine in machines):
        found['summary'] = plot_summary(machines, directory)
    return found


def write(sets, directory):
    """Tables and plots of these [(about, runs)]."""
    os.makedirs(directory, exist_ok=True)
    machines = machines_of(sets)
    plots = draw(machines, directory)
    write_summary(machines, plots, directory)
    write_about(machines, plots, directory)
    write_tables(machines, plots, directory)
    write_tuning(machines, directory)
    write_instructions(directory)


def main():
    if len(sys.argv) < 3:
        print('Usage: plot.py FILE... DIR', file=sys.stderr)
        return 2
    write([tables.load(path) for path in sys.argv[1:-1]], sys.argv[-1])
    return 0


if __name__ == '__main__':
    sys.exit(main())
