"""The README's small table of shipped bundles, from their cards: see write_table.py."""

from pathlib import Path

from kdlight.bundle import load
from kdlight.contracts.reading import ROLES
from kdlight.ui import words

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- summary: written by `make docs` -->", "<!-- end of summary -->"
HEADER = """| bundle | teacher | student | size, MB | one image, ms |
|---|---|---|---|---|"""


def row(path: Path) -> str:
    """Both models' balanced accuracy with its interval, their bytes on disk and their time on one engine."""
    card = load(path).card
    models = (card.teacher, card.student)
    speed = card.metrics.latency
    times = [f"{ms:.2f}" for ms in (speed.teacher_ms, speed.student_ms)] if speed else ["not measured"]
    cells = [
        f"`{card.id}`, {len(card.classes)} classes",
        *(f"{card.metrics.of(role).balanced_accuracy:.2f}" for role in ROLES),
        " / ".join(f"{model.bytes / 1e6:.2f}" for model in models),
        " / ".join(times),
    ]
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """All bundles; their pairs of networks stand above."""
    paths = sorted(path.parent for path in (ROOT / "assets" / "bundles").glob("*/card.json"))
    cards = [load(path).card for path in paths]
    pairs = {tuple(words.architecture(model.architecture) for model in (c.teacher, c.student)) for c in cards}
    pair = "; ".join(f"{teacher} to {student}" for teacher, student in sorted(pairs))
    return "\n".join([f"{pair}:", "", HEADER, *(row(path) for path in paths)])
