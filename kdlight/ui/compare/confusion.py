"""Who was taken for whom: both models' answers per true class in one table, and what changed between them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.bundle.card import Metrics
from kdlight.contracts.reading import ROLES
from kdlight.ui import theme, words
from kdlight.ui.markup import Markup, joined, put, write

Counts = Sequence[Sequence[int]]
"""Truth in rows, answer in columns."""
DARKEST = 55
"""Percent of color in the darkest cell."""
LEAST = 0.05
"""A change of this share of a true class, or more, is what the darkest cell stands for; ours."""
ROOM = 36
"""Letters that the heads of one model's columns have room for at 1280 px; longer names become numbers."""


def draw(bundle: Bundle, metrics: Metrics) -> None:
    """Truth in rows, answer in columns: teacher, student minus teacher, student."""
    st.subheader("Confusion", anchor=False)
    teacher, student = (metrics.of(role).confusion for role in ROLES)
    put(table([bundle.words(name) for name in bundle.classes], teacher, student))
    theme.line(
        "Rows are the truth, columns the answer. The stronger the color, the larger the share of "
        "that true class. In the middle table the strongest color is a difference of "
        f"{words.number(100 * scale(teacher, student), 2)} % of the images of a class; the color is that of the model "
        "that gave the answer more often."
    )


def table(names: Sequence[str], teacher: Counts, student: Counts) -> Markup:
    """The three side by side on the same rows, as HTML; every cell says its number of images."""
    most = scale(teacher, student)
    short = heads(names)
    blocks = (("teacher", "Teacher"), ("", "Student minus teacher"), ("student", "Student"))
    gap = write('<td class="gap"></td>')
    top = joined(write('{}<th class="{}" colspan="{}">{}</th>', gap, kind, len(names), title) for kind, title in blocks)
    columns = joined(write('<th scope="col">{}</th>', name) for name in short)
    body = []
    for name, head, was, now in zip(names, short, teacher, student, strict=True):
        total = sum(was) or 1
        cells = [
            joined(_cell("teacher", str(n), n / total) for n in was),
            joined(_change(now_n - was_n, total, most) for was_n, now_n in zip(was, now, strict=True)),
            joined(_cell("student", str(n), n / total) for n in now),
        ]
        title = name if head == name else f"{head} {name}"
        row = joined(write("{}{}", gap, part) for part in cells)
        body.append(write('<tr><th scope="row">{} <small>n = {}</small></th>{}</tr>', title, sum(was), row))
    head_rows = write("<tr><th></th>{}</tr><tr><th></th>{}</tr>", top, (gap + columns) * 3)
    return write(
        '<div class="kd-scroll"><table class="kd-table kd-heat"><thead>{}</thead><tbody>{}</tbody></table></div>',
        head_rows,
        joined(body),
    )


def heads(names: Sequence[str]) -> list[str]:
    """What stands over the columns: the names where their longest words fit, else the numbers of their rows."""
    longest = max(len(word) for name in names for word in name.split() or [""])
    return list(names) if len(names) * longest <= ROOM else [str(i) for i in range(1, len(names) + 1)]


def scale(teacher: Counts, student: Counts) -> float:
    """The change, as a share of its true class, that has the darkest shade: the largest there is, or LEAST."""
    changes = (
        abs(now - was) / (sum(before) or 1)
        for before, after in zip(teacher, student, strict=True)
        for was, now in zip(before, after, strict=True)
    )
    return max(LEAST, *changes)


def _change(more: int, total: int, most: float) -> Markup:
    kind = "student" if more > 0 else "teacher"
    return _cell(kind, f"{more:+d}" if more else "0", abs(more) / total / most)


def _cell(kind: str, text: str, share: float) -> Markup:
    return write('<td class="cell {}" style="--share:{:.0f}%">{}</td>', kind, min(share, 1.0) * DARKEST, text)
