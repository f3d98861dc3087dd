#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests, in TAP, what the suite makes of its runs: medians, ratios and failures in tables, further rounds where too few
are of one placement, and the pages of several machines. Runs no measurement (test_perf.py does) and says nothing
about speed.

    test_suite.py SOURCE_ROOT"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

from tap import Tap

ROOT = pathlib.Path(sys.argv[1])
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / 'bench'))

import cases  # noqa: E402
import compare  # noqa: E402
import plot  # noqa: E402
import tables  # noqa: E402

ONE_WAY = next(case for case in cases.CASES if case.label == '64 B x1 a2e')
FETCH = next(case for case in cases.CASES if case.work == 'W4')
PACED = next(case for case in cases.CASES if case.work == 'W3')


def run(number, rival, mpps=None, case=ONE_WAY, probe=(80, 80)):
    values = {'failed': 'no end within 5 s'} if mpps is None else {'metrics': {'mpps': mpps, 'sleeps': 1}}
    return {'round': number, 'work': case.work, 'case': case.label, 'rival': rival, 'probe': list(probe), **values}


def row_of(runs, metric='mpps'):
    return next(row for row in tables.rows(runs, 'near') if row.metric == metric)


def test_placement():
    """What moves a little about a value is one placement, wherever that value is; what jumps is none."""
    for probe, want in (((44, 68), 'near'), ((102, 149), 'mid'), ((109, 104), 'mid'), ((380, 510), 'far'),
                        ((50, 119), None), ((120, 390), None), ((None, 50), None), ((50, None), None)):
        assert tables.placement_of({'probe': list(probe)}) == want, probe


def test_failures():
    runs = [run(n, 'uvface', 10) for n in range(4)]
    runs += [run(0, 'pipe', 2), run(1, 'pipe', 4), run(2, 'pipe'), run(3, 'pipe', 6), run(0, 'nng'), run(1, 'nng')]
    runs += [run(2, 'zmq', probe=(100, 300))]  # of no placement
    row = row_of(runs)
    assert tables.measured(row, 'uvface') == '10.000'
    assert tables.measured(row, 'pipe') == '4.000 (3 of 4 runs)', tables.measured(row, 'pipe')
    assert tables.measured(row, 'nng') == '(0 of 2 runs)', tables.measured(row, 'nng')
    assert tables.measured(row, 'zmq') == '' and 'zmq' not in tables.rivals_of([row])
    cost = row_of(runs, 'sleeps')
    assert tables.measured(cost, 'nng') == '' and tables.measured(cost, 'pipe') == '1 (3 of 4 runs)'
    text = '\n'.join(tables.text_table([row]))
    assert 'nng' in text and '(0 of 2 runs)' in text and 'rounds: 4' in text, text


def test_ratios():
    """Of the same round and placement only; the median of the ratios, not the ratio of the medians."""
    runs = [run(0, 'uvface', 10), run(1, 'uvface', 20), run(2, 'uvface', 30), run(3, 'uvface', 1, probe=(300, 300))]
    runs += [run(0, 'pipe', 5), run(1, 'pipe', 20), run(2, 'pipe', 10), run(3, 'pipe', 9, probe=(300, 300)),
             run(4, 'pipe', 1000)]
    assert tables.ratio(row_of(runs), 'pipe') == '2.00 (1.00 to 3.00)', tables.ratio(row_of(runs), 'pipe')
    assert tables.ratio(row_of(runs), 'uvface') == ''
    assert [tables.short(x) for x in (1.034, 1.15, 12.34, 123.4)] == ['1.03', '1.15', '12.3', '123']


def test_copy_bound():
    seen = {'round_trip': 100, 'copy_64': 16, 'copy_1024': 100, 'copy_8000': 500, 'copy_8800': 600}
    assert compare.copy_bound(ONE_WAY, 3, seen)['metrics'] == {'mpps': 62.5}
    assert compare.copy_bound(FETCH, 3, seen)['metrics'] == {'mpps': 2}
    assert compare.copy_bound(PACED, 3, seen) is None and compare.copy_bound(ONE_WAY, 3, {}) is None
    for case in cases.CASES:
        assert ('bound' in case.rivals) == (case.work in ('W1', 'W4')), case


def test_rounds():
    """What must have them has as many rounds of one placement as were asked for, or twice as many were run."""
    args = argparse.Namespace(rounds=3, quick=False, cases=[ONE_WAY, FETCH, PACED])
    log = [run(n, 'uvface', 1, case) for n in range(2) for case in args.cases]
    assert compare.cases_of_round(args, log, 2) == args.cases
    log += [run(2, 'uvface', 1, ONE_WAY)]
    log += [run(2, 'uvface', 1, case, (100, 300)) for case in (FETCH, PACED)]
    assert compare.cases_of_round(args, log, 3) == [FETCH]
    log += [run(3, 'uvface', 1, FETCH, (300, 300))]
    assert compare.cases_of_round(args, log, 4) == [FETCH]
    assert compare.cases_of_round(args, log, 6) == []
    log += [run(4, 'uvface', 1, FETCH), run(4, 'pipe', 1, FETCH)]
    assert compare.cases_of_round(args, log, 5) == []


def test_words():
    """What a table shows has a title of its own, and nobody takes part who has none."""
    for work in cases.WORKS:
        titles = [case.title for case in cases.CASES if case.work == work]
        assert len(titles) == len(set(titles)), titles
    titles = [tables.title(rival) for rival in (*cases.RIVALS, *cases.VARIANTS)]
    assert len(titles) == len(set(titles)), titles
    for case in cases.CASES:
        assert set(case.rivals) <= {'machine', *cases.RIVALS, *cases.VARIANTS}, case
    beside = [case.label for case in cases.CASES if {'uvface', 'pipe-co', 'bound'} <= set(case.rivals)]
    assert set(beside) >= {f'{size} B x{batch} a2e' for size in (64, 1024, 8800) for batch in (1, 32)}, beside


def test_pages():
    """Whatever machines there are, in one page; what a file does not say is not made up."""
    about = {'machine': 'Intel(R) Xeon(R) Processor', 'date': '2026-11-29', 'compiler': 'gcc 12.2.0', 'command': 'x'}
    older = {'machine': 'AMD EPYC', 'date': '2026-11-26', 'command': 'y', 'remark': 'so it was'}
    rates = {'uvface': 40, 'pipe-co': 20, 'bound': 60}
    runs = [run(n, rival, mpps + n) for n in range(7) for rival, mpps in rates.items()]
    with tempfile.TemporaryDirectory() as directory:
        def page(name):
            return (pathlib.Path(directory) / f'{name}.inc').read_text(encoding='utf-8')

        plot.write([(older, runs), (about, [*runs, run(7, 'pipe-co')])], directory)
        assert '     - Intel Xeon\n     - AMD EPYC\n' in page('about'), page('about')
        assert '   * - compiler\n     - gcc 12.2.0\n     - not recorded\n' in page('about'), page('about')
        assert '   * - remark\n     -\n     - so it was\n' in page('about'), page('about')
        assert '43.0 million (Intel Xeon) and 43.0 million (AMD EPYC)' in page('summary'), page('summary')
        assert 'through a Unix pipe in (not measured)' in page('summary'), page('summary')
        assert 'one by one, app to engine (rounds: Intel Xeon 7, AMD EPYC 7)' in page('w1'), page('w1')
        line = '   * - coalesced pipe\n     - 23.000 (7 of 8 runs)\n     - 1.87 (1.77 to 2.00)\n     - 23.000\n'
        assert line in page('w1'), page('w1')
        assert '   * - copy bound\n     - 63.000\n     - 0.68 (0.67 to 0.70)\n' in page('w1'), page('w1')
        if plot.pyplot is not None:
            assert {'summary.svg', 'one-way-x1-intel-xeon.svg', 'one-way-x1-amd-epyc.svg'} <= set(os.listdir(directory))
            picture = (pathlib.Path(directory) / 'summary.svg').read_text(encoding='utf-8')
            width = float(picture.split('width="')[1].split('pt"')[0]) / 72 * 96  # in pixels
            assert width <= 500 and 'million packets/s' in picture and 'AMD EPYC' in picture, width


def test_kept_figures():
    kept = sorted((ROOT / 'docs/performance').glob('suite-*.json'))
    assert kept
    for path in kept:
        about, runs = tables.load(path)
        assert {'machine', 'cpus', 'kernel', 'compiler', 'libuv', 'date', 'rounds', 'command'} <= set(about), about
        assert path.stem.startswith('suite-' + plot.machines_of([(about, runs)])[0].slug), path
        known = {(case.work, case.label): case.rivals for case in cases.CASES}
        for one in runs:
            assert one['rival'] in known[one['work'], one['case']], (path, one)


def test_pack():
    runs = [run(0, 'uvface', 10), run(0, 'pipe'), run(1, 'uvface', 11)]
    with tempfile.NamedTemporaryFile('w+', suffix='.json') as file:
        file.write(tables.pack({'machine': 'x'}, runs))
        file.flush()
        assert tables.load(file.name) == ({'machine': 'x'}, runs), json.dumps(runs)


TESTS = {
    'a placement is told from noise': test_placement,
    'a rival whose runs failed stays in the table, with how many': test_failures,
    'ratios are those within rounds of one placement': test_ratios,
    'the copy bound is what the probe saw just before': test_copy_bound,
    'cases that lack rounds get more': test_rounds,
    'cases and rivals have titles': test_words,
    'one page for all machines': test_pages,
    'the kept figures say where they are from': test_kept_figures,
    'a file gives back what was packed': test_pack,
}


def main():
    tap = Tap()
    for label, test in TESTS.items():
        why = ''
        try:
            test()
        except (AssertionError, KeyError, IndexError, AttributeError) as error:
            why = repr(error)
        tap.check(not why, label, why)
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())
