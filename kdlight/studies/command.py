"""The command that makes a study again, from its record."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from kdlight.bundle.study_record import StudyRecord
from kdlight.config import Recipe
from kdlight.studies.records import settings, shipped_recipes


def command_of(record: StudyRecord, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """`kdlight study RECIPE ... --seeds N`, with what the record says differently than the shipped recipe.

    A record that keeps its settings gives every one; of an older one those that it happens to tell. `defaults`: of each
    method its own options, so that they need not be named. A record that is of no shipped recipe gives RECIPE: the file
    is then with whoever ran it.
    """
    recipe = shipped_recipes().get(record.recipe)
    changes = _changes(record, recipe, defaults or {}) if recipe else {}
    options = [f"-o {shlex.quote(f'{key}={_value(value)}')}" for key, value in changes.items()]
    data = ["-o data.path=DATA"]
    start = record.models.teacher_start
    if start is not None and start.kind == "file":
        data.append("-o teacher.weights=WEIGHTS")
    seeds = [f"--seeds {len(record.seeds)}"]
    return " ".join(["kdlight study", record.recipe if recipe else "RECIPE", *options, *data, *seeds])


def _changes(record: StudyRecord, recipe: Recipe, defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    method = record.method.name
    both = {
        "data.name": (record.set_name, recipe.data.name),
        "data.modality": (record.data.modality, recipe.data.modality),
        "data.size": (record.data.size, recipe.data.size),
        "teacher.name": (record.models.teacher.architecture, recipe.teacher.name),
        "teacher.epochs": (record.epochs.get("teacher"), recipe.teacher.epochs),
        "student.name": (record.models.student.architecture, recipe.student.name),
        "student.init": (record.init, recipe.student.init),
        "distill.method": (method, recipe.distill.method),
        "train.epochs": (record.epochs.get("student"), recipe.train.epochs),
        "train.seed": (record.seeds[0].seed, recipe.train.seed),
    }
    changes: dict[str, Any] = {key: was for key, (was, now) in both.items() if was is not None and was != now}
    for section, values in settings(recipe).items():
        recorded = record.settings.get(section, {})
        changes |= {f"{section}.{key}": recorded[key] for key, now in values.items() if recorded.get(key, now) != now}
    usual = dict(defaults.get(str(method), {}))
    if "distill.method" not in changes:
        usual.update(recipe.distill.options)
    options = {key: value for key, value in record.method.options.items() if value != usual.get(key)}
    return changes | {f"distill.{key}": value for key, value in options.items()}


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
