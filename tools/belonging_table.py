"""The table of what bundles withhold: see write_table.py.

`python -m tools.belonging_table BUNDLE...` keeps what the cards of bundles say of it in docs/benchmarks/belonging.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "benchmarks" / "belonging"
BEGIN, END = "<!-- belonging: written by `make docs` -->", "<!-- end of belonging -->"

Kinds = dict[str, dict[str, Any]]
"""By kind of image: n, and the share withheld with its interval."""


def keep(bundle: Path) -> None:
    """Store the figures of a bundle's card."""
    card = json.loads((bundle / "card.json").read_text(encoding="utf-8"))
    KEPT.mkdir(parents=True, exist_ok=True)
    kinds = json.dumps(card["belonging"]["kinds"], indent=1)
    (KEPT / f"{card['id']}.json").write_text(kinds + "\n", encoding="utf-8")


def table() -> str:
    """A row per kind of image, a column per bundle: percent withheld; n is of its own test images."""
    found: dict[str, Kinds] = {
        path.stem: {one["kind"]: one for one in json.loads(path.read_text(encoding="utf-8"))}
        for path in sorted(KEPT.glob("*.json"))
    }
    every = list(dict.fromkeys(kind for kinds in found.values() for kind in kinds))
    heads = [f"`{name}`, n = {kinds['own']['n']}" for name, kinds in found.items()]
    lines = [f"| withheld, % | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    return "\n".join([*lines, *(_row(kind, list(found.values())) for kind in every)])


def _row(kind: str, found: list[Kinds]) -> str:
    cells = [_cell(kinds.get(kind)) for kinds in found]
    return f"| {'**its own unseen images**' if kind == 'own' else kind} | {' | '.join(cells)} |"


def _cell(one: dict[str, Any] | None) -> str:
    """The share with its interval; a dash where such an image is one of the bundle's kind."""
    if one is None:
        return "-"
    value, low, high = (100 * one["share"][key] for key in ("value", "low", "high"))
    return f"{value:.0f} [{low:.0f}, {high:.0f}]"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        keep(Path(name))
