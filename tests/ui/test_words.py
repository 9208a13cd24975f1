from __future__ import annotations

import pytest

from kdlight.metrics import Interval
from kdlight.ui import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.92345, "0.923"),
        (19.44, "19.4"),
        (1234.5, "1,230"),
        (0.001234, "0.00123"),
        (0, "0"),
        (9.999, "10"),
        (float("nan"), "not measured"),
    ],
)
def test_numbers_have_three_significant_digits_at_most(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.912, "91 %"), (0.0004, "< 1 %"), (0.9996, "> 99 %"), (0.0, "0 %"), (1.0, "100 %")]
)
def test_a_probability_is_never_rounded_to_certainty(p: float, text: str) -> None:
    assert words.percent(p) == text


def test_an_estimate_comes_with_its_interval() -> None:
    assert words.interval(Interval(0.917, 0.884, 0.951)) == "0.92 [0.88, 0.95]"
    assert words.interval(None) == "not measured"
    assert words.interval(Interval(0.5)) == "0.50"


def test_a_tiny_p_value_is_not_spelled_out() -> None:
    assert (words.p_value(3.4e-10), words.p_value(0.0214)) == ("< 0.001", "= 0.021")


def test_units() -> None:
    assert words.megabytes(8_912_345) == "8.91 MB"
    assert words.megabytes(1_400) == "1.4 kB"
    assert words.times(18.97) == "19 x"
    assert words.millions(207_123) == "207 k"
    assert (words.duration(40), words.duration(700), words.duration(7500)) == ("40 s", "12 min", "2 h 5 min")


def test_lists_read_as_sentences() -> None:
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"


def test_text_from_outside_is_harmless() -> None:
    assert words.plain("[click](http://x) :red[a] <b>\x00") == r"\[click\]\(http\://x\) \:red\[a\] \<b\>"


def test_only_errors_written_for_people_are_shown() -> None:
    assert words.sentence(ValueError("Give a\n folder.")) == "Give a folder."
    assert "/secret" not in words.sentence(RuntimeError("/secret/path"))
