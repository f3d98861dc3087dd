# SPDX-License-Identifier: MIT
"""From the runs of a suite to tables: medians, and ratios within rounds, apart by placement of the CPUs. Works on
the data that compare.py writes with --json, wherever they come from; prints nothing."""

import collections
import json
import statistics

from cases import CASES, METRICS, RIVALS, VARIANTS


def placement(ns):
    """The classes between which a virtual CPU drifts: shared cache, same die, another socket. None: not known."""
    return None if ns is None else 'near' if ns < 105 else 'mid' if ns < 260 else 'far'


def placement_of(run):
    """Of a run, or None if it changed meanwhile."""
    before, after = (placement(ns) for ns in run['probe'])
    return before if before == after else None


def classes(runs):
    """[(placement or None, how many runs)], the most frequent first."""
    return collections.Counter(placement_of(run) for run in runs if run['probe']).most_common()


Row = collections.namedtuple('Row', 'case metric values')  # values: {rival: {round: value}}


def rows(runs, where):
    """The rows of one placement, in the order of cases.py. A run without probes belongs to all: it counted something
    that does not depend on time."""
    found = collections.defaultdict(lambda: collections.defaultdict(dict))
    for run in runs:
        if run['probe'] and placement_of(run) != where:
            continue
        for metric, value in run.get('metrics', {}).items():
            found[run['work'], run['case'], metric][run['rival']][run['round']] = value
    return [Row(case, metric, found[case.work, case.label, metric]) for case in CASES for metric in METRICS
            if (case.work, case.label, metric) in found]


def rivals_of(some_rows):
    present = {name for row in some_rows for name in row.values}
    return [name for name in ('machine', *RIVALS, *VARIANTS) if name in present]


def median(row, rival):
    """None if it did not run."""
    values = row.values.get(rival, {}).values()
    return statistics.median(values) if values else None


def ratios(row, rival, first='uvface'):
    """How many times better the first is, in each round that both have."""
    mine, theirs = row.values.get(first, {}), row.values.get(rival, {})
    pairs = [(mine[n], theirs[n]) for n in mine if n in theirs and mine[n] > 0 and theirs[n] > 0]
    return [a / b if METRICS[row.metric].kind == 'rate' else b / a for a, b in pairs]


def short(value):
    """Two digits that count."""
    return f'{value:.0f}' if value >= 9.95 else f'{value:.2g}'


def number(value, metric):
    return '' if value is None else f'{value:,.{METRICS[metric].digits}f}'


def ratio(row, rival):
    """As text, or ''."""
    found = ratios(row, rival) if METRICS[row.metric].kind in ('rate', 'time', 'share') else []
    if rival == 'uvface' or not found:
        return ''
    return f'{short(statistics.median(found))} {short(min(found))}-{short(max(found))}'


def is_cost(row):
    return METRICS[row.metric].kind in ('cost', 'fact')


def grouped(some_rows):
    """[rows of one table]: those whose cases have the same rivals, what was measured before what it cost."""
    groups = collections.defaultdict(list)
    for row in some_rows:
        groups[is_cost(row), row.case.rivals].append(row)
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]


def text_table(some_rows):
    """Lines of a table for a terminal: a line of medians and a line of ratios for each metric."""
    names = rivals_of(some_rows)
    lines = ['', f'{"":50}' + ''.join(f'{name:>17}' for name in names)]
    for row in some_rows:
        label = f'{row.case.label}, {METRICS[row.metric].label}'
        lines.append(f'{label:50}' + ''.join(f'{number(median(row, n), row.metric) or "-":>17}' for n in names))
        if any(ratio(row, n) for n in names):
            lines.append(f'{"":50}' + ''.join(f'{ratio(row, n):>17}' for n in names))
    return lines


# --- The file: groups of runs, each with the numbers of all its rivals ------------------------------------------


def rounded(metrics):
    """Four digits that count, so that the file is small and says the same as what is printed from memory."""
    values = {key: float(f'{value:.4g}') for key, value in metrics.items()}
    return {key: int(value) if value == int(value) else value for key, value in values.items()}


def pack(about, runs):
    """As text: what --json writes and load() reads."""
    groups = collections.defaultdict(dict)
    for run in runs:
        groups[run['round'], run['work'], run['case'], tuple(run['probe'])][run['rival']] = \
            {'failed': run['failed']} if 'failed' in run else run['metrics']
    lines = ',\n'.join(json.dumps([*key, rivals], separators=(',', ':')) for key, rivals in groups.items())
    return f'{{"about":{json.dumps(about)},\n"groups":[\n{lines}\n]}}\n'


def load(path):
    """Returns (about, runs)."""
    with open(path, encoding='utf-8') as file:
        data = json.load(file)
    runs = [{'round': number, 'work': work, 'case': label, 'rival': rival, 'probe': probe,
             **(values if 'failed' in values else {'metrics': values})}
            for number, work, label, probe, rivals in data['groups'] for rival, values in rivals.items()]
    return data['about'], runs
