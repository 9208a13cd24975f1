"""A document, or a section of one, on a page."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from kdlight.contracts.reading import ROLES
from kdlight.reports.document import Block, Bullets, Paragraph, Section, Table
from kdlight.ui import shelf, theme, words
from kdlight.ui.markup import Markup, put, write


def draw(sections: Iterable[Section], heads: bool = True) -> None:
    """Sections in their order, what is folded one click away; heads: whether the others are named."""
    for section in sections:
        if section.folded:
            with st.expander(section.title):
                draw_each(section.blocks)
        else:
            if heads:
                st.subheader(section.title, anchor=False)
            draw_each(section.blocks)


def draw_each(blocks: Iterable[Block]) -> None:
    for block in blocks:
        draw_block(block)


def draw_block(block: Block) -> None:
    if isinstance(block, Bullets):
        shelf.bullets(block.lines)
    elif isinstance(block, Table):
        rows = ([str(cell) for cell in row] for row in block.rows)
        put(theme.table([_head(text) for text in block.heads], rows, block.row_heads))
    else:
        _paragraph(block)


def _paragraph(block: Paragraph) -> None:
    if block.strong:
        st.warning(words.plain(block.text), icon=":material/warning:")
    else:
        theme.line(block.text)


def _head(text: str) -> Markup:
    first, _, more = text.partition("\n")
    model = first.lower() if first.lower() in ROLES else ""
    return theme.head(write("{} <small>{}</small>", first, more) if more else first, model)
