"""An ablation as its record tells it (`kdlight study --grid`): one row per cell, then cell against cell."""

from __future__ import annotations

import streamlit as st

from kdlight.bundle.study_record import in_words
from kdlight.studies.grid_record import GridRecord
from kdlight.ui import words
from kdlight.ui.compare import measurement


def draw(record: GridRecord) -> None:
    """Every cell with its gain, then the difference of every two."""
    st.subheader(words.plain(f"{record.recipe}: {words.listed(record.keys)}"), anchor=False)
    seeds = len(record.cells[0].seeds)
    if seeds == 1:
        st.html('<div class="kd-verdict"><b>One seed proves nothing.</b> Run the grid with --seeds 3.</div>')
    st.html(cells_table(record))
    st.subheader("Cell against cell", anchor=False)
    st.html(differences_table(record))
    each = f"{seeds} student seed{'s' if seeds > 1 else ''} in each cell, one teacher."
    st.html(f'<div class="kd-line">{each} {words.ROUNDED}</div>')


def cells_table(record: GridRecord) -> str:
    """Balanced accuracy of each cell's models, mean over its seeds, and its gain in points."""
    names = "".join(f'<th scope="col">{words.safe(key)}</th>' for key in record.keys)
    models = '<th class="teacher" scope="col">Teacher</th><th scope="col">Student alone</th>'
    head = f'{names}{models}<th class="student" scope="col">Student, taught</th><th scope="col">Over alone, points</th>'
    head += '<th scope="col">Over the same starting weights</th>'
    body = ""
    for cell in record.cells:
        values = "".join(f'<th scope="row">{words.safe(cell.values[key])}</th>' for key in record.keys)
        scores = "".join(
            f"<td>{words.score(score)}</td>" for score in (cell.mean.teacher, cell.mean.alone, cell.mean.student)
        )
        gain = "one seed" if len(cell.seeds) == 1 else words.safe(in_words(cell.gain_over_alone))
        body += f"<tr>{values}{scores}<td>{gain}</td><td>{words.safe(cell.over_same_start)}</td></tr>"
    return measurement.grid("kd-table", head, body)


def differences_table(record: GridRecord) -> str:
    """Taught students of one cell less those of another, in points."""
    rows = "".join(
        f'<tr><th scope="row">{words.safe(row.first)}</th><td>{words.safe(row.second)}</td>'
        f"<td>{words.safe(row.words)}</td></tr>"
        for row in record.differences
    )
    head = '<th scope="col">Taught students of</th><th scope="col">less those of</th><th scope="col">Points</th>'
    return measurement.grid("kd-table", head, rows)
