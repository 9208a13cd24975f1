"""The table of what the shipped bundles answer by the rim, the center and a marker, by their cards: write_table.py."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- shortcuts: written by `make docs` -->", "<!-- end of shortcuts -->"
HEADS = ("bundle, images", "model", "chance", "whole image", "rim alone", "center alone", "changed by a marker")


def table() -> str:
    """A row per bundle and model; a card from before it was probed has none."""
    cards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("assets/bundles/*/card.json"))]
    probed = [(card["id"], card["metrics"]["shortcuts"]) for card in cards if "shortcuts" in card["metrics"]]
    if not probed:
        return "No shipped card holds these figures yet."
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    return "\n".join([*lines, *(_row(name, found, role) for name, found in probed for role in ("teacher", "student"))])


def _row(name: str, found: dict[str, Any], role: str) -> str:
    by_kind = {probe["kind"]: probe for probe in found["probes"]}
    scores = [by_kind.get(kind, {}).get(role) for kind in ("rim", "center")]
    figures = (found[role], *scores, by_kind["marker"][f"{role}_changed"])
    cells = [f"`{name}`, n = {found['n']}", role, f"{found['chance']:.2f}", *map(_cell, figures)]
    return f"| {' | '.join(cells)} |"


def _cell(score: dict[str, float | None] | None) -> str:
    if score is None:
        return "-"
    bounds = "" if score["low"] is None else f" [{score['low']:.2f}, {score['high']:.2f}]"
    return f"{score['value']:.2f}{bounds}"
