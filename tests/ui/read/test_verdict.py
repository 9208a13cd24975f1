"""The verdict above the pictures: the weightiest first, in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from kdlight import bundle as bundles
from kdlight import images
from kdlight.bundle import Bundle
from kdlight.contracts.map_grade import MapGrade
from kdlight.contracts.reading import Eligibility, Opinion, Verdict
from kdlight.images import Image
from kdlight.ui.read import verdict
from kdlight.workers import Read
from tests.bundle_faults import operating, put, spoil
from tests.ui.conftest import FakeTicket, FakeWorkers, a_reading, above, said, sample, upload

MRI = "Brain MRI phantom"
BRAIN = next(s for s in images.samples() if s.name == MRI).data


def test_the_verdict_stands_above_the_pictures(app: AppTest) -> None:
    upload(app, BRAIN)
    order = [getattr(b.proto, "id", "") or b.type for b in app.main.children.values()]
    place = {end: next(i for i, name in enumerate(order) if name.endswith(end)) for end in ("kd_above", "-viewer")}
    assert place["kd_above"] < place["-viewer"]
    assert "They agree: Malignant." in above(app)
    assert "Tested on 60 held-back images" in above(app)


def test_disagreement_is_said_before_the_numbers(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    answers = {"teacher": (0.1, 0.7, 0.2), "student": (0.8, 0.1, 0.1)}
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle, answers))
    text = said(upload(app, BRAIN))
    warning = "Do not use either answer: teacher Malignant, student Benign."
    assert warning in text
    assert text.index(warning) < text.index("70 %")
    assert "Cannot rule out" not in text  # what could not be ruled out is named already


def test_fifty_fifty_is_undecided(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    answers = {"teacher": (0.505, 0.005, 0.49), "student": (0.9, 0.05, 0.05)}
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle, answers))
    text = said(upload(app, BRAIN))
    assert "Undecided: teacher Benign 50 % or Normal 49 %; student Benign 90 %." in text
    assert "They agree" not in text


def test_what_must_not_be_missed_and_is_not_ruled_out_is_said_before_the_numbers(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    answers = {"teacher": (0.6, 0.3, 0.1), "student": (0.7, 0.25, 0.05)}
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle, answers))
    text = said(upload(app, BRAIN))
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


LOW = {"teacher": (0.8, 0.1, 0.1), "student": (0.85, 0.1, 0.05)}


@pytest.fixture
def with_thresholds(library: Path, workers: FakeWorkers) -> Bundle:
    """The bundle with a threshold of 0.25 for 90 %, of 0.05 for 95 % and none for 98 %; both models say LOW."""
    spoil(library / "tiny_mri", put(operating(), "operating"))
    bundle = bundles.load(library / "tiny_mri")
    workers.answer = lambda asked: FakeTicket(a_reading(asked, bundle, LOW))
    return bundle


def test_a_higher_sensitivity_keeps_more_open_and_asks_no_model_again(
    with_thresholds: Bundle, app: AppTest, workers: FakeWorkers
) -> None:
    upload(app, BRAIN)
    assert "They agree: Benign." in above(app)
    assert "<td>90 %</td><td>25 %</td><td>0.80 [0.70, 0.90]</td>" in said(app)
    asked = len(workers.asked)
    choice = next(box for box in app.selectbox if box.label == "Share of such images to find")
    choice.select(0.95).run()
    assert not app.exception
    assert "Cannot rule out at 95 % sensitivity: Malignant. Both answer Benign." in above(app)
    assert "<td>95 %</td><td>5 %</td>" in said(app)
    assert said(app).count("must not miss</span>") == 2  # beside the class, under both models
    assert len(workers.asked) == asked


def test_what_cannot_be_promised_is_said_and_not_taken_for_ruled_out(with_thresholds: Bundle, app: AppTest) -> None:
    app.session_state["sensitivity"] = 0.98
    upload(app, BRAIN)
    assert "They agree: Benign." in above(app)
    assert "No sensitivity for Malignant is promised: validation has too few such images" in above(app)
    assert "none: 49 calibration images are needed, 30 were there</td><td>not promised</td>" in said(app)


def test_a_threshold_decides_where_the_card_has_one(with_thresholds: Bundle, tiny_image: Image) -> None:
    """0.22 is in the set of the fake, which holds whatever has 0.2, and below the threshold of 0.25."""
    read = Read(with_thresholds.path, tiny_image)
    answers = {"teacher": (0.7, 0.22, 0.08), "student": (0.7, 0.22, 0.08)}
    assert verdict.sentence(a_reading(read, with_thresholds, answers), with_thresholds) == "They agree: Benign."
    answers["student"] = (0.7, 0.26, 0.04)
    assert verdict.sentence(a_reading(read, with_thresholds, answers), with_thresholds) == (
        "Cannot rule out at 90 % sensitivity: Malignant (student). Both answer Benign."
    )


def test_what_holds_the_pair_down_stands_beside_its_test(tiny_bundle: Bundle) -> None:
    card = tiny_bundle.card
    teacher = card.teacher.replace(start="random weights", start_kind="random")
    held = card.replace(metrics=card.metrics.replace(at_chance=("student",)), teacher=teacher)
    known = Eligibility(True, distance=0.5)
    reading = SimpleNamespace(map_likeness=None, sensitivity={}, eligibility=known, opinions=())
    line = " ".join(verdict.trust(reading, replace(tiny_bundle, card=held)))  # type: ignore[arg-type]
    assert "Failed: the student is not better than chance on the test images." in line
    assert "Teacher started from random weights." in line
    assert line.index("Failed") < line.index("Tested on")


@pytest.mark.parametrize(
    ("teacher", "student", "told"),
    [
        (True, True, ["Both maps passed their test."]),
        (True, False, ["The map of the student failed its test and is drawn in gray."]),
        (False, False, ["Both maps failed their test and are drawn in gray."]),
        (True, None, []),
    ],
)
def test_the_line_of_trust_tells_which_map_failed(
    tiny_image: Image, tiny_bundle: Bundle, teacher: bool, student: bool | None, told: list[str]
) -> None:
    reading = a_reading(Read(tiny_bundle.path, tiny_image, explain="gradcam"), tiny_bundle)

    def graded(opinion: Opinion, passed: bool | None) -> Opinion:
        assert opinion.heat_map is not None
        return replace(opinion, heat_map=replace(opinion.heat_map, grade=MapGrade(None, (), None, passed)))

    both = replace(reading, teacher=graded(reading.teacher, teacher), student=graded(reading.student, student))
    assert list(verdict.maps_graded(both)) == told
    alike = "Their maps look at" in " ".join(verdict.trust(both, tiny_bundle))
    assert alike is (teacher and student is not False)  # what a failed map looks at says nothing


@pytest.mark.parametrize(
    ("distance", "told"),
    [(0.5, "Like the bundle's own images (distance 0.50"), (1.6, "Unlike"), (None, "does not know what its images")],
)
def test_the_line_of_trust_says_how_far_the_image_lies_from_the_bundles_own(distance: float | None, told: str) -> None:
    assert told in verdict.belongs(distance)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (MRI, "drawn by arithmetic, no answer to it means anything"),
        ("Abdomen MRI", "no bundle is made for such a scan"),
    ],
)
def test_no_answer_to_a_sample_that_cannot_have_one_is_given_as_a_verdict(app: AppTest, name: str, why: str) -> None:
    sample(app, name)
    assert f'class="kd-verdict alarm" role="status">Do not use either answer: {why}.</div>' in above(app)
    assert "They agree" not in said(app)
    assert "Malignant" in said(app)  # the answers themselves stay below


def test_the_sample_that_a_bundle_is_made_for_keeps_its_verdict(app: AppTest) -> None:
    sample(app, "Head MRI")
    if "Which modality is this?" in said(app):
        app.sidebar.selectbox[0].select("mri").run()
    assert "They agree: Malignant." in above(app)
    assert "Do not use" not in said(app)


def test_a_caution_withholds_whatever_the_models_say_and_keeps_the_reasons(
    tiny_bundle: Bundle, tiny_image: Image
) -> None:
    reading = a_reading(Read(tiny_bundle.path, tiny_image, confirmed=True), tiny_bundle)
    assert verdict.decided(reading) is verdict.decided(reading, "made up") is Verdict.WITHHELD
    assert verdict.sentence(reading, tiny_bundle, "it is a drawing") == (
        "Do not use either answer: it is a drawing. You chose CT; Tiny MRI was trained on MRI."
    )
