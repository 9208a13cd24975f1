"""An ablation as its record tells it (`kdlight study --grid`): one row per cell, then cell against cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from kdlight.results import over_alone, same_start
from kdlight.ui import comparison, words

SCHEMA = "kdlight.grid/"


def find(root: Path) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The ablations among the runs, by a name for people; and why others are left out."""
    found: dict[str, Mapping[str, Any]] = {}
    broken = []
    for path in sorted(root.glob("*/grid.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if not str(record["schema"]).startswith(SCHEMA):
                raise ValueError("another schema")
            cells_table(record)
            differences_table(record)
            name = f"{record['recipe']} · {words.listed(record['keys'])}"
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            where = f"{path.parent.name}/{path.name}"
            broken.append(f"{where} is no record of an ablation ({error}); run its kdlight study --grid again.")
            continue
        found[name if name not in found else f"{name}, {path.parent.name}"] = record
    return found, broken


def draw(record: Mapping[str, Any]) -> None:
    """Every cell with its gain, then the difference of every two."""
    st.subheader(words.plain(f"{record['recipe']}: {words.listed(record['keys'])}"), anchor=False)
    seeds = len(record["cells"][0]["seeds"])
    if seeds == 1:
        st.html('<div class="kd-verdict"><b>One seed proves nothing.</b> Run the grid with --seeds 3.</div>')
    st.html(cells_table(record))
    st.subheader("Cell against cell", anchor=False)
    st.html(differences_table(record))
    each = f"{seeds} student seed{'s' if seeds > 1 else ''} in each cell, one teacher."
    st.html(f'<div class="kd-line">{each} {words.ROUNDED}</div>')


def cells_table(record: Mapping[str, Any]) -> str:
    """Balanced accuracy of each cell's models, mean over its seeds, and its gain in points."""
    keys = record["keys"]
    names = "".join(f'<th scope="col">{words.safe(key)}</th>' for key in keys)
    models = '<th class="teacher" scope="col">Teacher</th><th scope="col">Student alone</th>'
    head = f'{names}{models}<th class="student" scope="col">Student, taught</th><th scope="col">Over alone, points</th>'
    head += '<th scope="col">Over the same starting weights</th>'
    body = ""
    for cell in record["cells"]:
        values = "".join(f'<th scope="row">{words.safe(cell["values"][key])}</th>' for key in keys)
        scores = "".join(
            f"<td>{words.score(float(cell['mean'][model]))}</td>" for model in ("teacher", "alone", "student")
        )
        said = "one seed" if len(cell["seeds"]) == 1 else words.safe(over_alone.words(cell["gain_over_alone"]))
        told = words.safe(cell.get("over_same_start", same_start.NOT_COMPARED))
        body += f"<tr>{values}{scores}<td>{said}</td><td>{told}</td></tr>"
    return comparison.grid("kd-table", head, body)


def differences_table(record: Mapping[str, Any]) -> str:
    """Taught students of one cell less those of another, in points."""
    rows = "".join(
        f'<tr><th scope="row">{words.safe(row["first"])}</th><td>{words.safe(row["second"])}</td>'
        f"<td>{words.safe(row['words'])}</td></tr>"
        for row in record["differences"]
    )
    head = '<th scope="col">Taught students of</th><th scope="col">less those of</th><th scope="col">Points</th>'
    return comparison.grid("kd-table", head, rows)
