"""Probes for shortcuts on models that read the rim alone, the center alone or a marker alone, and by the source."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics

from kdlight.inference.shortcuts import shortcuts
from kdlight.metrics.shortcuts import Shortcuts, above
from kdlight.trust.shortcuts import CORNER, MARKER, RIM, donors, in_center, marked

SIDE, COUNT = 64, 90
EDGE = 7  # no pixel of the outer 6 is farther inside
LABELS = np.arange(COUNT) % 3
GROUPS = np.arange(COUNT).astype(str)
INSIDE = np.zeros((SIDE, SIDE), bool)
INSIDE[EDGE:-EDGE, EDGE:-EDGE] = True
OUTSIDE = np.ones((SIDE, SIDE), bool)
OUTSIDE[EDGE - 1 : 1 - EDGE, EDGE - 1 : 1 - EDGE] = False
Model = Callable[[np.ndarray], np.ndarray]


def drawn() -> np.ndarray:
    """Rim and center both tell the class, by their gray: 40, 100 or 160 with noise."""
    rng = np.random.default_rng(0)
    gray = 40 + 60 * LABELS[:, None, None, None] + rng.normal(0, 8, (COUNT, SIDE, SIDE, 1))
    return np.clip(gray, 0, 255).astype(np.uint8).repeat(3, axis=3)


def reading(where: np.ndarray) -> Model:
    """A model that knows the three grays, and looks at no other place; uint8 (N, S, S, 3) to (N, 3)."""

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        gray = pixels[:, where].reshape(len(pixels), -1).mean(axis=1)
        logits = -np.abs(gray[:, None] - np.array([40, 100, 160])) / 10
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    return probabilities


def of_marker(pixels: np.ndarray) -> np.ndarray:
    """The last class for whatever has something white in its upper left corner, else by the center."""
    answers = reading(INSIDE)(pixels)
    white = (pixels[:, : SIDE // 4, : SIDE // 4] == 255).any(axis=(1, 2, 3))
    answers[white] = (0.0, 0.1, 0.9)
    return answers


def probed(teacher: Model, student: Model, pixels: np.ndarray | None = None, **columns: np.ndarray) -> Shortcuts:
    images = drawn() if pixels is None else pixels
    ask = {"teacher": teacher, "student": student}
    whole = {role: model(images) for role, model in ask.items()}
    return shortcuts(ask, whole, images, LABELS, ("a", "b", "c"), GROUPS, columns)  # type: ignore[arg-type]


def test_a_student_that_reads_the_rim_alone_is_told_from_a_teacher_that_reads_the_center() -> None:
    found = probed(reading(INSIDE), reading(OUTSIDE))
    assert (found.n, found.chance) == (COUNT, pytest.approx(1 / 3))
    assert (found.teacher.value, found.student.value) == (1, 1)  # type: ignore[union-attr]
    rim, center = found.of("rim"), found.of("center")
    assert rim is not None
    assert center is not None
    assert (rim.student.value, center.teacher.value) == (1, 1)  # type: ignore[union-attr]
    assert not above(rim.teacher, found.chance)
    assert not above(center.student, found.chance)
    assert above(rim.student, found.chance)
    assert rim.gap.above_zero  # type: ignore[union-attr]
    assert center.gap.below_zero  # type: ignore[union-attr]
    assert rim.teacher_changed.value > 0.5
    assert rim.student_changed.value == 0


def test_a_marker_flips_the_model_that_reads_it_and_no_other() -> None:
    marker = probed(reading(INSIDE), of_marker).of("marker")
    assert marker is not None
    assert marker.teacher_changed.value == 0
    assert 0 < marker.teacher_changed.high < 0.05  # type: ignore[operator]  # 0 of 90 proves no 0
    assert marker.student_changed.value == pytest.approx(2 / 3)
    assert marker.student.value == pytest.approx(1 / 3)  # type: ignore[union-attr]
    masked = marked(drawn())
    corner = round(CORNER * SIDE)
    masked[:, :corner, :corner] = 0
    assert masked.max() == drawn().max()  # it lies whole in the corner that is masked


def test_a_marker_that_stands_for_a_class_is_gone_with_the_corners_and_with_the_borders() -> None:
    stamped = np.where((LABELS == 2)[:, None, None, None], marked(drawn()), drawn())
    stamped[:, 20:44, 20:44] = 100  # the center says nothing
    where = np.zeros((SIDE, SIDE), bool)
    where[20:44, 20:44] = True

    def model(pixels: np.ndarray) -> np.ndarray:
        white = (pixels[:, : SIDE // 4, : SIDE // 4] > 240).any(axis=(1, 2, 3))
        return np.where(white[:, None], (0.0, 0.1, 0.9), (0.6, 0.3, 0.1))

    found = probed(model, reading(where), stamped)
    assert found.teacher.value == pytest.approx(2 / 3)  # type: ignore[union-attr]
    corners = found.of("corners")
    assert corners is not None
    assert corners.teacher.value == pytest.approx(1 / 3)  # type: ignore[union-attr]
    assert corners.teacher_changed.value == pytest.approx(1 / 3)


def test_the_rim_alone_by_another_writing_of_it() -> None:
    """Pixel by pixel and class by class, with scikit-learn's balanced accuracy."""
    model, shade = reading(OUTSIDE), np.random.default_rng(4).normal(0, 40, (COUNT, 1, 1, 1))
    images = np.clip(drawn() + shade, 0, 255).astype(np.uint8)
    rim = probed(model, model, images).of("rim")
    partners = donors(LABELS, GROUPS)
    assert partners is not None
    width, answers = round(SIDE * RIM), []
    for own, those in zip(images, partners, strict=True):
        total = np.zeros(3)
        for donor in those:
            composite = own.copy()
            composite[width:-width, width:-width] = images[donor][width:-width, width:-width]
            total += model(composite[None])[0]
        answers.append(int(total.argmax()))
    expected = sklearn.metrics.balanced_accuracy_score(LABELS, answers)
    assert 1 / 3 < expected < 1
    assert rim is not None
    assert rim.teacher.value == pytest.approx(expected)  # type: ignore[union-attr]
    assert in_center(SIDE).mean() == pytest.approx((1 - 2 * width / SIDE) ** 2)


def test_donors_are_one_of_each_class_and_never_of_the_same_patient() -> None:
    groups = np.array([str(i // 6) for i in range(COUNT)])
    partners = donors(LABELS, groups)
    assert partners is not None
    assert [LABELS[column].tolist() for column in partners.T] == [[c] * COUNT for c in range(3)]
    assert not (groups[partners] == groups[:, None]).any()
    assert donors(np.array([0, 0, 1]), np.array(["x", "y", "z"])) is None
    assert donors(np.array([0, 0, 1, 1]), np.array(["x", "y", "z", "z"])) is None


def test_where_no_donor_is_the_other_probes_are_made() -> None:
    model, labels = reading(INSIDE), np.array([0, 0, 1])
    images = drawn()[:3]
    ask = {"teacher": model, "student": model}
    whole = {role: of(images) for role, of in ask.items()}
    found = shortcuts(ask, whole, images, labels, ("a", "b", "c"), GROUPS[:3], {})  # type: ignore[arg-type]
    assert [probe.kind for probe in found.probes] == ["corners", "cropped", "marker"]
    assert found.of("rim") is None


def by_source(pull: float) -> np.ndarray:
    """Probabilities (N, 3) that the third class gains `pull` of where an image is from the second source."""
    rng = np.random.default_rng(1)
    p = rng.dirichlet((2, 2, 2), COUNT)
    away = pull * OF_TWO[:, None]
    return np.asarray((1 - away) * p + away * np.array([0, 0, 1]))


OF_TWO = np.random.default_rng(2).random(COUNT) < np.array([0.4, 0.3, 0.8])[LABELS]
SOURCE = np.where(OF_TWO, "two", "one").astype(object)


def test_the_shift_by_source_by_another_writing_of_it() -> None:
    """Source two goes with class c. Only images of a and b are compared, each with its own class."""
    answers = {"t": by_source(0.0), "s": by_source(0.5)}
    images = drawn()
    ask: dict[str, Model] = {"teacher": lambda _: answers["t"], "student": lambda _: answers["s"]}
    whole = {"teacher": answers["t"], "student": answers["s"]}
    found = shortcuts(ask, whole, images, LABELS, ("a", "b", "c"), GROUPS, {"source": SOURCE, "sex": SOURCE})  # type: ignore[arg-type]
    (of,) = found.sources
    one, two = of.values
    assert (of.column, one.source, two.source, two.toward, two.n) == (
        "source",
        "one",
        "two",
        "c",
        OF_TWO.sum(),
    )
    for role, p in whole.items():
        apart = [p[(c == LABELS) & OF_TWO, 2].mean() - p[(c == LABELS) & ~OF_TWO, 2].mean() for c in (0, 1)]
        assert getattr(two, role).value == pytest.approx(np.mean(apart))
    assert two.student.above_zero  # type: ignore[union-attr]
    assert two.teacher.spans_zero  # type: ignore[union-attr]
    assert two.gap.above_zero  # type: ignore[union-attr]
    guess = np.where(OF_TWO, 2, "ab".index(one.toward))
    assert of.told == pytest.approx(sklearn.metrics.balanced_accuracy_score(LABELS, guess))


def test_where_each_class_is_of_one_source_the_class_is_told_and_no_shift_can_be() -> None:
    source = np.where(LABELS == 2, "two", "one").astype(object)
    found = probed(reading(INSIDE), reading(INSIDE), source=source)
    (of,) = found.sources
    assert of.told == pytest.approx(2 / 3)
    assert [(one.teacher, one.gap) for one in of.values] == [(None, None)] * 2
    assert probed(reading(INSIDE), reading(INSIDE), source=np.full(COUNT, "one", dtype=object)).sources == ()


def test_the_marker_is_a_letter_of_an_eighth_of_the_side() -> None:
    black = np.zeros((1, 128, 128, 3), np.uint8)
    rows, columns = np.nonzero(marked(black)[0, ..., 0] > 127)
    assert np.ptp(rows) + 1 == pytest.approx(MARKER * 128, abs=2)
    assert max(rows.max(), columns.max()) < 128 / 4
    assert marked(black).max() == 255
