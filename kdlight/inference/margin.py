"""How far apart a model's two likeliest classes must be before their order can be relied on."""

from __future__ import annotations

import math

from kdlight.bundle import Card
from kdlight.reading import Role

LEAST = 0.02
"""Smallest margin, however well calibrated a model is: two classes that both read 50 % in whole percent. Ours."""
UNKNOWN = 0.2
"""Margin of a model whose calibration error nobody measured. Ours."""


def margin(card: Card, role: Role) -> float:
    """Lead of the first class over the second, 0 to 1, below which the answer is undecided.

    Twice the expected calibration error on held-back images: probabilities are off by that error on average, and that
    much taken from the first class and given to the second closes a lead of twice as much. The choice is ours; on the
    validation images of the shipped bundles undecided answers are right about half of the time, the others far more.
    """
    ece = card.metrics.of(role).ece
    if ece is None or not math.isfinite(ece.value):
        return UNKNOWN
    return max(LEAST, 2.0 * ece.value)
