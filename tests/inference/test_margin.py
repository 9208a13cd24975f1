"""The lead that an answer needs, from what its card measured."""

from __future__ import annotations

import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, Card
from kdlight.contracts.reading import ROLES
from kdlight.inference.eligibility import LEAST, UNKNOWN, margin
from kdlight.metrics import Interval


def with_ece(card: Card, ece: Interval | None) -> Card:
    return card.replace(metrics=card.metrics.replace(student=card.metrics.student.model_copy(update={"ece": ece})))


@pytest.mark.parametrize(
    ("ece", "expected"),
    [
        (Interval(0.065, 0.05, 0.15), 0.13),
        (Interval(0.001, 0.0, 0.01), LEAST),
        (None, UNKNOWN),
    ],
)
def test_twice_the_calibration_error(tiny_bundle: Bundle, ece: Interval | None, expected: float) -> None:
    card = with_ece(tiny_bundle.card, ece)
    assert margin(card, "student") == pytest.approx(expected)


def test_a_calibration_error_that_is_no_number_is_on_no_card(tiny_bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="calibration error is nan; 0 to 1 was expected"):
        with_ece(tiny_bundle.card, Interval(float("nan"), None, None))


def test_every_shipped_bundle_can_decide() -> None:
    for path in bundles.shipped_folder().iterdir():
        for role in ROLES:
            assert LEAST <= margin(bundles.load(path).card, role) < 0.5
