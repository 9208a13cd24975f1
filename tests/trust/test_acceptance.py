"""A bar against cases whose faults were planted: each line that it spoils fails, and no other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import beta

from kdlight.bundle import Bundle, Card
from kdlight.contracts.bar import Bar, BarError, changed_bar
from kdlight.trust.acceptance import Answered, Case, Line, default_bar, held_against

CLASSES = ("benign", "malignant", "normal")


@pytest.fixture
def card(tiny_bundle: Bundle) -> Card:
    return tiny_bundle.card


def case(
    number: int,
    truth: str,
    student: str | None,
    teacher: str | None = None,
    unit: int | None = None,
    probability: float = 0.9,
    covered: bool = True,
) -> Case:
    """student, teacher: what they answer (the teacher rightly, where not stated); None where it was withheld."""

    def answered(answer: str) -> Answered:
        return Answered(answer=answer, probability=probability, possible=(answer,), covered=covered)

    both = {} if student is None else {"student": answered(student), "teacher": answered(teacher or truth)}
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return Case(sha256=digest, unit=number if unit is None else unit, truth=truth, **both)


def cases(n: int, answer: Callable[[int, str], str | None], **more: float) -> list[Case]:
    """n of each class; answer: what the student says of the i-th case of a class."""
    return [
        case(1000 * c + i, truth, answer(i, truth), **more)  # type: ignore[arg-type]
        for c, truth in enumerate(CLASSES)
        for i in range(n)
    ]


def right_but(every: int) -> Callable[[int, str], str]:
    """Right, but for every so-manieth case, which is taken for the next class."""
    return lambda i, truth: truth if i % every else CLASSES[(CLASSES.index(truth) + 1) % 3]


def outcomes(lines: tuple[Line, ...]) -> dict[str, str]:
    return {f"{line.criterion} {line.of or 'all'}": line.outcome for line in lines}


def test_the_default_bar_is_of_what_must_not_be_missed(card: Card) -> None:
    bar = default_bar(card)
    assert set(bar.sensitivity) == set(bar.specificity) == {"malignant"}
    assert bar.coverage["all"] < card.level


def test_a_model_that_answers_rightly_passes_every_line(card: Card) -> None:
    lines = held_against(cases(100, right_but(50), probability=0.95), default_bar(card), card)
    assert set(outcomes(lines).values()) == {"pass"}
    (found,) = (line for line in lines if line.criterion == "sensitivity")
    assert (found.n, found.value) == (100, 0.98)
    assert found.low == pytest.approx(beta.ppf(0.05, 98, 3))


def test_a_model_that_misses_one_class_fails_by_its_sensitivity(card: Card) -> None:
    """All that is malignant is called normal: seven lines, so the upper bound is at 0.05 / 7 (calibration is two)."""
    blind = cases(100, lambda i, truth: "normal" if truth == "malignant" else truth, probability=0.7)
    lines = held_against(blind, default_bar(card), card)
    told = outcomes(lines)
    assert told["sensitivity malignant"] == told["difference all"] == "fail"
    assert told["specificity malignant"] == told["coverage all"] == told["answered all"] == "pass"
    assert lines[0].high == pytest.approx(1 - (0.05 / 7) ** (1 / 100))


def test_labels_that_are_shifted_fail_nearly_everything(card: Card) -> None:
    shifted = cases(100, lambda i, truth: CLASSES[(CLASSES.index(truth) + 1) % 3], covered=False)
    told = outcomes(held_against(shifted, default_bar(card), card))
    assert [name for name, one in told.items() if one != "fail"] == ["answered all"]


def test_a_model_that_is_too_sure_fails_by_its_calibration_alone(card: Card) -> None:
    bar = changed_bar(
        default_bar(card), ["sensitivity.malignant=0.6", "specificity.malignant=0.6", "difference.all=0.4"]
    )
    honest, boasting = (cases(100, right_but(5), probability=p) for p in (0.8, 0.99))
    assert set(outcomes(held_against(honest, bar, card)).values()) == {"pass"}
    told = outcomes(held_against(boasting, bar, card))
    assert [name for name, one in told.items() if one != "pass"] == ["calibration all"]
    assert told["calibration all"] == "fail"


def test_few_cases_are_too_few_and_an_empty_class_tells_nothing(card: Card) -> None:
    few = [case(i, "benign", "benign") for i in range(5)]
    found, *_ = held_against(few, default_bar(card), card)
    assert (found.n, found.value, found.low, found.high, found.outcome) == (0, None, 0.0, 1.0, "too few")
    assert found.more is not None
    assert found.more >= 29
    assert {line.outcome for line in held_against((), default_bar(card), card)} == {"too few"}


def test_what_is_withheld_is_neither_right_nor_wrong_nor_dropped(card: Card) -> None:
    """Half of the malignant cases are withheld, all others right: its sensitivity is over the rest, and it is said."""
    bar = changed_bar(default_bar(card), ["answered.malignant=0.9"])
    lines = held_against(cases(100, lambda i, t: None if t == "malignant" and i % 2 else t), bar, card)
    by_name = {f"{line.criterion} {line.of or 'all'}": line for line in lines}
    found = by_name["sensitivity malignant"]
    assert (found.n, found.withheld, found.value, found.outcome) == (50, 50, 1.0, "pass")
    assert by_name["specificity malignant"].withheld == 0
    assert by_name["answered malignant"].value == 0.5
    assert by_name["answered malignant"].outcome == by_name["answered all"].outcome == "fail"


def test_the_images_of_a_patient_are_one_case(card: Card) -> None:
    """Twenty patients with ten images each are twenty cases, whichever image stands for them."""
    images = [case(i, "malignant", "malignant", unit=i // 10) for i in range(200)]
    found = held_against(images, default_bar(card), card)[0]
    assert (found.n, found.outcome) == (20, "too few")
    assert found.low == pytest.approx(0.05 ** (1 / 20))


def test_the_image_that_stands_for_a_patient_is_nobodys_choice(card: Card) -> None:
    """A patient in whom every second image is found counts as found in half of all cases."""
    images = [case(i, "malignant", "malignant" if i % 2 else "benign", unit=i // 6) for i in range(6 * 400)]
    found = held_against(images, default_bar(card), card)[0]
    assert found.n == 400
    assert abs((found.value or 0) - 0.5) < 3 * np.sqrt(0.25 / 400)


def test_not_ruled_out_counts_as_found_where_the_bar_says_so(card: Card) -> None:
    doubtful = Answered(answer="benign", probability=0.6, possible=("benign", "malignant"), covered=True)
    some = [case(i, "malignant", "benign").replace(student=doubtful) for i in range(60)]
    bar = Bar(sensitivity={"malignant": 0.9})
    assert held_against(some, bar, card)[0].outcome == "fail"
    assert held_against(some, bar.changed(rule="possible"), card)[0].outcome == "pass"


def test_planned_looks_share_the_error(card: Card) -> None:
    """29 of 29 prove 90 % at one look; at two planned ones 36 are needed: 0.9^36 < 0.025 < 0.9^35."""
    bar = Bar(sensitivity={"malignant": 0.9}, looks=2)
    told = [held_against([case(i, "malignant", "malignant") for i in range(n)], bar, card)[0].outcome for n in (35, 36)]
    assert told == ["too few", "pass"]


def test_both_models_have_their_own_lines(card: Card) -> None:
    blind = [case(i, "malignant", "malignant", teacher="normal") for i in range(60)]
    lines = held_against(blind, Bar(sensitivity={"malignant": 0.9}, models="both"), card)
    assert {line.model: line.outcome for line in lines} == {"teacher": "fail", "student": "pass"}


def test_a_class_that_the_bundle_does_not_know_is_refused(card: Card) -> None:
    with pytest.raises(BarError, match=r"sensitivity\.melanoma is of a class that the bundle does not know"):
        held_against((), Bar(sensitivity={"melanoma": 0.9}), card)
    with pytest.raises(BarError, match="The bar names nothing to test"):
        held_against((), Bar(), card)
