"""The command that makes a study again, from its record."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from kdlight.config import Recipe
from kdlight.results.records import Record
from kdlight.results.settings import settings
from kdlight.results.shipped import recipes


def of(record: Record, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """`kdlight study RECIPE ... --seeds N`, with what the record says differently than the shipped recipe.

    A record that keeps its settings gives every one; of an older one those that it happens to tell. `defaults`: of each
    method its own hyper-parameters, so that they need not be named. A record that is of no shipped recipe gives RECIPE:
    the file is then with whoever ran it.
    """
    recipe = recipes().get(record.recipe)
    changes = _changes(record, recipe, defaults or {}) if recipe else {}
    options = [f"-o {shlex.quote(f'{key}={_value(value)}')}" for key, value in changes.items()]
    data = ["-o data.path=DATA"]
    if record.fact("start_kind") == "file":
        data.append("-o teacher.weights=WEIGHTS")
    seeds = [f"--seeds {len(record.seeds)}"]
    return " ".join(["kdlight study", record.recipe if recipe else "RECIPE", *options, *data, *seeds])


def _changes(record: Record, recipe: Recipe, defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    said = {
        "data.name": (record.data, recipe.data.name),
        "data.modality": (record.fact("modality"), recipe.data.modality),
        "data.size": (record.fact("size"), recipe.data.size),
        "teacher.name": (record.teacher, recipe.teacher.name),
        "teacher.epochs": (record.fact("epochs", "teacher"), recipe.teacher.epochs),
        "student.name": (record.student, recipe.student.name),
        "student.init": (record.fact("init"), recipe.student.init),
        "distill.method": (record.fact("method"), recipe.distill.method),
        "train.epochs": (record.fact("epochs", "student"), recipe.train.epochs),
        "train.seed": (record.seeds[0]["seed"], recipe.train.seed),
    }
    changes = {key: was for key, (was, now) in said.items() if was is not None and was != now}
    for section, values in settings(recipe).items():
        kept = (record.fact("settings") or {}).get(section, {})
        changes |= {f"{section}.{key}": kept[key] for key, now in values.items() if key in kept and kept[key] != now}
    own = dict(defaults.get(str(record.fact("method")), {}))
    if "distill.method" not in changes:
        own.update(recipe.distill.options)
    for name, value in (record.fact("options") or {}).items():
        if value != own.get(name):
            changes[f"distill.{name}"] = value
    return changes


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
