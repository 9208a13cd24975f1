"""The verdict above the pictures: the weightiest first, in words."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from kdlight.bundle import Bundle
from kdlight.images import Image
from kdlight.ui import verdict
from kdlight.workers import Read
from tests.ui.conftest import FakeTicket, FakeWorkers, a_reading, above, said, sample

MRI = "Brain MRI phantom"


def test_the_verdict_stands_above_the_pictures(app: AppTest) -> None:
    sample(app, MRI)
    order = [getattr(b.proto, "id", "") or b.type for b in app.main.children.values()]
    place = {end: next(i for i, name in enumerate(order) if name.endswith(end)) for end in ("kd_above", "-viewer")}
    assert place["kd_above"] < place["-viewer"]
    assert "They agree: Malignant." in above(app)
    assert "Tested on 60 held-back images" in above(app)


def test_disagreement_is_said_before_the_numbers(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    answers = {"teacher": (0.1, 0.7, 0.2), "student": (0.8, 0.1, 0.1)}
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle, answers))
    text = said(sample(app, MRI))
    warning = "Do not use either answer: teacher Malignant, student Benign."
    assert warning in text
    assert text.index(warning) < text.index("70 %")
    assert "Cannot rule out" not in text  # what could not be ruled out is named already


def test_fifty_fifty_is_undecided(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    answers = {"teacher": (0.505, 0.005, 0.49), "student": (0.9, 0.05, 0.05)}
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle, answers))
    text = said(sample(app, MRI))
    assert "Undecided: teacher Benign 50 % or Normal 49 %; student Benign 90 %." in text
    assert "They agree" not in text


def test_what_must_not_be_missed_and_is_not_ruled_out_is_said_before_the_numbers(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    answers = {"teacher": (0.6, 0.3, 0.1), "student": (0.7, 0.25, 0.05)}
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle, answers))
    text = said(sample(app, MRI))
    warning = "Cannot rule out at 90 %: Malignant. Both answer Benign."
    assert warning in text
    assert text.index(warning) < text.index("60 %")
    assert "kd-verdict alarm" in text


@pytest.mark.parametrize(
    ("teacher", "student", "sentence"),
    [
        ((0.6, 0.3, 0.1), (0.9, 0.05, 0.05), "Cannot rule out at 90 %: Malignant (teacher). Both answer Benign."),
        ((0.9, 0.05, 0.05), (0.7, 0.25, 0.05), "Cannot rule out at 90 %: Malignant (student). Both answer Benign."),
        ((0.1, 0.8, 0.1), (0.1, 0.8, 0.1), "They agree: Malignant."),
        ((0.9, 0.05, 0.05), (0.9, 0.05, 0.05), "They agree: Benign."),
        (
            (0.4, 0.22, 0.38),
            (0.9, 0.05, 0.05),
            "Undecided: teacher Benign 40 % or Normal 38 %; student Benign 90 %. "
            "Cannot rule out at 90 %: Malignant (teacher).",
        ),
        (
            (0.6, 0.3, 0.1),
            (0.1, 0.1, 0.8),
            "Do not use either answer: teacher Benign, student Normal. Cannot rule out at 90 %: Malignant (teacher).",
        ),
    ],
)
def test_who_does_not_rule_it_out_is_named(
    tiny_bundle: Bundle, tiny_image: Image, teacher: Any, student: Any, sentence: str
) -> None:
    reading = a_reading(Read(tiny_bundle.path, tiny_image), tiny_bundle, {"teacher": teacher, "student": student})
    assert verdict.sentence(reading, tiny_bundle) == sentence


def test_what_holds_the_pair_down_stands_beside_its_test(tiny_bundle: Bundle) -> None:
    card = tiny_bundle.card
    metrics = {**card.metrics, "at_chance": ["student"]}
    held = replace(card, metrics=metrics, teacher={**card.teacher, "start": "random weights", "start_kind": "random"})
    line = " ".join(verdict.trust(SimpleNamespace(map_similarity=None), replace(tiny_bundle, card=held)))  # type: ignore[arg-type]
    assert "Failed: the student is not better than chance on the test images." in line
    assert "Teacher started from random weights." in line
    assert line.index("Failed") < line.index("Tested on")
