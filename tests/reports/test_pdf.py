"""What the PDF builder writes is read back by PDFium: nothing is lost, and nothing leaves its cell."""

from __future__ import annotations

import re

import pypdfium2
import pytest
from reportlab.pdfbase import pdfmetrics

from kdlight.metrics import Interval
from kdlight.reports import pdf as builder
from kdlight.reports.document import Bullets, Document, Figure, Paragraph, Section, Table
from kdlight.reports.markdown import markdown, plain
from kdlight.reports.pdf import pdf

NAMES = ("Naïve Großzelltumor", "Меланома кожи", "Μελάνωμα", "黒色腫のがん", "恶性肿瘤", "흑색종", "Ung thư hắc tố")
WORD = "pneumonoultramicroscopicsilicovolcanoconiosis" * 4


def document(*blocks: Paragraph | Bullets | Table) -> Document:
    return Document("A title", "What it is", (Section("A section", blocks),))


def read(content: bytes) -> str:
    """All text, without the breaks between lines."""
    pages = pypdfium2.PdfDocument(content)
    return "".join(re.sub(r"\s", "", page.get_textpage().get_text_range()) for page in pages)


def close(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_names_of_every_script_and_long_words_come_out_whole() -> None:
    rows = tuple((name, WORD, Figure(Interval(0.917, 0.884, 0.951), n=145)) for name in NAMES)
    text = read(pdf(document(Paragraph(WORD), Bullets(NAMES), Table(("Class", "Word", "Score"), rows))))
    for name in NAMES:
        assert text.count(close(name)) == 2, name
    assert text.count(WORD) == 1 + len(NAMES)
    assert text.count("0.92[0.88,0.95],n=145") == len(NAMES)


def test_what_looks_like_markup_is_text() -> None:
    odd = "<b>p < 0.05 & q</b> <img src='/etc/passwd'/>"
    assert close(odd) in read(pdf(document(Paragraph(odd))))


def test_a_letter_without_a_font_is_named() -> None:
    assert "[U+1F600]" in read(pdf(document(Paragraph("A \U0001f600"))))


@pytest.mark.parametrize("columns", [2, 5, 9, 14])
def test_no_cell_is_clipped(columns: int) -> None:
    """Every letter lies inside the page's margins and, in a table of distinct cells, left of the next column."""
    rows = tuple(tuple(f"r{r}c{c} " + WORD[: 7 * c] for c in range(columns)) for r in range(60))
    content = pdf(document(Table(tuple(f"head{c}" for c in range(columns)), rows)))
    given = builder.widths([tuple(f"head{c}" for c in range(columns)), *rows])
    assert sum(given) <= builder.WIDTH + 1e-6
    edges = [builder.MARGIN + sum(given[:c]) for c in range(columns + 1)]
    for page in pypdfium2.PdfDocument(content):
        text, height = page.get_textpage(), page.get_height()
        for index in range(text.get_text_range().index("head0"), text.count_chars()):
            left, bottom, right, top = text.get_charbox(index)
            if text.get_text_range(index, 1).isspace() or right <= left:
                continue
            assert builder.MARGIN + builder.FOOT - 1 < bottom < top < height - builder.MARGIN + 1
            column = max(c for c in range(columns) if edges[c] <= left + 0.5)
            assert right <= edges[column + 1] + 0.5


def test_every_row_of_a_long_table_is_there_and_heads_are_repeated() -> None:
    rows = tuple((f"row{n:03d}", Figure(Interval(n / 300))) for n in range(300))
    content = pdf(document(Table(("Nameofrow", "Score"), rows)))
    pages = pypdfium2.PdfDocument(content)
    text = [page.get_textpage().get_text_range() for page in pages]
    assert [text.count(f"row{n:03d}") for text in ["".join(text)] for n in range(300)] == [1] * 300
    assert all("Nameofrow" in page for page in text)
    assert all(f"{number} of {len(pages)}" in page for number, page in enumerate(text, start=1))


def test_a_cell_longer_than_a_page_goes_on_there() -> None:
    words = " ".join(f"w{n:04d}" for n in range(3000))
    text = read(pdf(document(Table(("A", "B"), (("x", words),)))))
    assert all(f"w{n:04d}" in text for n in range(3000))


def test_the_same_document_has_the_same_bytes() -> None:
    assert pdf(document(Paragraph("x"))) == pdf(document(Paragraph("x")))


def test_all_fonts_but_the_eastern_ones_lie_in_the_file() -> None:
    content = pdf(document(Paragraph(" ".join(NAMES[:3]))))
    embedded = content.count(b"/FontFile2")
    named = set(re.findall(rb"/BaseFont /(?:\w+\+)?([\w-]+)", content)) - {b"Helvetica"}
    assert named == {b"DejaVuSans", b"DejaVuSans-Bold"}
    assert embedded >= len(named)
    assert pdfmetrics.getFont(builder.PLAIN).face.name == b"DejaVuSans"


@pytest.mark.parametrize(
    ("figure", "written"),
    [
        (Figure(None), "not measured"),
        (Figure(Interval(0.917, 0.884, 0.951)), "0.92 [0.88, 0.95]"),
        (Figure(Interval(0.917), n=12), "0.92, n = 12"),
        (Figure(Interval(0.917, 0.884, 0.951), "percent", 12), "92 % [88, 95], n = 12"),
        (Figure(Interval(0.5), "percent"), "50 %"),
        (Figure(Interval(-0.012, -0.03, 0.006), "points"), "-1.2 [-3.0, +0.6]"),
    ],
)
def test_a_number_is_written_with_its_interval(figure: Figure, written: str) -> None:
    assert str(figure) == written


def test_markdown_says_the_same() -> None:
    rows = (("a|b", Figure(Interval(0.5, 0.4, 0.6))), ("*c*", "<i>"))
    text = markdown(document(Paragraph("Careful.", strong=True), Bullets(("one", "two")), Table(("x", "y"), rows)))
    lines = ["# A title", "", "What it is", "", "## A section", "", "**Careful.**", "", "- one", "- two", ""]
    lines += ["| x | y |", "| --- | --- |", r"| a\|b | 0.50 \[0.40, 0.60\] |", r"| \*c\* | \<i\> |", ""]
    assert text.splitlines() == [*lines, "*Research and teaching use only*"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0.50 and 3.", "0.50 and 3."),
        ("-2.1 points", "-2.1 points"),
        ("1. first", r"1\. first"),
        ("- dash", r"\- dash"),
        ("+ plus", r"\+ plus"),
        ("---", r"\---"),
        ("===", r"\==="),
    ],
)
def test_only_what_would_begin_a_list_a_heading_or_a_rule_is_escaped(text: str, written: str) -> None:
    assert plain(text) == written
