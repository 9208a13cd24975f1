"""The table of shipped bundles from their cards: see write_table.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from kdlight.bundle import Card, read_card
from kdlight.bundle.card import Metrics
from kdlight.contracts.reading import ROLES
from kdlight.metrics import Interval
from kdlight.studies.gains import NOT_COMPARED, over_same_start
from kdlight.studies.records import of_card
from tools.results.sets import points

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- bundles: written by `make docs` -->", "<!-- end of bundles -->"
SEVERITY = 2.0
"""Of `kdlight.preprocessing.corruptions`: noise of 8 of 255 gray levels, a blur of one pixel."""
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


def mean(differences: Sequence[float]) -> Interval:
    """Of differences between two models, one a set, with the 95 % interval of Student's t over the sets."""
    spread = stats.t.ppf(0.975, len(differences) - 1) * np.std(differences, ddof=1) / np.sqrt(len(differences))
    middle = float(np.mean(differences))
    return Interval(middle, middle - float(spread), middle + float(spread))


def summary(cards: Sequence[Card]) -> str:
    """The taught student against its teacher and against the others, over all sets that have both."""
    scores = [{name: report.balanced_accuracy.value for name, report in card.metrics.reports.items()} for card in cards]
    told = []
    for other, words in (("teacher", "its teacher"), ("same_start", "the same start"), ("alone", "the student alone")):
        both = [one["student"] - one[other] for one in scores if other in one]
        if len(both) > 1:
            told.append(f"{mean(both).points:+.1f} points against {words} ({len(both)} sets)")
    return f"By these tests the distilled student has, on average over the sets, {'; '.join(told)}."


def robustness(cards: Sequence[Card]) -> str:
    """What noise and blur of the second severity cost both models of all pairs: the mean, and the worst."""
    costs = {
        (role, row.kind, card.id): getattr(row, role).points.value
        for card in cards
        for row in card.metrics.corruptions or ()
        for role in ROLES
        if row.severity == SEVERITY and row.kind in ("noise", "blur")
    }
    if not costs:
        return "No card says what noise and blur cost."
    role, kind, name = min(costs, key=lambda key: costs[key])
    return (
        f"Noise of 8 of 255 gray levels and a blur of one pixel cost both models of all pairs "
        f"{float(np.mean(list(costs.values()))):+.1f} points on average, at the worst {min(costs.values()):+.1f} "
        f"(`{name}`, {role}, {kind})."
    )


def table() -> str:
    folders = sorted(path.parent for path in (ROOT / "assets" / "bundles").glob("*/card.json"))
    cards = [read_card(folder) for folder in folders]
    if not cards:
        return "No bundle is shipped yet."
    return "\n".join([HEADER, *map(row, cards), "", summary(cards), "", robustness(cards)])
