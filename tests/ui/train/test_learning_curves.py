"""Curves of different objectives share no axis, and an axis makes sense from the first epoch on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from kdlight.runs import Phase
from kdlight.ui import theme
from kdlight.ui.train import learning_curves
from tests.epochs import epoch

INSIDE = learning_curves.HEIGHTS["loss"] - 84
"""Height in pixels that the browser leaves to the lines of a loss panel, its axis and title taken off."""


@pytest.fixture(autouse=True)
def dark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theme, "kind", lambda: "dark")


def a_log(epochs: int, asked: int = 15, phases: tuple[Phase, ...] = ("teacher", "alone", "scratch", "student")) -> Any:
    return [
        epoch(phase, number, asked, loss=2.0 / number, val_balanced_accuracy=0.7)
        for phase in phases
        for number in range(1, epochs + 1)
    ]


def drawn(phases: tuple[str, ...], field: str, log: Any) -> dict[str, Any]:
    found: dict[str, Any] = learning_curves.panel(log, phases, field, "title").to_dict()
    return found


def line_of(chart: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = chart["layer"][0] if "layer" in chart else chart
    return found


def test_each_objective_has_a_panel_and_every_phase_is_in_one() -> None:
    phases = [phase for of in learning_curves.OBJECTIVES.values() for phase in of]
    assert sorted(phases) == sorted(learning_curves.SERIES)
    assert all(
        len(of) == 1 or set(of) == {"alone", "scratch", "same_start"} for of in learning_curves.OBJECTIVES.values()
    )
    assert {row["role"] for row in learning_curves.rows(a_log(2), ("scratch",), "loss")} == {"student from scratch"}


@pytest.mark.parametrize(
    ("longest", "ticks"),
    [
        (1, [1]),
        (2, [1, 2]),
        (7, [1, 2, 3, 4, 5, 6, 7]),
        (12, [1, 2, 4, 6, 8, 10, 12]),
        (15, [1, 5, 10, 15]),
        (40, [1, 10, 20, 30, 40]),
        (1000, [1, 200, 400, 600, 800, 1000]),
    ],
)
def test_epochs_are_named_by_whole_numbers(longest: int, ticks: list[int]) -> None:
    assert learning_curves.epoch_ticks(longest) == ticks


def test_after_one_epoch_the_axis_already_reaches_to_the_last() -> None:
    encoding = line_of(drawn(("teacher",), "loss", a_log(1)))["encoding"]
    assert encoding["x"]["scale"]["domain"] == [1, 15]
    assert encoding["x"]["axis"]["values"] == [1, 5, 10, 15]
    low, high = encoding["y"]["scale"]["domain"]
    assert low == 0
    assert 2.0 < high < 2.5


def test_a_training_of_one_epoch_has_an_axis() -> None:
    encoding = line_of(drawn(("teacher",), "loss", a_log(1, asked=1)))["encoding"]
    assert encoding["x"]["scale"]["domain"] == [0.5, 1.5]
    assert encoding["x"]["axis"]["values"] == [1]


@pytest.mark.parametrize(
    ("values", "domain"),
    [
        ([0.7], (0.6, 0.9)),
        ([0.333, 0.334], (0.2, 0.5)),
        ([1.0], (0.7, 1.0)),
        ([0.0], (0.0, 0.3)),
        ([0.12, 0.97], (0.1, 1.0)),
    ],
)
def test_scores_are_drawn_over_whole_tenths(values: list[float], domain: tuple[float, float]) -> None:
    found = learning_curves.score_domain(values)
    assert found == pytest.approx(domain)
    assert found[0] <= min(values)
    assert max(values) <= found[1]


def test_a_loss_below_zero_is_in_sight() -> None:
    low, high = learning_curves.loss_domain([-0.5, 0.5])
    assert low < -0.5
    assert high > 0.5
    assert learning_curves.loss_domain([0.0]) == (0.0, 0.08)


@pytest.mark.parametrize("height", learning_curves.HEIGHTS.values())
def test_names_of_lines_that_end_together_stand_apart_within_the_axis(height: int) -> None:
    least = learning_curves.APART / height
    places = learning_curves.name_places({"a": 0.99, "b": 1.0, "c": 0.5}, 0.0, 1.0, height)
    assert places["c"] == 0.5
    assert places["b"] <= 1.0
    assert places["b"] - places["a"] == pytest.approx(least)
    low = learning_curves.name_places({"a": 0.0, "b": 0.0}, 0.0, 1.0, height)
    assert low == pytest.approx({"a": 0.0, "b": least})


@pytest.mark.parametrize("epochs", [1, 2, 15])
def test_the_names_of_a_low_panel_have_the_height_and_the_width_of_a_line_of_text(epochs: int) -> None:
    phases = ("alone", "scratch", "same_start")
    chart = drawn(phases, "loss", a_log(epochs, epochs, phases))
    names = list(chart["datasets"][chart["layer"][1]["data"]["name"]])
    low, high = line_of(chart)["encoding"]["y"]["scale"]["domain"]
    rows = sorted(INSIDE * (row["value"] - low) / (high - low) for row in names)
    assert len(rows) == 3
    assert all(above - below > 17 for below, above in pairwise(rows))  # pixels, at a font of 13
    first, last = line_of(chart)["encoding"]["x"]["scale"]["domain"]
    behind = (last - max(epochs, 1)) / (last - first)
    assert behind > 0.36  # of some 360 px at a window of 1280 px


def test_names_of_lines_that_stopped_at_the_same_earlier_epoch_stand_apart() -> None:
    log = [*a_log(1, 2, ("alone", "scratch")), *a_log(2, 2, ("same_start",))]
    chart = drawn(("alone", "scratch", "same_start"), "loss", log)
    low, high = line_of(chart)["encoding"]["y"]["scale"]["domain"]
    above = chart["datasets"][chart["layer"][1]["layer"][1]["data"]["name"]]
    one, two = (INSIDE * row["value"] / (high - low) for row in above)
    assert abs(one - two) >= learning_curves.APART - 1e-6


def test_the_score_panel_shows_every_model_in_its_color() -> None:
    color = line_of(drawn(tuple(learning_curves.SERIES), learning_curves.SCORE, a_log(3)))["encoding"]["color"]["scale"]
    shown = dict(zip(color["domain"], color["range"], strict=True))
    assert shown["teacher"] == theme.COLORS["dark"]["teacher"]
    assert shown["student"] == theme.COLORS["dark"]["student"]
    assert set(shown) == {"teacher", "student", "student alone", "student from scratch"}
