# SPDX-License-Identifier: MIT
"""A Sphinx extension for the reference pages. They stay what they are, one entry for each function and each member; this
makes, from these entries alone, so that nothing is written twice:

* where ``.. summary::`` stands: every function of the page with the first sentence of its entry, by section;
* in HTML: of the members of one struct that follow each other, a table;
* of the numbers in a ``:Rules:`` field, links to the rules of the design."""

import re

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx import addnodes

MEMBER = re.compile(r"(.*?[ *])(\w+)\.(\w+)((?:\[\w+\])*)")


class Here(nodes.General, nodes.Element):
    """Where the summary is to stand, until the page has been read."""


class Summary(Directive):
    def run(self):
        return [Here()]


def entries(tree, kind):
    return [node for node in tree.findall(addnodes.desc) if (node["domain"], node["objtype"]) == ("c", kind)]


def first_sentence(entry):
    """Of an entry's text; where it has none, of what it returns."""
    content = entry.children[-1]
    paragraph = next((node for node in content.children if isinstance(node, nodes.paragraph)), None)
    for field in () if paragraph is not None else content.findall(nodes.field):
        if field.children[0].astext() == "Returns":
            paragraph = next(field.findall(nodes.paragraph), None)
    if paragraph is None:
        raise ValueError(f"{entry.astext()[:60]}: no sentence for the summary")
    sentence = nodes.paragraph()
    for node in paragraph.children:
        end = re.search(r"\.(?=\s|$)", node.astext()) if isinstance(node, nodes.Text) else None
        sentence += nodes.Text(node.astext()[: end.end()]) if end else node.deepcopy()
        if end:
            break
    return sentence


def link(ids, text):
    """A link to a place of this page."""
    return nodes.reference("", "", nodes.literal("", text), refid=ids, internal=True)


def table(widths, rows, kind):
    """Rows of cells, each a list of nodes."""
    group = nodes.tgroup(cols=len(widths))
    group += [nodes.colspec(colwidth=width) for width in widths]
    body = nodes.tbody()
    for row in rows:
        body += nodes.row("", *(nodes.entry("", *cell) for cell in row))
    group += body
    return nodes.table("", group, classes=["reference", kind])


def summary(tree, html):
    """Every section's functions below its title, where it is not the only one."""
    sections = {}
    for entry in entries(tree, "function"):
        section = entry.parent
        while not isinstance(section, nodes.section):
            section = section.parent
        names = [nodes.paragraph("", "", link(sig["ids"][0], re.search(r"(\w+)\(", sig.astext()).group(1) + "()"))
                 for sig in entry.findall(addnodes.desc_signature)]
        sections.setdefault(section, []).append((names, [first_sentence(entry)]))
    made = []
    for section, rows in sections.items():
        if len(sections) > 1:
            made.append(nodes.rubric("", section.children[0].astext()))
        if html:
            made.append(table((30, 70), rows, "summary"))
        else:
            items = [nodes.definition_list_item("", nodes.term("", names[0].astext()), nodes.definition("", *text))
                     for names, text in rows]
            made.append(nodes.definition_list("", *items))
    return made


def type_of(text):
    """The type of a member, and a link where it is one of ours."""
    text = text.strip()
    name = re.search(r"(?:uvface|ndnshm|ndnpkt)_\w+", text)
    literal = nodes.literal("", text)
    if name is None:
        return literal
    return addnodes.pending_xref("", literal, refdomain="c", reftype="type", reftarget=name.group(), refexplicit=True)


def member_row(entry):
    """Names, types and meaning; the struct's name."""
    names, types, struct = [], [], None
    for sig in entry.findall(addnodes.desc_signature):
        kind, struct, name, array = MEMBER.fullmatch(sig.astext().strip()).groups()
        anchor = nodes.inline("", "", link(sig["ids"][0], name), ids=sig["ids"])
        names.append(nodes.paragraph("", "", anchor))
        types.append(nodes.paragraph("", "", type_of(kind + array)))
    return struct, (names, types, entry.children[-1].children)


def tabulate_members(tree):
    """Puts each run of members of one struct into a table, below the struct's name."""
    runs = []
    for entry in entries(tree, "member"):
        struct, row = member_row(entry)
        place = entry.parent.index(entry)
        before = [node for node in entry.parent.children[:place] if not isinstance(node, addnodes.index)]
        if runs and runs[-1][0] == struct and before and before[-1] is runs[-1][1][-1]:
            runs[-1][1].append(entry)
            runs[-1][2].append(row)
        else:
            runs.append((struct, [entry], [row]))
    for struct, members, rows in runs:
        title = addnodes.pending_xref("", nodes.literal("", struct), refdomain="c", reftype="type", reftarget=struct,
                                      refexplicit=True)
        members[0].replace_self([nodes.rubric("", "", title), table((20, 20, 60), rows, "members")])
        for member in members[1:]:
            member.parent.remove(member)


def link_rules(tree, docname):
    for field in tree.findall(nodes.field):
        paragraph = next(field.findall(nodes.paragraph), None)
        if field.children[0].astext() != "Rules" or paragraph is None:
            continue
        made = []
        for part in re.split(r"(\d+)", paragraph.astext()):
            if part.isdigit():
                made.append(addnodes.pending_xref("", nodes.inline("", part), refdomain="std", reftype="ref", refdoc=docname,
                                                  reftarget=f"rule-{part}", refexplicit=True, refwarn=True))
            elif part:
                made.append(nodes.Text(part))
        paragraph.children = []
        paragraph += made


def read(app, tree):
    html = app.builder.format == "html"
    for here in list(tree.findall(Here)):
        here.replace_self(summary(tree, html))
    link_rules(tree, app.env.docname)
    if html:
        tabulate_members(tree)


def setup(app):
    app.add_node(Here)
    app.add_directive("summary", Summary)
    app.connect("doctree-read", read)
    return {"parallel_read_safe": True}
