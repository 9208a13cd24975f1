"""What every page says of a pair: its figures, what must stand beside them, and what the teacher gave its student."""

from __future__ import annotations

from kdlight.bundle import Bundle, Card
from kdlight.bundle.card import Metrics
from kdlight.bundle.speed import Speed
from kdlight.reports import pair
from kdlight.ui import documents
from kdlight.ui.markup import Markup, joined, write


def table(bundle: Bundle, metrics: Metrics, timed: Speed | None) -> None:
    """One row per figure, one column per model, intervals inline."""
    documents.draw_block(pair.performance(bundle.card, metrics, timed))


def caveats_html(card: Card) -> Markup:
    """For a tile or the caption of a table; empty for most pairs."""
    return joined(write('<div class="kd-line"><b>{}</b></div>', caveat) for caveat in pair.caveats(card))


def gain_html(card: Card) -> Markup:
    """For a tile: the gain over the student alone, below it the one that can be proven."""
    same_start = pair.over_same_start(card)
    opening = "" if same_start.taught and not same_start.compared else "from the same starting weights: "
    return write("{}<br><small>{}{}</small>", pair.over_alone(card), opening, same_start.words)
