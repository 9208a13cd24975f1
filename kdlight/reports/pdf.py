"""A document as PDF, by ReportLab: A4, selectable text, the same bytes for the same document.

Letters are those of DejaVu Sans, which comes with matplotlib and lies in the file: Latin, Greek, Cyrillic, Armenian,
Georgian, Hebrew and Arabic, the last two in the order of their letters. Chinese, Japanese and Korean are named in the
file and drawn with the fonts of who opens it. A letter that no font has is written as its code point.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import BaseDocTemplate, CondPageBreak, Flowable, Frame, ListFlowable, PageTemplate
from reportlab.platypus import Paragraph as Flow
from reportlab.platypus import Table as Grid

from kdlight.reports.document import Block, Bullets, Cell, Document, Figure, Paragraph, Table

PLAIN, BOLD = "DejaVuSans", "DejaVuSans-Bold"
EAST = {"korean": "HYSMyeongJo-Medium", "japanese": "HeiseiMin-W3", "chinese": "STSong-Light"}
MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN
FOOT = 6 * mm
HEADING_ROOM = 25 * mm
"""Below a heading and its first lines; less, and it begins a page."""
NBSP = "\u00a0"
PAD = 3.0
"""Points on either side of a cell's text."""
INK, QUIET, LINE = colors.HexColor("#1D2226"), colors.HexColor("#5A6168"), colors.HexColor("#C9C9C2")
_BODY = {"fontName": PLAIN, "textColor": INK, "splitLongWords": 1}
BODY = ParagraphStyle("body", fontSize=9, leading=12.5, spaceAfter=4, **_BODY)
CELL = ParagraphStyle("cell", fontSize=7.5, leading=10, **_BODY)
SUBTITLE = ParagraphStyle("subtitle", BODY, textColor=QUIET, spaceAfter=8)
TITLE = ParagraphStyle("title", BODY, fontSize=17, leading=21, spaceAfter=2)
HEADING = ParagraphStyle("heading", BODY, fontSize=11.5, leading=15, spaceBefore=10, spaceAfter=3)


def pdf(document: Document) -> bytes:
    """The whole document."""
    pages = _build(document, 0)[1]
    return _build(document, pages)[0]


def _build(document: Document, pages: int) -> tuple[bytes, int]:
    """The file and its number of pages, which each page names beside its own."""
    register()
    file = io.BytesIO()
    told = {"title": document.title, "subject": document.subtitle, "author": "kdlight", "lang": "en-US"}
    template = BaseDocTemplate(file, pagesize=A4, invariant=1, **told)

    def foot(canvas: Any, _: Any) -> None:
        for text, share in ((document.footer, 0.7), (f"{canvas.getPageNumber()} of {pages}", 0.3)):
            line = Flow(marked(text), ParagraphStyle("foot", CELL, textColor=QUIET, alignment=0 if share > 0.5 else 2))
            line.wrap(WIDTH * share, MARGIN)
            line.drawOn(canvas, MARGIN if share > 0.5 else MARGIN + WIDTH * 0.7, MARGIN - line.height)

    padding = dict.fromkeys(("leftPadding", "rightPadding", "topPadding", "bottomPadding"), 0)
    frame = Frame(MARGIN, MARGIN + FOOT, WIDTH, A4[1] - 2 * MARGIN - FOOT, **padding)
    template.addPageTemplates(PageTemplate(frames=[frame], onPage=foot))
    template.build(list(_story(document)))
    return file.getvalue(), template.page


def _story(document: Document) -> Iterator[Flowable]:
    yield Flow(marked(document.title, bold=True), TITLE)
    yield Flow(marked(document.subtitle), SUBTITLE)
    for section in document.sections:
        yield CondPageBreak(HEADING_ROOM)
        yield Flow(marked(section.title, bold=True), HEADING)
        for block in section.blocks:
            yield _flowable(block)


def _flowable(block: Block) -> Flowable:
    if isinstance(block, Paragraph):
        return Flow(marked(block.text, block.strong), BODY)
    if isinstance(block, Bullets):
        lines = [Flow(marked(line), BODY) for line in block.lines]
        return ListFlowable(
            lines, bulletType="bullet", start="•", bulletFontName=PLAIN, leftIndent=10, bulletFontSize=8
        )
    return _grid(block)


def _grid(table: Table) -> Flowable:
    rows = [[_whole(cell) for cell in row] for row in (table.heads, *table.rows)]
    cells = [[Flow(marked(text, bold=not number), CELL) for text in row] for number, row in enumerate(rows)]
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.7, INK),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, LINE),
        ("LEFTPADDING", (0, 0), (-1, -1), PAD),
        ("RIGHTPADDING", (0, 0), (-1, -1), PAD),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    given = {"repeatRows": 1, "splitInRow": 1, "hAlign": "LEFT", "spaceBefore": 3, "spaceAfter": 6}
    return Grid(cells, widths(rows), style=style, **given)


def _whole(cell: Cell) -> str:
    """A cell's text; a number and its interval stay on one line."""
    return str(cell).replace(" ", NBSP).replace(f",{NBSP}n", ", n") if isinstance(cell, Figure) else cell


def widths(rows: Sequence[Sequence[str]]) -> list[float]:
    """Of a table's columns, in points, at most WIDTH together: as wide as their texts, else as their words allow."""
    columns = [*zip(*rows, strict=True)]
    wide = [max(map(length, column)) + 2 * PAD + 1 for column in columns]
    if sum(wide) <= WIDTH:
        return wide
    most = WIDTH / len(columns)
    least = [
        min(most, max(length(word) for text in column for word in text.split(" ")) + 2 * PAD + 1) for column in columns
    ]
    more = [whole - part for whole, part in zip(wide, least, strict=True)]
    return [part + (WIDTH - sum(least)) * extra / sum(more) for part, extra in zip(least, more, strict=True)]


def length(text: str) -> float:
    """In points, as a cell's text in bold, which is the wider one."""
    return float(sum(pdfmetrics.stringWidth(part, font, CELL.fontSize) for font, part in runs(text, bold=True)))


def marked(text: str, bold: bool = False) -> str:
    """A text from outside as ReportLab's markup: every letter stands for itself, in a font that has it."""
    return "".join(f'<font name="{font}">{escape(part)}</font>' for font, part in runs(text, bold))


def runs(text: str, bold: bool = False) -> list[tuple[str, str]]:
    """A text on one line as (font, part), letters that no font has as their code points."""
    line = re.sub(f"[^\\S{NBSP}]+", " ", text).strip()
    fonts = [_letter(c, line, bold) for c in line if c == NBSP or c.isprintable()]
    return [(font, "".join(c for _, c in part)) for font, part in groupby(fonts, key=lambda pair: pair[0])]


def _letter(c: str, line: str, bold: bool) -> tuple[str, str]:
    font = BOLD if bold else PLAIN
    if ord(c) in register()[font]:
        return font, c
    if "\uac00" <= c <= "\ud7a3" or "\u1100" <= c <= "\u11ff":
        return EAST["korean"], c
    if "\u3000" <= c <= "\u9fff" or "\uff00" <= c <= "\uffef":
        kana = any("\u3040" <= one <= "\u30ff" for one in line)
        return EAST["japanese" if kana else "chinese"], c
    return font, f"[U+{ord(c):04X}]"


@cache
def register() -> dict[str, frozenset[int]]:
    """Make the fonts known to ReportLab; gives the letters of those that lie in the file."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ValueError("matplotlib, whose fonts a PDF is written in, is not installed. Install kdlight anew.")
    folder, letters = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf", {}
    for name in (PLAIN, BOLD):
        font = TTFont(name, folder / f"{name}.ttf")
        pdfmetrics.registerFont(font)
        letters[name] = frozenset(
            c for c in font.face.charToGlyph if c <= 0xFFFF
        )  # ReportLab misnames what lies beyond
    for name in EAST.values():
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return letters
