#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that the documentation and the code say the same, and prints TAP: every public prototype, type, member,
constant and macro of include/ is documented in docs/ exactly as it is declared, nothing else is, and a function's
header and page name the same error codes, and docs/errors.rst all of them; the C blocks of README.md are the marked
regions of the smallest examples; each test that a page names exists and is run; docs/security.rst has a row for
each requirement and sizes that are right; files, programs, sections, rules, functions and options that pages or
comments name exist; and docs/contributing.rst lists the files of the libraries. Does not judge the prose.

Usage: test_docs.py SOURCE_ROOT
"""

import pathlib
import re
import sys
import textwrap

from tap import Tap

HEADERS = ("ndnshm.h", "uvface.h", "ndnpkt.h", "uvface_mgmt.h")
# What README.md quotes: file under docs/examples, marker.
QUOTED = (("hello-app.c", "app"), ("hello-engine.c", "engine"))

PROTOTYPE = re.compile(r"^(?:NDNSHM|UVFACE|NDNPKT)_EXTERN\s([^;]*);", re.MULTILINE)
CALLBACK = re.compile(r"^typedef\s+([^;{]*\(\*[^;]*);", re.MULTILINE)
TYPE = re.compile(r"^typedef\s+(?:struct\s+)?\w+\s+(\w+);|^\}\s*(\w+);", re.MULTILINE)
STRUCT = re.compile(r"^(?:typedef\s+)?struct\s+(\w+)_s\s*\{(.*?)^\}", re.MULTILINE | re.DOTALL)
ENUM = re.compile(r"\benum(?:\s+\w+)?\s*\{(.*?)\}", re.DOTALL)
UNION = re.compile(r"\bunion\s*\{(.*?)\}", re.DOTALL)  # without a name: its members are the struct's
MACRO = re.compile(r"^#define +((?:NDNSHM|UVFACE|NDNPKT)_\w+) +\S", re.MULTILINE)
DIRECTIVE = re.compile(
    r"^\.\. c:(function|type|struct|member|enumerator|macro):: *(.*(?:\n +\S.*)*)", re.MULTILINE
)
# "``test_ring``: ``this_one``, ``and_this``": a binary and its tests; "``test/test_docs.py``": a file.
# "build/test/test_ring this_one" runs it.
TESTS = re.compile(r"``(test_\w+)``:\s+(``\w+``(?:,\s+``\w+``)*)")
RUN_ONE = re.compile(r"build/test/(test_\w+) (\w+)")
TEST_FILE = re.compile(r"``(test/[\w./]+)``")
TEST = re.compile(r"^TEST(?:_KINDS)?(?:_LOOP)?\((\w+)", re.MULTILINE)
# The rows of the table of docs/security.rst, and those of its sizes.
REQUIREMENTS = 46
ROW = re.compile(r"^   \* - (\d+)\n((?:     .*\n)+)", re.MULTILINE)
SIZES = re.compile(r"^(\d+) +(\d+) +(\d+) +(\d+)(?: .*)?$", re.MULTILINE)
# A comment of a header, and what it stands above.
COMMENTED = re.compile(
    r"/\*((?:(?!\*/).)*)\*/\n((?:(?:NDNSHM_EXTERN|UVFACE_EXTERN|NDNPKT_EXTERN|typedef)\s[^;]*;\n)+)", re.DOTALL
)
# Error codes stand in a header behind "Errors:", up to the end of the sentence; a remark in parentheses holds none.
ERRORS = re.compile(r"\bErrors:(.*?\.)(?:\s|$)", re.DOTALL)
REMARK = re.compile(r"\([^()]+\)")
AS = re.compile(r"\bas ((?:ndnshm|uvface|ndnpkt)_\w+)\(\)")
CODE = re.compile(r"(?:\bUV_|-)E[A-Z0-9]+\b|\bNDNSHM_EOF\b")
# In a page they are the names of :retval: fields; "others" takes over another function's. Those of a callback are
# the terms of a definition list.
ENTRY = re.compile(r"^\.\. c:(function|type):: *(.*)\n((?:(?:    .*)?\n)*)", re.MULTILINE)
RETVAL = re.compile(r":retval ([^:]+):(.*(?:\n {8}.*)*)")
AS_IN_PAGE = re.compile(r"As :c:func:`(\w+)`")
TERM = re.compile(r"^    ``(UV_\w+)``$", re.MULTILINE)
# An entry of docs/errors.rst: a code without its prefix, what it says, and whose it is.
LISTED = re.compile(r"^``(E\w+)``\n((?:(?:    .*)?\n)*)", re.MULTILINE)
ROLE = re.compile(r":c:(?:func|type):`(\w+)`")
# What pages and comments name, and what must therefore exist.
SOURCES = ("lib", "lib/ndnpkt", "uvface", "uvface/mgmt", "uvface/tools")
FOLDERS = ("include", *SOURCES, "docs", "docs/examples", "bench", ".ci")
FOLDERS += ("test", "test/fuzz", "test/interop", "test/models", "test/stress", "test/consumer")
PATH = re.compile(r"(?<![\w./*-])((?:\.ci|bench|docs|include|lib|test|uvface)/[\w./*-]*[\w*/])")
BUILT = re.compile(r"(?<![\w./-])build(?:-\w+)?/((?:[\w-]+/)+)([a-z][a-z0-9_-]*)(?![\w./-])")
FILE = re.compile(r"(?<![\w./*<-])([\w-]+\.(?:c|h|py|rst|pml|cpp))\b(?!\()")
FOREIGN = {"uv.h", "version.h", "pan.c"}  # libuv's, and what a build makes
PROGRAM = re.compile(r"``(test_\w+)``")
SECTION = re.compile(r"(?:\bDesign|\bsections?)\s(\d+)(?:(?:,| and| to)\s(\d+))?")
NUMBERED = re.compile(r"^(\d+)\. .+\n-{3,}$", re.MULTILINE)
DOOR = re.compile(r"\bDoor\s(\d+)")
RULE = re.compile(r"\brules?\s(\d+)(?:(?:,| and| to)\s(\d+))?")
ROWS = re.compile(r"security\.rst,(?:[\w\s]+,)?\srows?\s(\d+)(?:,\s(\d+))?(?:\sand\s(\d+))?")
# A command of ours, and where its options are told.
COMMAND = re.compile(r"(?:``|^ {4})((?:uvface|ring|many|pipe)-[a-z]+) ([^`\n]*)", re.MULTILINE)
TOLD_IN = {
    "uvface-perf": ("uvface/tools/perf*.c",),
    "ring-perf": ("uvface/tools/perf*.c", "bench/ring-perf.c"),
    "pipe-perf": ("uvface/tools/perf*.c", "bench/pipe-perf.c"),
    "many-perf": ("bench/many-perf.c",),
    "uvface-stat": ("uvface/tools/stat.c",),
    "uvface-dump": ("uvface/tools/dump.c",),
    "uvface-soak": ("test/stress/*.c",),
    "uvface-attack": ("test/stress/*.c",),
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
MESON_OPTION = re.compile(r"(?<![\w-])-D([a-z]\w*)=")
OUR_NAME = re.compile(r"\b(?:ndnshm|uvface|ndnpkt|NDNSHM|UVFACE|NDNPKT)_\w+")


def normal(text):
    """One way to write a declaration: single blanks, none beside punctuation."""
    text = re.sub(r"\s+", " ", text.replace("\\\n", " ")).strip()
    return re.sub(r" ?([*(),\[\]]) ?", r"\1", text)


def without_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)


def members_of(struct, body):
    """Public members as "type struct_t.name"; the names of private ones end in _."""
    members = set()
    for declaration in body.split(";"):
        names = normal(declaration).split(",")
        match = re.fullmatch(r"(.*[ *])(\w+)((?:\[\w+\])*)", names[0])
        if match is None:
            continue
        kind, first, array = match.groups()
        for name in [first, *names[1:]]:
            if not name.endswith("_"):
                members.add(normal(f"{kind} {struct}_t.{name}{array}"))
    return members


def declared(root):
    """What include/ declares: kind -> set of normalised declarations."""
    found = {kind: set() for kind in ("function", "type", "member", "enumerator", "macro")}
    for header in HEADERS:
        text = without_comments((root / "include" / header).read_text())
        found["function"] |= {normal(match) for match in PROTOTYPE.findall(text)}
        found["type"] |= {normal(match) for match in CALLBACK.findall(text)}
        found["type"] |= {a or b for a, b in TYPE.findall(text)}
        for struct, body in STRUCT.findall(UNION.sub(r"\1", text)):
            found["member"] |= members_of(struct, body)
        for body in ENUM.findall(text):
            found["enumerator"] |= set(re.findall(r"\b[A-Z]\w+", body))
        found["macro"] |= set(MACRO.findall(text)) - {"NDNSHM_EXTERN", "UVFACE_EXTERN", "NDNPKT_EXTERN"}
    return found


def signatures(argument):
    """The signatures of one directive: one a line, a line that ends in a backslash goes on."""
    text = re.sub(r"\n +:.*", "", argument).replace("\\\n", " ")
    return [normal(line) for line in text.splitlines() if line.strip()]


def documented(root):
    """What docs/ documents of ours, in the same shape."""
    found = {kind: set() for kind in ("function", "type", "member", "enumerator", "macro")}
    for page in sorted((root / "docs").glob("*.rst")):
        for kind, argument in DIRECTIVE.findall(page.read_text()):
            kind = "type" if kind == "struct" else kind
            found[kind] |= {line for line in signatures(argument) if OUR_NAME.search(line)}
    return found


def check_reference(tap, root):
    have, want = documented(root), declared(root)
    for kind in want:
        tap.check(len(want[kind]) > 0, f"include/ declares something of the kind {kind}")
        missing = sorted(want[kind] - have[kind])
        tap.check(not missing, f"every {kind} of include/ is documented as declared", "\n".join(missing))
        unknown = sorted(have[kind] - want[kind])
        tap.check(not unknown, f"every {kind} documented is declared in include/", "\n".join(unknown))


def callable_name(declaration):
    """The name that a prototype or the type of a callback declares; None for another type."""
    text = normal(declaration)
    match = re.search(r"\(\*(\w+)\)\(", text) or re.search(r"(\w+)\(", text)
    return match and match.group(1)


def errors_in_headers(root):
    """Function or callback -> its codes, and the functions whose codes it has as well."""
    found = {}
    for header in HEADERS:
        for comment, declarations in COMMENTED.findall((root / "include" / header).read_text()):
            comment = re.sub(r"\n \*", " ", comment)
            named = "".join(ERRORS.findall(comment))
            while REMARK.search(named):
                named = REMARK.sub("", named)
            for declaration in declarations.split(";\n"):
                name = callable_name(declaration)
                is_told = declaration.startswith("typedef") and re.search(r"\bstatus\b|\bssize_t\b", declaration)
                text = comment if is_told else named
                if name is not None:
                    found[name] = set(CODE.findall(text)), set(AS.findall(named))
    return found


def errors_in_pages(root):
    """The same from docs/."""
    found = {}
    for page in sorted((root / "docs").glob("*.rst")):
        for kind, declaration, body in ENTRY.findall(page.read_text()):
            name = callable_name(declaration)
            fields = RETVAL.findall(body)
            codes = TERM.findall(body) if kind == "type" else [code for code, _ in fields if code != "others"]
            others = [AS_IN_PAGE.findall(text) or ["nothing"] for code, text in fields if code == "others"]
            if name is not None:
                found[name] = set(codes), {name for names in others for name in names}
    return found


def resolved(errors):
    """Function -> all its codes."""

    def all_of(name):
        codes, others = errors[name]
        return codes.union(*(all_of(other) for other in others if other in errors))

    return {name: all_of(name) for name in errors}


def check_errors(tap, root):
    headers, pages = errors_in_headers(root), errors_in_pages(root)
    dangling = sorted(
        f"{name}: as {other}"
        for errors in (headers, pages)
        for name in errors
        for other in errors[name][1] - set(errors)
    )
    tap.check(not dangling, "each \"errors as of\" names a function", "\n".join(dangling))
    headers, pages = resolved(headers), resolved(pages)
    few = [prefix for prefix in ("ndnshm_", "uvface_", "ndnpkt_") if sum(bool(headers[n]) for n in headers if prefix in n) < 10]
    tap.check(not few, "the headers name error codes", few)
    differ = []
    for name in sorted(set(headers) | set(pages)):
        header, page = headers.get(name, set()), pages.get(name, set())
        differ += [f"{name}: {code} only in the header" for code in sorted(header - page)]
        differ += [f"{name}: {code} only in the page" for code in sorted(page - header)]
    tap.check(not differ, "headers and pages name the same errors of each function", "\n".join(differ))


def check_error_list(tap, root):
    """docs/errors.rst against the headers: each code with all functions and callbacks that have it, and no others."""
    want, have = set(), set()
    for name, codes in resolved(errors_in_headers(root)).items():
        want |= {f"{re.sub('^(UV_|NDNSHM_|-)', '', code)}: {name}" for code in codes}
    entries = LISTED.findall((root / "docs/errors.rst").read_text())
    for code, body in entries:
        have |= {f"{code}: {name}" for name in ROLE.findall(body.rpartition("\n\n    ")[2])}
    tap.check(len(entries) > 30, "docs/errors.rst lists error codes")
    differ = [f"missing: {line}" for line in sorted(want - have)] + [f"too many: {line}" for line in sorted(have - want)]
    tap.check(not differ, "docs/errors.rst lists each error code with those that have it", "\n".join(differ))


def region_of(path, marker):
    """The lines between the markers, or None."""
    start, end = re.escape(f"/* [{marker}] */"), re.escape(f"/* [{marker} end] */")
    match = re.search(rf"^[^\n]*{start}[^\n]*\n(.*?)^[^\n]*{end}", path.read_text(), re.MULTILINE | re.DOTALL)
    return textwrap.dedent(match.group(1)).strip("\n") if match else None


def check_links_to_examples(tap, root):
    """A reader gets each whole program from a page, whether it is installed or not."""
    pages = "".join(page.read_text() for page in sorted((root / "docs").glob("*.rst")))
    linked = set(re.findall(r":download:`[^`<]+<examples/([^`>]+)>`", pages))
    programs = {path.name for path in (root / "docs/examples").glob("*.c") if "int main(" in path.read_text()}
    tap.check(linked == programs, "the pages link each example, and nothing else", linked ^ programs)


def check_readme(tap, root):
    readme = root / "README.md"
    text = readme.read_text() if readme.exists() else ""
    blocks = [textwrap.dedent(block).strip("\n") for block in re.findall(r"```c\n(.*?)```", text, re.DOTALL)]
    regions = {}
    for name, marker in QUOTED:
        path = root / "docs" / "examples" / name
        regions[name] = region_of(path, marker) if path.exists() else None
        tap.check(regions[name] is not None, f"docs/examples/{name} has the region [{marker}]")
        quoted = regions[name] is not None and regions[name] in blocks
        tap.check(quoted, f"README.md quotes that region of {name} as it is", regions[name])
    strangers = [block for block in blocks if block not in regions.values()]
    tap.check(not strangers, "README.md shows no C that is not in an example", "\n---\n".join(strangers))


def check_tests(tap, root):
    """A promise names the test that keeps it: one that exists, and that its suite runs."""
    missing, named = [], 0
    for page in [*sorted((root / "docs").glob("*.rst")), root / "README.md"]:
        text = page.read_text()
        for binary, names in TESTS.findall(text) + RUN_ONE.findall(text):
            code = "".join(source.read_text() for source in (root / "test").rglob(f"{binary}.c"))
            run = set(TEST.findall(code))
            named += 1
            missing += [f"{page.name}: {binary}: {name}" for name in re.findall(r"\w+", names) if name not in run]
        missing += [f"{page.name}: {name}" for name in TEST_FILE.findall(text) if not (root / name).exists()]
    tap.check(named > 0 and not missing, "each test that docs/ names exists and is run", "\n".join(missing))


def check_security(tap, root):
    text = (root / "docs" / "security.rst").read_text()
    rows = dict(ROW.findall(text))
    tap.check(list(map(int, rows)) == list(range(1, REQUIREMENTS + 1)), "security.rst has each requirement once", rows)
    untested = [n for n, row in rows.items() if "``test" not in row and "*not yet*" not in row]
    tap.check(not untested, "each has a test, or says that it has not", untested)
    sizes = [tuple(map(int, row)) for row in SIZES.findall(text)]
    wrong = [
        row
        for row in sizes
        for bytes_needed in [448 + 2 * row[0] * (4 + row[1])]
        if row[2:] != (bytes_needed, (64 << 20) // (-(-bytes_needed // 4096) * 4096))
    ]
    tap.check(sizes and not wrong, "its sizes are those of the geometry", wrong)


def prose(root):
    """Path -> text of every page."""
    pages = [*sorted((root / "docs").glob("*.rst")), *(root / name for name in ("README.md", "CHANGELOG.md"))]
    pages += [root / "test/fuzz/README.md"]
    return {page.relative_to(root).as_posix(): page.read_text() for page in pages}


def code(root):
    """The same of every C and Python file."""
    files = [file for folder in FOLDERS for file in sorted((root / folder).glob("*.*"))]
    files = [file for file in files if file.suffix in (".c", ".h", ".py") and file.name != "test_docs.py"]
    return {file.relative_to(root).as_posix(): file.read_text() for file in files}


def numbers(match):
    return [int(number) for number in match.groups() if number]


def missing_files(root, texts):
    """Paths, programs and files that are named and are not there."""
    known = {file.name for folder in FOLDERS for file in (root / folder).glob("*.*")} | FOREIGN
    for page, text in texts.items():
        for path in PATH.findall(text):
            if not list(root.glob(path.rstrip("/"))):
                yield f"{page}: {path}"
        for folder, name in BUILT.findall(text):
            built = root / folder / "meson.build"
            if not (root / folder / f"{name}.c").exists() and not (built.exists() and f"'{name}'" in built.read_text()):
                yield f"{page}: build/{folder}{name}"
        yield from (f"{page}: {name}" for name in FILE.findall(text) if name not in known)
        yield from (f"{page}: {name}" for name in PROGRAM.findall(text) if not list((root / "test").rglob(f"{name}.*")))


def missing_parts(root, texts):
    """Sections, rules and rows that are referred to and are not there."""
    design, protocol = (root / "docs/design.rst").read_text(), (root / "docs/protocol.rst").read_text()
    sections = {int(number) for number in NUMBERED.findall(design + protocol)}
    door = {int(number) for number in NUMBERED.findall((root / "docs/door.rst").read_text())}
    rules = {int(number) for number in re.findall(r"^(\d+)\. ", design[design.index("\nThe rules\n"):], re.MULTILINE)}
    for page, text in texts.items():
        text = re.sub(r"\n[ *#]*", " ", text)
        for pattern, there in ((SECTION, sections), (DOOR, door), (RULE, rules), (ROWS, range(1, REQUIREMENTS + 1))):
            for match in pattern.finditer(text):
                yield from (f"{page}: {match.group()}" for number in numbers(match) if number not in there)


def missing_names(root, texts):
    """Functions, types, macros and variables of the environment that are named and are not there."""
    known = {name for kind in declared(root).values() for declaration in kind for name in OUR_NAME.findall(declaration)}
    known |= {callable_name(name) for name in declared(root)["type"]}
    known |= {file.stem.removeprefix("test_") for file in (root / "test").rglob("test_*.c")}
    known |= {file.stem for file in (root / "include").glob("*.h")}
    known |= {page.stem for page in (root / "docs").glob("*.rst")}
    environment = "".join(code(root).values()) + (root / "test/meson.build").read_text()
    environment = "".join(re.findall(r"(?:getenv\(|environ\W+|set\()[^)]*", environment))
    known |= set(re.findall(r"\bUVFACE_[A-Z_]+\b", environment))
    known |= set(re.findall(r"^\w+", (root / "uvface/meson.build").read_text(), re.MULTILINE))
    known |= set(re.findall(r"library\('(\w+)'", (root / "uvface/mgmt/meson.build").read_text()))
    for page, text in texts.items():
        for name in OUR_NAME.findall(text):
            if name not in known and "__" not in name and not name.endswith("_"):
                yield f"{page}: {name}"


def options_of(root, program):
    told = "".join(file.read_text() for where in TOLD_IN[program] for file in sorted(root.glob(where)))
    told = re.findall(r'"((?:[^"\\\n]|\\.)*)"', told)
    return {option for text in told for option in OPTION.findall(text)} | {f"--{word}" for word in told}


def missing_options(root, texts):
    meson = set(re.findall(r"^option\('(\w+)'", (root / "meson_options.txt").read_text(), re.MULTILINE))
    meson |= {"version", "c_args", "warning_level", "auto_features", "default_library", "prefer_static"}
    for page, text in texts.items():
        for program, arguments in COMMAND.findall(text):
            if program not in TOLD_IN:
                yield f"{page}: {program}"
                continue
            there = options_of(root, program)
            yield from (f"{page}: {program} {name}" for name in OPTION.findall(arguments) if name not in there)
        asked = {name for name in MESON_OPTION.findall(text) if not name.startswith("b_")}
        yield from (f"{page}: -D{name}" for name in sorted(asked - meson))


def check_named(tap, root):
    """What a reader is sent to is there."""
    pages = prose(root)
    both = {**pages, **code(root)}
    for what, missing in (
        ("file or program", missing_files(root, both)),
        ("section, rule or row", missing_parts(root, both)),
        ("function, type or variable", missing_names(root, pages)),
        ("option", missing_options(root, pages)),
    ):
        missing = sorted(set(missing))
        tap.check(not missing, f"each {what} that is named exists", "\n".join(missing))


def check_layout(tap, root):
    """docs/contributing.rst has each file of the libraries and tools, and no other."""
    listed = re.findall(r"``(\S+/\S+\.[ch])``", (root / "docs/contributing.rst").read_text())
    listed = {name for name in listed if str(pathlib.PurePath(name).parent) in SOURCES}
    there = {f"{folder}/{file.name}" for folder in SOURCES for file in (root / folder).glob("*.[ch]")}
    missing = there - listed
    tap.check(len(there) > 20 and not missing, "contributing.rst lists each file of lib/ and uvface/", missing)
    tap.check(not listed - there, "and no other", listed - there)


def check_test_table(tap, root):
    """docs/contributing.rst says of each test program what it is about, and of no other."""
    page = (root / "docs/contributing.rst").read_text()
    section = page.split("Which tests see a change\n", 1)[1].split("How to add a counter\n", 1)[0]
    listed = set(re.findall(r"(?<!\*)\*([a-z_]+)\*(?!\*)", section)) - {"name"}
    there = {file.stem.removeprefix("test_") for file in (root / "test").glob("test_*") if file.suffix in (".c", ".py")}
    tap.check(len(there) > 60 and listed == there, "contributing.rst has each test program", listed ^ there)


def main():
    root = pathlib.Path(sys.argv[1])
    tap = Tap()
    check_reference(tap, root)
    check_errors(tap, root)
    check_error_list(tap, root)
    check_links_to_examples(tap, root)
    check_readme(tap, root)
    check_tests(tap, root)
    check_security(tap, root)
    check_named(tap, root)
    check_layout(tap, root)
    check_test_table(tap, root)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
