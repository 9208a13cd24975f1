"""The table of shipped bundles from their cards: see write_table.py."""

import json
from pathlib import Path
from typing import Any

from kdlight import results
from kdlight.results import same_start
from kdlight.results.sets import points

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- bundles: written by `make card-table` -->", "<!-- end of bundles -->"
HEADER = """| bundle | classes, test images | teacher | student | alone | from scratch | same start, no teacher | \
gain over alone | gain over the same start | on disk |
|---|---|---|---|---|---|---|---|---|---|"""


def estimate(metrics: dict[str, Any], role: str) -> str:
    """Balanced accuracy: mean over the seeds where a study was made, else of one training with its 95 % interval."""
    study = metrics.get("study", {"seeds": [], "mean": {}})
    if len(study["seeds"]) > 1 and role in study["mean"]:
        spread = study["deviation"].get(role)
        return f"{study['mean'][role]:.3f}" + (f" ± {spread:.3f}" if spread and spread > 1e-9 else "")
    if role in study["mean"]:
        return f"{study['mean'][role]:.3f}"
    if role not in metrics:
        return "not trained"
    found = metrics[role]["balanced_accuracy"]
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def gains(path: Path) -> tuple[str, str]:
    """Over the student alone, and over the same student from the same starting weights: only that one can be proven."""
    try:
        record = results.read(path)
    except results.RecordError:
        return "one training", same_start.NOT_COMPARED
    return points(record.gain, len(record.seeds)) or "no interval", same_start.words(record)


def row(path: Path) -> str:
    card = json.loads(path.read_text(encoding="utf-8"))
    metrics, sizes = card["metrics"], [card[role]["bytes"] / 1e6 for role in ("teacher", "student")]
    cells = [
        f"`{card['id']}`: {card['name']}",
        f"{len(card['classes'])}, {metrics['n']}",
        *(estimate(metrics, role) for role in ("teacher", "student", "alone", "scratch", "same_start")),
        *gains(path),
        f"{sizes[0]:.2f} / {sizes[1]:.2f} MB",
    ]
    return f"| {' | '.join(cells)} |"


def table() -> str:
    paths = sorted((ROOT / "assets" / "bundles").glob("*/card.json"))
    rows = [row(path) for path in paths]
    return "\n".join([HEADER, *rows]) if rows else "No bundle is shipped yet."
