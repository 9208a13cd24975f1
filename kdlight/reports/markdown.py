"""A document as Markdown (GitHub's, for its tables)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kdlight.reports.document import Block, Bullets, Document, Paragraph

SPECIAL = r"\`*_{}[]<>#!|~"
FIRST = re.compile(r"^([-+]|\d+[.)])(?=\s|$)|^[-=](?=[-=]*$)")
"""What begins a list, or makes a heading or a rule of a line."""


def markdown(document: Document) -> str:
    """The whole document; texts from outside cannot format anything."""
    return "\n".join(_lines(document)) + "\n"


def plain(text: object) -> str:
    """A text on one line, each letter standing for itself."""
    line = " ".join(str(text).split())
    text = "".join(f"\\{c}" if c in SPECIAL else c for c in line if c.isprintable())
    return FIRST.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", text)


def _lines(document: Document) -> Iterator[str]:
    yield from (f"# {plain(document.title)}", "", plain(document.subtitle))
    for section in document.sections:
        yield from ("", f"## {plain(section.title)}")
        for block in section.blocks:
            yield ""
            yield from _block(block)
    yield from ("", f"*{plain(document.footer)}*")


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield f"**{plain(block.text)}**" if block.strong else plain(block.text)
    elif isinstance(block, Bullets):
        yield from (f"- {plain(line)}" for line in block.lines)
    else:
        yield _row(block.heads)
        yield _row(["---"] * len(block.heads), raw=True)
        yield from map(_row, block.rows)


def _row(cells: Iterable[object], raw: bool = False) -> str:
    return f"| {' | '.join(str(cell) if raw else plain(cell) for cell in cells)} |"
