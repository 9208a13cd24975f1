"""What is drawn: who is beaten on both counts, which runs may be taken over, and a file with every point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import PIL.Image

from kdlight import runs
from kdlight.contracts.recipe import read_recipe, shipped
from tools import pareto

GIVEN = ["data.path=nowhere", "train.alone=false"]


def network(name: str, ms: float) -> dict[str, Any]:
    return {"name": name, "latency": {"128": {"p50_ms": ms}, "224": {"p50_ms": 3 - ms}}}


def point(name: str, value: float, start: str = "random") -> dict[str, Any]:
    score = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return {
        "set": "s",
        "size": 128,
        "network": name,
        "start": start,
        "n": 100,
        "teacher": {"value": 0.9},
        "student": score,
    }


NANO, LARGE, SMALL = pareto.NETWORKS
NETWORKS = [network(NANO, 1.0), network(LARGE, 1.2), network(SMALL, 0.8)]
POINTS = [point(NANO, 0.8), point(LARGE, 0.7), point(SMALL, 0.6), point(NANO, 0.85, "teacher")]


def test_dominated_means_no_better_on_either_count() -> None:
    assert pareto.dominated(POINTS, NETWORKS) == {NANO: [], LARGE: [NANO], SMALL: []}
    even = [point(NANO, 0.8), point(LARGE, 0.8)]
    assert pareto.dominated(even, [network(NANO, 1.0), network(LARGE, 1.0)]) == {NANO: [], LARGE: []}


def test_networks_faster_than_nano_are_named_by_size() -> None:
    assert pareto.faster_than_nano(NETWORKS) == {"128": [SMALL], "224": [LARGE]}


def test_the_three_start_alike_and_differ_in_nothing_else() -> None:
    recipes = [read_recipe(shipped()["kdlight-busi3"], [*GIVEN, *c.overrides()]) for c in pareto.CONTENDERS]
    *alike, own = recipes
    assert [r.student.name for r in alike] == list(pareto.NETWORKS)
    assert {r.student.init for r in alike} == {"random"}
    assert len({(repr(r.data), repr(r.teacher), repr(r.distill), repr(r.train)) for r in recipes}) == 1
    assert own.student == read_recipe(shipped()["kdlight-busi3"]).student.changed(name=pareto.NANO)


def test_a_student_is_taken_over_only_from_the_same_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(shipped()["kdlight-busi3"], GIVEN)
    whole = read_recipe(shipped()["kdlight-busi3"], ["data.path=nowhere"])
    other = read_recipe(shipped()["kdlight-busi3"], ["data.path=nowhere", "train.epochs=3"])
    for name, given, expected in (("a", whole, True), ("b", other, False)):
        assert pareto.same(recipe, runs.create(given, path=tmp_path / name)) is expected
    assert not pareto.same(recipe, runs.Run(tmp_path / "none"))


def test_every_point_is_drawn(tmp_path: Path) -> None:
    record = {"networks": NETWORKS, "points": POINTS, "dominated": {"s": {}}, "faster_than_nano": {}}
    pareto.draw(record, tmp_path / "p.png")
    colors = {color for _, color in PIL.Image.open(tmp_path / "p.png").convert("RGB").getcolors(2**20) or ()}
    for hexadecimal in pareto.COLORS.values():
        assert tuple(bytes.fromhex(hexadecimal[1:])) in colors
