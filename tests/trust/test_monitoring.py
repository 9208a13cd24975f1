"""Records that are bound by hashes, and the stop rule on cases that come later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdlight.bundle import Bundle
from kdlight.contracts.bar import Bar, BarError
from kdlight.trust.acceptance import Case
from kdlight.trust.monitoring import Result, ResultError, digest_of, looked, read_result, watches
from tests.trust.test_acceptance import case

BAR = Bar(sensitivity={"malignant": 0.9}, answered={"all": 0.9})


def record(**more: object) -> Result:
    values = {"created": "2026-01-01T00:00:00+00:00", "versions": {}, "bundle": "tiny_mri", "bundle_name": "Tiny MRI"}
    values |= {"bundle_version": "1", "bundle_sha256": "0" * 64, "bar_sha256": "1" * 64, "bar": BAR, "data": "mine"}
    return Result.model_validate({"split": "all", "verdict": "undecided", "cases": (), **values, **more}).sealed()


def batch(start: int, n: int, missed: int, withheld: int = 0) -> list[Case]:
    told = [None] * withheld + ["normal"] * missed + ["malignant"] * (n - missed - withheld)
    return [case(start + i, "malignant", answer) for i, answer in enumerate(told)]


def test_a_record_is_read_back_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    written = record(cases=(case(1, "malignant", "benign"),))
    (tmp_path / "record.json").write_text(written.text(), encoding="utf-8")
    assert read_result(tmp_path / "record.json") == written
    values = json.loads(written.text())
    assert digest_of(values) == written.sha256
    values["cases"][0]["student"]["answer"] = "malignant"
    with pytest.raises(ResultError, match="was changed after it was written"):
        read_result(json.dumps(values).encode())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "kdlight.acceptance/9"}', "[" * 100_000, "\x00"])
def test_what_is_no_record_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ResultError, match=r"record.*Give that file\.$"):
        read_result(text.encode())


@pytest.mark.parametrize("change", [{"bar": 0}, {"bar": 1}, {"stakes": [0.1]}, {"criterion": "difference"}, {"n": -1}])
def test_a_record_with_a_watch_that_none_can_be_is_refused(tiny_bundle: Bundle, change: dict[str, object]) -> None:
    """With a digest that fits: who changed it knows how to make one."""
    values = json.loads(record(watches=watches(BAR, tiny_bundle.card)).text())
    values["watches"][0] |= change
    values["sha256"] = digest_of(values)
    with pytest.raises(ResultError, match="is no record of an acceptance"):
        read_result(json.dumps(values).encode())


def test_a_bundle_that_misses_more_is_stopped_and_stays_stopped(tiny_bundle: Bundle) -> None:
    now, stopped = watches(BAR, tiny_bundle.card), []
    assert [one.limit for one in now] == [40, 40]
    for number, missed in enumerate((0, 1, 5, 6, 5, 5, 0)):
        now = looked(now, number, batch(100 * number, 20, missed), BAR)
        stopped.append([one.stop for one in now])
    assert stopped[:2] == [[False, False]] * 2
    assert stopped[-2:] == [[True, False]] * 2
    assert (now[0].n, now[0].right) == (140, 118)


def test_a_bundle_that_withholds_ever_more_is_stopped_too(tiny_bundle: Bundle) -> None:
    now = watches(BAR, tiny_bundle.card)
    for number in range(4):
        now = looked(now, number, batch(100 * number, 20, 0, withheld=12), BAR)
    assert [one.stop for one in now] == [False, True]
    assert now[0].n == 32


def test_a_bar_without_a_line_to_watch_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(BarError, match="no line of sensitivity or answered"):
        watches(Bar(calibration=0.1), tiny_bundle.card)
