"""The ledger of forgetting: counted by hand, against the binomial sum, with forgetting planted and without."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from kdlight import metrics
from kdlight.metrics.ledger import Ledger, holm, ledger

NAMES = ("mel", "nv", "bkl")


def answers(classes: list[int]) -> np.ndarray:
    return np.asarray(0.7 * np.eye(3)[classes] + 0.1)


def mcnemar(lost: int, gained: int, sides: int) -> float:
    """The binomial sum itself."""
    n = lost + gained
    tail = sum(comb(n, k) for k in range(max(lost, gained), n + 1)) / 2**n
    return min(1.0, sides * tail)


def test_every_image_is_in_one_cell_and_every_change_is_counted() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    teacher = answers([0, 0, 1, 1, 1, 1, 0, 2])
    student = answers([0, 1, 0, 2, 1, 0, 0, 2])
    (step,) = ledger({"teacher": teacher, "student": student}, labels, NAMES).steps
    assert (step.before, step.after, step.changed) == ("teacher", "student", 4)
    mel = step.classes["mel"].counts
    cells = (mel.both_right, mel.first_only, mel.second_only, mel.both_wrong_alike, mel.both_wrong_apart)
    assert cells == (1, 1, 1, 0, 1)
    assert (step.classes["nv"].before, step.classes["nv"].after, step.classes["nv"].n) == (2, 1, 3)
    assert (step.all.before, step.all.after, step.all.n) == (5, 4, 8)
    assert sum(change.n for change in step.classes.values()) == 8


def lost_and_gained(lost: int, gained: int, n: int = 57) -> dict[str, np.ndarray]:
    """Melanomas of which so many are lost and gained, and as many nevi that nobody mistakes."""
    right = [0] * n
    teacher, student = right.copy(), right.copy()
    student[:lost] = [1] * lost
    teacher[lost : lost + gained] = [1] * gained
    return {"teacher": answers(teacher + [1] * n), "student": answers(student + [1] * n)}


@pytest.mark.parametrize(("lost", "gained"), [(12, 2), (10, 0), (15, 5), (13, 3), (3, 3), (0, 4)])
def test_the_test_is_mcnemars_and_holms(lost: int, gained: int) -> None:
    labels = np.repeat([0, 1], 57)
    found = ledger(lost_and_gained(lost, gained), labels, NAMES, ("mel",)).steps[0]
    mel, nv = found.classes["mel"], found.classes["nv"]
    assert mel.p == pytest.approx(mcnemar(lost, gained, 2))
    assert mel.adjusted == pytest.approx(min(1.0, 2 * mel.p))  # two classes have images
    assert (nv.p, nv.adjusted, nv.alarm) == (1.0, 1.0, False)
    assert mel.alarm == (lost > gained and mcnemar(lost, gained, 1) < 0.05)
    assert mel.p == pytest.approx(
        metrics.mcnemar(*(p[:57] for p in lost_and_gained(lost, gained).values()), labels[:57])
    )


def test_melanoma_that_was_forgotten_raises_an_alarm_and_forgotten_nevi_do_not() -> None:
    """38 of 57 to 28 of 57, as a student of seven classes did: ten fewer, with five gained."""
    labels = np.repeat([0, 1], 57)
    assert ledger(lost_and_gained(15, 5), labels, NAMES, ("mel",)).alarms
    assert not ledger(lost_and_gained(15, 5), labels, NAMES, ("nv",)).alarms
    assert not ledger(lost_and_gained(5, 15), labels, NAMES, ("mel",)).alarms


def test_holm_by_its_definition() -> None:
    """Sorted, times how many are left, never falling; a worked example of three."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({}) == {}
    rng = np.random.default_rng(0)
    ps = rng.random(20)
    expected = [max((20 - sum(ps < q)) * q for q in ps if q <= p) for p in ps]
    raised = holm({str(i): float(p) for i, p in enumerate(ps)})
    assert [raised[str(i)] for i in range(20)] == pytest.approx(np.minimum(expected, 1))


def test_no_alarm_where_chance_alone_changes_answers() -> None:
    """The student is as good as the teacher, five images of each lesion: by groups alarms are at most 5 %."""
    alarms = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        lesion = np.repeat(np.arange(40), 5)
        sides = {name: np.where(rng.random(40) < 0.7, 0, 1)[lesion] for name in ("teacher", "student")}
        found = ledger({k: answers(v.tolist()) for k, v in sides.items()}, np.zeros(200, int), NAMES, ("mel",), lesion)
        alarms.append(bool(found.alarms))
    assert np.mean(alarms) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_a_column_is_counted_by_value_and_blank_is_left_out() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    teacher, student = answers([0, 0, 1, 1, 1]), answers([1, 1, 1, 0, 1])
    sex = np.array(["f", "f", "m", "f", ""], dtype=object)
    columns = ledger({"teacher": teacher, "student": student}, labels, NAMES, columns={"sex": sex}).steps[0].columns
    assert {value: (c.n, c.counts.first_only) for value, c in columns["sex"].items()} == {"f": (3, 3), "m": (1, 0)}


def test_a_way_of_several_models_has_a_step_between_each_two_and_survives_json() -> None:
    labels = np.array([0, 1])
    way = {name: answers([0, 1]) for name in ("teacher", "student", "ONNX", "int8")} | {"int8": answers([1, 1])}
    found = ledger(way, labels, NAMES, ("mel",))
    assert [(s.before, s.after, s.changed) for s in found.steps] == [
        ("teacher", "student", 0),
        ("student", "ONNX", 0),
        ("ONNX", "int8", 1),
    ]
    assert Ledger.model_validate(found.to_json()) == found
