"""What a reading comes to, by typed fields alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kdlight.contracts.reading import Eligibility, Facts, HeatMap, Opinion, Reading, Verdict

CLASSES = ("benign", "malignant", "normal")
Shares = tuple[float, float, float]


def opinion(role: Any, shares: Shares, margin: float, possible: float = 0.2) -> Opinion:
    p = dict(zip(CLASSES, shares, strict=True))
    top = max(p, key=p.__getitem__)
    inside = tuple(name for name, share in p.items() if share >= possible or name == top)
    return Opinion(role, "tiny", p, top, inside, margin, 1, 10)


def reading(teacher: Shares, student: Shares, eligible: bool = True, margin: float = 0.1) -> Reading:
    return Reading(
        bundle="b",
        bundle_version="1",
        bundle_sha256="0",
        image=Facts(sha256="0", format="png", bits=8, windows=(), rows=1, columns=1, color=True, voi_lut=False),
        eligibility=Eligibility(eligible, confirmed=not eligible),
        teacher=opinion("teacher", teacher, margin),
        student=opinion("student", student, margin),
        must_not_miss=("malignant",),
    )


SURE: Shares = (0.9, 0.05, 0.05)
HALF: Shares = (0.5, 0.0, 0.5)
OPEN: Shares = (0.6, 0.3, 0.1)
OTHER: Shares = (0.05, 0.05, 0.9)


@pytest.mark.parametrize(
    ("teacher", "student", "verdict"),
    [
        (SURE, SURE, Verdict.AGREE),
        (SURE, OTHER, Verdict.DISAGREE),
        (SURE, HALF, Verdict.UNDECIDED),
        (HALF, HALF, Verdict.UNDECIDED),
        (HALF, OTHER, Verdict.DISAGREE),
        (OPEN, SURE, Verdict.CANNOT_RULE_OUT),
        (OPEN, HALF, Verdict.UNDECIDED),
        ((math.nan, 0.5, 0.5), SURE, Verdict.UNDECIDED),
    ],
)
def test_the_weightiest_holds(teacher: Shares, student: Shares, verdict: Verdict) -> None:
    assert reading(teacher, student).verdict is verdict
    assert reading(teacher, student, eligible=False).verdict is Verdict.WITHHELD


def test_fifty_fifty_is_undecided_however_small_the_margin() -> None:
    from kdlight.inference.eligibility import LEAST

    assert reading(HALF, HALF, margin=LEAST).verdict is Verdict.UNDECIDED
    assert reading((0.505, 0.0, 0.495), SURE, margin=LEAST).verdict is Verdict.UNDECIDED
    assert reading((0.52, 0.0, 0.48), SURE, margin=LEAST).verdict is Verdict.AGREE


def test_a_class_that_a_model_answers_is_no_class_that_it_leaves_open() -> None:
    both = reading((0.1, 0.8, 0.1), (0.1, 0.8, 0.1))
    assert both.not_ruled_out == {}
    assert both.verdict is Verdict.AGREE
    assert reading(OPEN, OPEN).not_ruled_out == {"malignant": ("teacher", "student")}
    assert reading(SURE, OPEN).not_ruled_out == {"malignant": ("student",)}


@pytest.mark.parametrize(
    ("threshold", "verdict"), [(0.31, Verdict.AGREE), (0.3, Verdict.CANNOT_RULE_OUT), (None, Verdict.CANNOT_RULE_OUT)]
)
def test_a_threshold_stands_in_place_of_the_prediction_set(threshold: float | None, verdict: Verdict) -> None:
    """Malignant has 0.3 and is in the set: only where there is no threshold does the set count."""
    found = reading(OPEN, SURE)
    thresholds = {} if threshold is None else {"malignant": threshold}
    found = replace(found, teacher=replace(found.teacher, thresholds=thresholds), sensitivity={"malignant": 0.9})
    assert found.verdict is verdict
    assert found.to_json()["teacher"]["thresholds"] == thresholds
    assert found.to_json()["sensitivity"] == {"malignant": 0.9}


def test_what_the_set_leaves_out_a_low_threshold_keeps_open() -> None:
    found = reading(SURE, SURE)
    assert found.verdict is Verdict.AGREE
    low = replace(found, student=replace(found.student, thresholds={"malignant": 0.04}))
    assert low.not_ruled_out == {"malignant": ("student",)}


def test_the_verdict_is_in_the_json_and_no_speed_is() -> None:
    said = reading(OPEN, HALF).to_json()
    assert said["verdict"] == "undecided"
    assert said["teacher"]["decided"] is True
    assert said["student"]["decided"] is False
    assert said["not_ruled_out"] == {"malignant": ["teacher"]}
    assert "times_faster" not in said


@pytest.mark.parametrize(
    ("flat", "cells", "grain"),
    [
        (False, (8.0, 16.0, 32.0), "One cell of the map is 8 to 32 px of the model's 128."),
        (False, (32.0,), "One cell of the map is 32 px of the model's 128."),
        (False, (), ""),
        (True, (32.0,), ""),
    ],
)
def test_a_map_that_can_be_read_states_its_grain(flat: bool, cells: tuple[float, ...], grain: str) -> None:
    found = HeatMap("gradcam", "benign", np.zeros((4, 4), np.float32), flat, "", 0.1, cells, 128)
    assert found.grain == grain
