#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints for each function of the reference pages its name and its page, which is what a link for man(1) needs.

    aliases.py PAGE ..."""

import pathlib
import re
import sys

for page in map(pathlib.Path, sys.argv[1:]):
    for name in re.findall(r"^\.\. c:function:: [^(\n]*?(\w+)\(", page.read_text(encoding="utf-8"), re.MULTILINE):
        if name != page.stem:
            print(name, page.stem)
