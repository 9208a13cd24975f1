"""The table of shipped bundles from their cards: see write_table.py."""

from pathlib import Path

from kdlight.bundle import Card, read_card
from kdlight.bundle.card import Metrics
from kdlight.studies.gains import NOT_COMPARED, over_same_start
from kdlight.studies.records import of_card
from tools.results.sets import points

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- bundles: written by `make docs` -->", "<!-- end of bundles -->"
HEADER = """| bundle | classes, test images | teacher | student | alone | from scratch | same start, no teacher | \
gain over alone | gain over the same start | on disk |
|---|---|---|---|---|---|---|---|---|---|"""


def estimate(metrics: Metrics, model: str) -> str:
    """Balanced accuracy: mean over the seeds where a study was made, else of one training with its 95 % interval."""
    study = metrics.study
    means = study.mean.by_model if study else {}
    if study and model in means:
        spread = study.deviation.get(model) if len(study.seeds) > 1 else None
        return f"{means[model]:.3f}" + (f" ± {spread:.3f}" if spread and spread > 1e-9 else "")
    report = metrics.reports.get(model)
    return f"{report.balanced_accuracy:.3f}" if report else "not trained"


def gains(card: Card) -> tuple[str, str]:
    """Over the student alone, and over the same student from the same starting weights: only that one can be proven."""
    if card.metrics.study is None:
        return "one training", NOT_COMPARED
    record = of_card(card)
    return points(record.over("alone"), len(record.seeds)) or "no interval", over_same_start(record).words


def row(card: Card) -> str:
    sizes = [network.bytes / 1e6 for network in (card.teacher, card.student)]
    cells = [
        f"`{card.id}`: {card.name}",
        f"{len(card.classes)}, {card.metrics.n}",
        *(estimate(card.metrics, model) for model in ("teacher", "student", "alone", "scratch", "same_start")),
        *gains(card),
        f"{sizes[0]:.2f} / {sizes[1]:.2f} MB",
    ]
    return f"| {' | '.join(cells)} |"


def table() -> str:
    folders = sorted(path.parent for path in (ROOT / "assets" / "bundles").glob("*/card.json"))
    rows = [row(read_card(folder)) for folder in folders]
    return "\n".join([HEADER, *rows]) if rows else "No bundle is shipped yet."
