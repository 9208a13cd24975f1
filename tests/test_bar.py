"""The bar: as TOML and back, changed by key, and what it does not take."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kdlight.contracts.bar import Bar, BarError, changed_bar, read_bar
from kdlight.contracts.options import OptionError

BAR = Bar(sensitivity={"malignant": 0.9, "Covid-19": 0.95}, coverage={"all": 0.85}, calibration=0.1, models="both")


def test_a_bar_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "bar.toml").write_text(BAR.to_toml(), encoding="utf-8")
    assert read_bar(tmp_path / "bar.toml") == BAR


def test_one_share_is_changed_and_the_others_stay() -> None:
    changed = changed_bar(BAR, ["sensitivity.malignant=0.8", "models='student'", "looks=2"])
    assert changed.sensitivity == {"malignant": 0.8, "Covid-19": 0.95}
    assert changed.roles == ("student",)
    assert changed.error == pytest.approx(0.025)
    assert BAR.roles == ("teacher", "student")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sensitivity.malignant=90", "sensitivity.malignant is 90; a share above 0 and below 1"),
        ("sensitivity.all=0.9", "sensitivity.all is a class's"),
        ("specificity=0.9", "specificity is 0.9; a section of keys"),
        ("calibration='good'", "calibration is 'good'; a share"),
        ("sensitivty.malignant=0.9", "Did you mean sensitivity?"),
        ("looks=0", "looks is 0; a whole number from 1 to 20"),
        ("models='none'", "one of student, teacher, both was expected"),
        ("sensitivity.malignant", "is no change of the bar"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(change: str, said: str) -> None:
    with pytest.raises(OptionError, match=said.replace(".", r"\.").replace("?", r"\?")):
        changed_bar(BAR, [change])


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bar.toml").write_text("sensitivity: 0.9", encoding="utf-8")
    with pytest.raises(BarError, match=r"bar\.toml is not valid TOML"):
        read_bar(tmp_path / "bar.toml")


def test_the_bar_in_the_documents_is_one() -> None:
    text = (Path(__file__).parents[1] / "docs" / "trust.md").read_text(encoding="utf-8")
    bar = Bar(**tomllib.loads(text.split("```toml\n")[1].split("```")[0]))
    assert bar.sensitivity == {"malignant": 0.9}
    assert set(Bar.model_fields) == set(bar.model_fields_set)
