#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts together what Sphinx reads: the pages, the examples that they quote, and the tables and plots of the measured
figures, which bench/plot.py makes here. Starts from an empty directory, so that nothing of an earlier build stays.

    gather.py SOURCE_ROOT DIRECTORY DEPFILE"""

import pathlib
import shutil
import subprocess
import sys


def main():
    root, directory, depfile = map(pathlib.Path, sys.argv[1:])
    docs = root / 'docs'
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for path in [docs / 'conf.py', docs / 'reference.py', *docs.glob('*.rst'), *docs.glob('*.inc'), docs / 'parts.svg']:
        shutil.copy2(path, directory)
    shutil.copytree(docs / 'examples', directory / 'examples', ignore=shutil.ignore_patterns('meson.build', '__*'))
    figures = sorted((docs / 'performance').glob('suite-*.json'))
    subprocess.run([sys.executable, '-B', root / 'bench/plot.py', *figures, directory / 'performance'], check=True)
    # For ninja: a file that is added or changed is seen without being named in a meson.build.
    depfile.write_text(f'{directory}: {" ".join(map(str, [docs / "performance", *figures]))}\n', encoding='utf-8')


if __name__ == '__main__':
    main()
