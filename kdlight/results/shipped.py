"""The shipped recipes, and of which of them a record is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from kdlight.config import Recipe, read_recipe, shipped
from kdlight.results.settings import settings

FREE = ("seed", "alone", "scratch", "same_start")
"""Of [train] what is no part of a schedule: it only says which seeds and baselines were run."""


@cache
def recipes() -> Mapping[str, Recipe]:
    """The shipped recipes by name; read once, they do not change while kdlight runs."""
    return {name: read_recipe(path) for name, path in shipped().items()}


def recipe_of(name: str, facts: Mapping[str, Any]) -> str:
    """The shipped recipe that a record is of. Where it names only its set, its models, schedule and method must tell.

    The pair of KDLight by another method is still KDLight's: its recipe is taken where several fit.
    """
    known = recipes()
    if name in known:
        return name
    models = facts.get("architecture") or {}
    said = (
        lambda r: (r.teacher.name, r.student.name) == (models.get("teacher"), models.get("student")),
        lambda r: "settings" in facts and _schedule(settings(r)) == _schedule(facts["settings"]),
        lambda r: r.distill.method == facts.get("method"),
        lambda r: r.student.init == facts.get("init"),
        lambda r: r.data.size == facts.get("size"),
        lambda r: all(facts.get("options", {}).get(key) == value for key, value in r.distill.options.items()),
    )
    fitting = {n: r for n, r in known.items() if r.name == name}
    for fits in said:
        fitting = {n: r for n, r in fitting.items() if fits(r)} or fitting
    return next(iter(fitting)) if len(fitting) == 1 else next((n for n in fitting if n == f"kdlight-{name}"), name)


def _schedule(said: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in said.get("train", {}).items() if key not in FREE}
