"""What the finished runs of a study say together: study.json, the one record behind CLI, page and card.

Scores are balanced accuracies, 0 to 1, by model: "teacher", "student" (taught) and "alone". Beside them stand, where
the runs have them, "scratch" (alone from random weights), "same_start" (alone from the starting weights of the taught
one), "partner" (the second model of a pair that learned together;
the bundle ships the first, the student) and "ensemble" (the mean of the pair's calibrated probabilities).

schema, recipe (its name), metric, teachers (how many were trained: 1);
seeds: [{"seed", model: score}]; mean and deviation: {model: score}, deviation null for one seed;
gain_over_alone, gap_to_teacher, gain_over_scratch, gain_over_same_start: {"value", "low", "high"} or null, the
student's score less the other's; gain_of_partner, gain_of_ensemble: theirs less that of the student alone. The interval
is a bootstrap over test groups, where an image that several seeds answered is drawn with all of them;
gain: gain_over_alone in words, in points; retained: student / teacher;
mcnemar_pooled_p: exact McNemar test of taught against alone over the answers of all seeds in a row. It takes each
answer for an image of its own; but seeds answer the same images, and images share groups, which makes this p too small:
the interval is what decides. mcnemar_p: the same of the first seed's answers only;
data: {"name", "title", "modality", "size" (px), "classes" (names), "images": {"train", "val", "test"}};
models: {"teacher" | "student": {"architecture", "parameters", "macs" (at that size), "bytes" (float16 on disk),
"onnx_bytes" (student only), "start" (where the first weights came from)}};
method: {"name", "paper", "options": {name: value}}; epochs: {model: those asked for};
minutes: {model: minutes of training, the mean over seeds}, from the log's seconds;
settings: the recipe's sections, see `kdlight.results.settings`.
What a run without its bundle or its log cannot say is null.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from safetensors.numpy import load_file

from kdlight import bundle as bundles
from kdlight import training
from kdlight.config import Recipe
from kdlight.distillers import find, hyperparameters
from kdlight.metrics import Interval, balanced_accuracy, difference, mcnemar
from kdlight.results import over_alone
from kdlight.results.settings import settings
from kdlight.runs import Run
from kdlight.training.phases import PARTNER

SCHEMA = "kdlight.study/1"
MODELS = ("teacher", "student", "alone")
SCRATCH = "scratch"
"""The student alone from random weights, where the recipe asks for it (train.scratch)."""
SAME_START = "same_start"
"""The student alone from the starting weights of the taught one, where the recipe asks for it (train.same_start)."""
ENSEMBLE = "ensemble"
"""Of a method that trains two models: the mean of the calibrated probabilities of the student and its partner."""
BESIDES = (SCRATCH, SAME_START, PARTNER, ENSEMBLE)
"""Models that only some studies have."""
Answers = dict[str, Any]
"""Test answers: probabilities (N, K) by model, labels (N,), groups (N,)."""


def summarize(recipe: Recipe, finished: list[Run], name: str = "") -> dict[str, Any]:
    """The study's record, as this module says it. `name`: the recipe's own; the set's if empty."""
    each = [answers(run) for run in finished]
    pooled = concatenated(each)
    models = (*MODELS, *(model for model in BESIDES if model in pooled))
    scores = {m: np.array([balanced_accuracy(a[m], a["labels"]) for a in each], dtype=float) for m in models}
    first = recipe.train.seed
    rows = [{"seed": first + i, **{m: float(scores[m][i]) for m in models}} for i in range(len(each))]
    mean = {m: float(scores[m].mean()) for m in models}
    spread = {m: float(scores[m].std(ddof=1)) if len(rows) > 1 else None for m in models}
    gain, loss = (paired(pooled, pooled["student"], pooled[other]) for other in ("alone", "teacher"))
    return {
        "schema": SCHEMA,
        "recipe": name or recipe.name,
        "metric": "balanced_accuracy",
        "teachers": 1,
        "seeds": rows,
        "mean": mean,
        "deviation": spread,
        "gain_over_alone": _json(gain),
        "gap_to_teacher": _json(loss),
        **_besides(pooled),
        "gain": words(gain),
        "retained": mean["student"] / mean["teacher"],
        "mcnemar_p": mcnemar(each[0]["student"], each[0]["alone"], each[0]["labels"]),
        "mcnemar_pooled_p": mcnemar(pooled["student"], pooled["alone"], pooled["labels"]),
        **describe(recipe, finished),
        "settings": settings(recipe),
    }


def answers(run: Run) -> Answers:
    """A finished run's test answers, with the mean of a pair that learned together."""
    found: Answers = load_file(run.path / training.PREDICTIONS)
    if PARTNER in found:
        found[ENSEMBLE] = (found["student"] + found[PARTNER]) / 2
    return found


def pool(finished: list[Run]) -> Answers:
    """The test answers of several runs in a row."""
    return concatenated([answers(run) for run in finished])


def concatenated(each: list[Answers]) -> Answers:
    """What all of them have, in a row."""
    shared = [name for name in each[0] if all(name in found for found in each)]
    return {name: np.concatenate([found[name] for found in each]) for name in shared}


def paired(pooled: Answers, first: Any, second: Any) -> Interval | None:
    """Balanced accuracy of the first probabilities (N, K) less that of the second, over test groups."""
    return difference(balanced_accuracy, first, second, pooled["labels"], pooled["groups"])


def _besides(pooled: Answers) -> dict[str, Any]:
    """The gains that only some studies have."""
    pairs = {
        "gain_over_scratch": ("student", SCRATCH),
        f"gain_over_{SAME_START}": ("student", SAME_START),
        "gain_of_partner": (PARTNER, "alone"),
        "gain_of_ensemble": (ENSEMBLE, "alone"),
    }
    return {
        name: _json(paired(pooled, pooled[one], pooled[other]))
        for name, (one, other) in pairs.items()
        if one in pooled and other in pooled
    }


def describe(recipe: Recipe, finished: list[Run]) -> dict[str, Any]:
    """What was trained on what, and for how long: the keys data, models, method, epochs and minutes of a summary."""
    card = bundles.load(finished[0].bundle).card if finished[0].bundle.is_dir() else None
    kind = find(recipe.distill.method)
    arms = (*MODELS, *(name for name in (SCRATCH, SAME_START) if getattr(recipe.train, name)))
    counts = {split: sum(of.values()) for split, of in card.data.counts.items()} if card else None
    return {
        "data": {
            "name": recipe.name,
            "title": recipe.data.title,
            "modality": recipe.data.modality,
            "size": recipe.data.size,
            "classes": [entry.name for entry in card.classes] if card else None,
            "images": counts,
        },
        "models": {
            "teacher": card.teacher.to_json() if card else {"architecture": recipe.teacher.name},
            "student": card.student.to_json() if card else {"architecture": recipe.student.name},
        },
        "method": {
            "name": kind.name,
            "paper": kind.paper,
            "options": {**hyperparameters(kind), **recipe.distill.options},
        },
        "epochs": {m: recipe.teacher.epochs if m == "teacher" else recipe.train.epochs for m in arms},
        "minutes": {model: minutes(finished, model) for model in arms},
    }


def minutes(finished: list[Run], phase: str) -> float | None:
    """Minutes that a phase took, the mean over the runs whose log has it; None where none has."""
    logs = [[record.seconds for record in run.log() if record.phase == phase] for run in finished]
    took = [sum(seconds) / 60 for seconds in logs if seconds]
    return round(sum(took) / len(took), 3) if took else None


def words(gain: Interval | None) -> str:
    """A gain over the student alone, or of one study's students over another's, in points: see `over_alone`."""
    return over_alone.words(_json(gain))


def _json(found: Interval | None) -> dict[str, Any] | None:
    return found.to_json() if found is not None else None
