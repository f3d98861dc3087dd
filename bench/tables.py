# SPDX-License-Identifier: MIT
"""From the runs of a suite to tables: medians, and ratios within rounds, apart by placement of the CPUs. Works on
the data that compare.py writes with --json, wherever they come from; prints nothing."""

import collections
import json
import math
import statistics

from cases import CASES, METRICS, RIVALS, VARIANTS

# The classes between which a virtual CPU drifts: shared cache, same die, another socket. The borders lie where no
# machine was seen to stay: one went from 44 to 68, 109 to 138 and 380 to 510 ns, another from 102 to 149.
PLACEMENTS = {'near': 'in less than 90 ns', 'mid': 'in 90 to 260 ns', 'far': 'in more than 260 ns'}
MOVED = 1.6  # by this factor the probes before and after differ when the placement changed; noise is less


def placement_of(run):
    """Of a run, or None if it changed meanwhile or is not known."""
    if None in run['probe'] or max(run['probe']) > MOVED * min(run['probe']):
        return None
    ns = math.prod(run['probe']) ** 0.5
    return 'near' if ns < 90 else 'mid' if ns < 260 else 'far'


def classes(runs):
    """[(placement or None, how many runs)], the most frequent first."""
    return collections.Counter(placement_of(run) for run in runs if run['probe']).most_common()


def usual_placement(runs, work):
    """The one that most runs of the workload saw; None if there is none."""
    seen = classes([run for run in runs if run['work'] == work])
    return next((where for where, _ in seen if where is not None), None)


# values: {rival: {round: value}}; failed: {rival: how many runs gave no value}
Row = collections.namedtuple('Row', 'case metric values failed')


def rows(runs, where):
    """The rows of one placement, in the order of cases.py. A run without probes belongs to all: it counted system
    calls, which do not depend on time."""
    found = collections.defaultdict(lambda: collections.defaultdict(dict))
    failed = collections.Counter()
    for run in runs:
        if run['probe'] and placement_of(run) != where:
            continue
        if 'failed' in run:
            failed[run['work'], run['case'], bool(run['probe']), run['rival']] += 1
        for metric, value in run.get('metrics', {}).items():
            found[run['work'], run['case'], metric][run['rival']][run['round']] = value
    return [Row(case, metric, found[case.work, case.label, metric],
                {rival: count for (work, label, timed, rival), count in failed.items()
                 if (work, label, timed) == (case.work, case.label, metric != 'syscalls')})
            for case in CASES for metric in METRICS if (case.work, case.label, metric) in found]


def by_case(some_rows):
    """[rows of one case, of what was measured or of what it cost], in order: what goes into one table."""
    groups = collections.defaultdict(list)
    for row in some_rows:
        groups[row.case, is_cost(row)].append(row)
    return list(groups.values())


def rivals_of(some_rows):
    present = {name for row in some_rows for name in (*row.values, *row.failed)}
    return [name for name in ('machine', *RIVALS, *VARIANTS) if name in present]


def title(rival):
    return RIVALS[rival][0] if rival in RIVALS else rival


def rounds(some_rows):
    """In how many any rival gave a value."""
    return len({number for row in some_rows for values in row.values.values() for number in values})


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
    """Three digits that count."""
    return f'{value:.0f}' if value >= 99.95 else f'{value:.1f}' if value >= 9.995 else f'{value:.2f}'


def number(value, metric):
    return '' if value is None else f'{value:,.{METRICS[metric].digits}f}'


def measured(row, rival):
    """The median as text, with how many runs gave one where some did not; '' if it was not run or has no such thing."""
    text = number(median(row, rival), row.metric)
    there, failed = len(row.values.get(rival, ())), row.failed.get(rival, 0)
    return f'{text} ({there} of {there + failed} runs)'.lstrip() if failed and (there or not is_cost(row)) else text


def has_ratio(row):
    return any(ratio(row, name) for name in row.values)


def ratio(row, rival):
    """Median and range of the ratios within rounds, as text, or ''."""
    found = [] if rival == 'uvface' or is_cost(row) else ratios(row, rival)
    if not found:
        return ''
    return f'{short(statistics.median(found))} ({short(min(found))} to {short(max(found))})'


def ratio_title(row):
    """What such a ratio says."""
    return 'uvface: times ' + ('less' if METRICS[row.metric].kind == 'share' else 'as fast')


def is_cost(row):
    return METRICS[row.metric].kind in ('cost', 'fact')


def text_table(some_rows):
    """Lines of a table for a terminal: of one case, with a line for each rival."""
    case = some_rows[0].case
    head = [f'{case.title}, rounds: {rounds(some_rows)}']
    for row in some_rows:
        head += [METRICS[row.metric].label, *([ratio_title(row)] if has_ratio(row) else [])]
    lines = [head]
    for name in rivals_of(some_rows):
        lines.append([f'  {title(name)}'])
        for row in some_rows:
            lines[-1] += [measured(row, name) or '-', *([ratio(row, name)] if has_ratio(row) else [])]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return ['', *('  '.join(cell.ljust(width) if at == 0 else cell.rjust(width)
                            for at, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)]


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
