"""The lead that an answer needs, from what its card measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.inference.margin import LEAST, UNKNOWN, margin
from kdlight.reading import ROLES


@pytest.mark.parametrize(
    ("ece", "expected"),
    [
        ({"value": 0.065, "low": 0.05, "high": 0.15}, 0.13),
        ({"value": 0.001, "low": 0.0, "high": 0.01}, LEAST),
        ({"value": None}, UNKNOWN),
        ({"value": float("nan")}, UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_twice_the_calibration_error(tiny_bundle: Bundle, ece: Any, expected: float) -> None:
    card = replace(tiny_bundle.card, metrics={"student": {"ece": ece}})
    assert margin(card, "student") == pytest.approx(expected)


def test_a_card_without_figures_has_a_margin(tiny_bundle: Bundle) -> None:
    assert margin(replace(tiny_bundle.card, metrics={}), "teacher") == UNKNOWN


def test_every_shipped_bundle_can_decide() -> None:
    for path in bundles.shipped_folder().iterdir():
        for role in ROLES:
            assert LEAST <= margin(bundles.load(path).card, role) < 0.5
