"""The table of shipped bundles from their cards, for README.md: see readme_block.py."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- bundles: written by `make card-table` -->", "<!-- end of bundles -->"
HEADER = """| bundle | classes, test images | teacher | student | alone | from scratch | gain over alone | on disk |
|---|---|---|---|---|---|---|---|"""


def estimate(metrics: dict[str, Any], role: str) -> str:
    """Balanced accuracy: mean over the seeds where a study was made, else of one training with its 95 % interval."""
    if role not in metrics:
        return "not trained"
    study = metrics.get("study", {"seeds": [], "mean": {}})
    if len(study["seeds"]) > 1 and role in study["mean"]:
        spread = study["deviation"][role]
        return f"{study['mean'][role]:.3f}" + (f" ± {spread:.3f}" if spread and spread > 1e-9 else "")
    found = metrics[role]["balanced_accuracy"]
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def row(card: dict[str, Any]) -> str:
    metrics, sizes = card["metrics"], [card[role]["bytes"] / 1e6 for role in ("teacher", "student")]
    cells = [
        f"`{card['id']}`: {card['name']}",
        f"{len(card['classes'])}, {metrics['n']}",
        *(estimate(metrics, role) for role in ("teacher", "student", "alone", "scratch")),
        metrics.get("study", {}).get("gain", "one training"),
        f"{sizes[0]:.2f} / {sizes[1]:.2f} MB",
    ]
    return f"| {' | '.join(cells)} |"


def table() -> str:
    paths = sorted((ROOT / "assets" / "bundles").glob("*/card.json"))
    rows = [row(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    return "\n".join([HEADER, *rows]) if rows else "No bundle is shipped yet."
