"""What a card says beyond its scores, on its page and in Compare; a card from before says what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from kdlight.bundle import Bundle
from kdlight.metrics import Interval
from kdlight.metrics.look_alike import LookAlike
from kdlight.metrics.robustness import CorruptionCost
from kdlight.metrics.shortcuts import Probe, Shortcuts
from kdlight.metrics.twins import TwinScore, TwinScores
from kdlight.preprocessing.corruptions import KINDS
from kdlight.reports import measured
from kdlight.reports.card import lacking
from kdlight.ui import words
from tests.bundle_faults import operating, put, spoil
from tests.ui.conftest import page, said

SCORE = TwinScore(with_twin=Interval(0.875, 0.8, 0.95), without_twin=Interval(0.581, 0.5, 0.66), at_random=0.73)
TWINS = TwinScores(n=18, of=79, share_at_random=0.5, models={"teacher": SCORE})
NOISE = CorruptionCost(
    kind="noise",
    severity=2.0,
    n=79,
    teacher=Interval(-0.38, -0.45, -0.3),
    student=Interval(-0.49, -0.55, -0.4),
    gap=Interval(-0.11, -0.2, -0.02),
)
EVEN = NOISE.model_copy(update={"kind": "blur", "gap": Interval(0.02, -0.05, 0.09)})

RIM = Probe(
    kind="rim",
    n=79,
    teacher=Interval(0.43, 0.36, 0.52),
    student=Interval(0.52, 0.45, 0.6),
    gap=Interval(0.09, 0.01, 0.17),
    teacher_changed=Interval(0.5),
    student_changed=Interval(0.4),
)
ALIKE = LookAlike(
    method="gradcam",
    n=77,
    flat=2,
    rank_correlation=Interval(0.69, 0.65, 0.73),
    overlap=Interval(0.58, 0.54, 0.61),
    gaps=Interval(0.5, 0.36, 0.63),
)
SHORTCUTS = Shortcuts(n=79, chance=1 / 3, teacher=Interval(0.8), student=Interval(0.8), probes=(RIM,))


def with_figures(library: Path, **metrics: Any) -> None:
    spoil(library / "tiny_mri", lambda card: card["metrics"].update(metrics))


def test_the_leak_meter_speaks_plainly_on_the_card_and_in_compare(app: AppTest, library: Path) -> None:
    with_figures(library, twins=TWINS.to_json())
    sentence = (
        "18 of 79 test images are near-twins of training images. Teacher: balanced accuracy with near-twins 0.88 "
        "[0.80, 0.95], without 0.58 [0.50, 0.66]; a random split would have claimed 0.73."
    )
    assert sentence in said(page(app, "compare"))
    page(app, "library")
    assert sentence in said(next(b for b in app.button if b.label == "Open the card").click().run())
    assert not app.exception


def test_what_noise_and_blur_cost_is_said_and_who_loses_more_only_where_it_is_shown(
    app: AppTest, library: Path
) -> None:
    milder = NOISE.model_copy(update={"severity": 1.0})
    with_figures(library, corruptions=[one.to_json() for one in (milder, NOISE, EVEN)])
    sentences = (
        "Noise of 8 of 255 gray levels, on 79 test images: teacher -38.0 [-45.0, -30.0], student -49.0 [-55.0, -40.0] "
        "points of balanced accuracy; the student loses more.",
        "A blur of 1 pixel in 128, on 79 test images: teacher -38.0 [-45.0, -30.0], student -49.0 [-55.0, -40.0] "
        "points of balanced accuracy; neither is shown to lose more.",
    )
    text = said(page(app, "compare"))
    page(app, "library")
    card = said(next(b for b in app.button if b.label == "Open the card").click().run())
    for sentence in sentences:
        assert sentence in text
        assert sentence in card
    assert "<td>+2.0 [-5.0, +9.0]</td>" in text
    assert text.count("Noise of 8 of 255 gray levels, on") == 1  # the milder one is in the table alone
    assert app.expander[1].label == "What noise, blur, JPEG, fewer pixels and gamma cost"


def test_what_the_rim_alone_tells_is_the_first_sentence_and_who_draws_more_from_it(app: AppTest, library: Path) -> None:
    with_figures(library, shortcuts=SHORTCUTS.to_json())
    text = said(page(app, "compare"))
    assert not app.exception
    assert (
        "From the rim alone the teacher still has a balanced accuracy of 0.43 [0.36, 0.52] and the student of 0.52 "
        "[0.45, 0.60], where chance is 0.33 (n = 79). What lies outside of the center tells the teacher and student "
        "something of the class. The student draws more from it than its teacher: +9.0 [+1.0, +17.0] points."
    ) in text
    assert "<td>+9.0 [+1.0, +17.0]</td>" in text


def test_a_rim_that_tells_nothing_is_not_said_to(app: AppTest, library: Path) -> None:
    level = {"teacher": Interval(0.34, 0.3, 0.4), "student": Interval(0.33), "gap": Interval(-0.01, -0.1, 0.1)}
    with_figures(library, shortcuts=SHORTCUTS.model_copy(update={"probes": (RIM.model_copy(update=level),)}).to_json())
    text = said(page(app, "compare"))
    assert "tells the" not in text
    assert "That distillation changed this is not shown." in text


def test_an_older_card_says_in_a_line_each_what_it_lacks(app: AppTest, library: Path, tiny_bundle: Bundle) -> None:
    sentences = [
        "This card is older than near-twins of training images (kdlight data check).",
        "This card is older than what noise and blur cost (kdlight evaluate --corruptions).",
        "This card is older than what the rim and a marker tell (kdlight evaluate --shortcuts).",
        "This card is older than thresholds of classes that must not be missed (a new training).",
        "This card is older than what its images look like (a new training).",
    ]
    assert set(sentences) <= set(lacking(tiny_bundle.card))
    page(app, "library")
    text = said(next(b for b in app.button if b.label == "Open the card").click().run())
    assert all(f"- {words.plain(sentence)}" in text for sentence in lacking(tiny_bundle.card))
    with_figures(library, twins=TWINS.to_json())
    assert "near-twins of training images (kdlight" not in said(page(app, "compare"))


def test_thresholds_and_what_they_cost_are_one_click_away(app: AppTest, library: Path) -> None:
    spoil(library / "tiny_mri", put(operating(), "operating"))
    row = '<th scope="row">Malignant</th><th scope="row">Student</th><td>90 %</td><td>25 %</td>'
    for name in ("compare", "library"):
        page(app, name)
        if name == "library":
            next(b for b in app.button if b.label == "Open the card").click().run()
        assert row in said(app)
        assert any(one.label.startswith("Classes that must not be missed") for one in app.expander)


def test_no_twin_is_said_and_a_model_without_one_part_is_left_out() -> None:
    assert measured.leak(TWINS.model_copy(update={"n": 0})) == [
        "None of 79 test images is a near-twin of a training image."
    ]
    bare = TwinScore(with_twin=Interval(1.0), without_twin=None, at_random=None)
    assert len(measured.leak(TWINS.model_copy(update={"models": {"teacher": bare}}))) == 1


def test_every_corruption_has_its_words() -> None:
    assert tuple(measured.KINDS) == KINDS
