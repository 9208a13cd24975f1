"""What the finished runs of a study say together: the one record behind CLI, page and card."""

from __future__ import annotations

import numpy as np

from kdlight import bundle as bundles
from kdlight import training
from kdlight.bundle.study_record import (
    GAINS,
    MODELS,
    SCHEMA,
    SeedScores,
    StudyData,
    StudyMethod,
    StudyModels,
    StudyNetwork,
    StudyRecord,
)
from kdlight.contracts.recipe import Recipe
from kdlight.distillers import find, hyperparameters
from kdlight.metrics import Interval, balanced_accuracy, difference, mcnemar
from kdlight.runs import Run
from kdlight.storage import UnreadableError, load_arrays
from kdlight.studies.records import RecordError, settings

Predictions = dict[str, np.ndarray]
"""On the test split: probabilities (N, K) by model, labels (N,), groups (N,)."""


def summarize(recipe: Recipe, finished: list[Run], name: str = "", folds: int = 0) -> StudyRecord:
    """The study's record. `name`: the recipe's own; the set's if empty. folds: each run tested other images."""
    each = [predictions(run) for run in finished]
    pooled = pool(apart(each) if folds else each)
    models = [model for model in MODELS if model in pooled]
    rows = [{m: balanced_accuracy(of_seed[m], of_seed["labels"]) for m in models} for of_seed in each]
    gains = {
        gain: paired(pooled, pooled[one], pooled[other])
        for gain, (one, other) in GAINS.items()
        if one in pooled and other in pooled
    }
    method = find(recipe.distill.method)
    trained = ["teacher", "student", *(name for name in training.BASELINES if getattr(recipe.train, name))]
    data, networks = _description(recipe, finished[0])
    return StudyRecord(
        schema=SCHEMA,
        recipe=name or recipe.name,
        metric="balanced_accuracy",
        teachers=folds or 1,
        folds=folds or None,
        seeds=tuple(SeedScores(seed=recipe.train.seed + i, **row) for i, row in enumerate(rows)),  # type: ignore[arg-type]
        **gains,  # type: ignore[arg-type]
        mcnemar_p=mcnemar(each[0]["student"], each[0]["alone"], each[0]["labels"]),
        mcnemar_pooled_p=mcnemar(pooled["student"], pooled["alone"], pooled["labels"]),
        data=data,
        models=networks,
        method=StudyMethod(
            name=method.name, paper=method.paper, options={**hyperparameters(method), **recipe.distill.options}
        ),
        epochs={m: recipe.teacher.epochs if m == "teacher" else recipe.train.epochs for m in trained},
        minutes={model: minutes(finished, model) for model in trained},
        settings=settings(recipe),
    )


def predictions(run: Run) -> Predictions:
    """A finished run's test probabilities, with the mean of a pair that learned together."""
    try:
        arrays, _ = load_arrays(run.path / training.PREDICTIONS, older=True)
    except (FileNotFoundError, UnreadableError) as error:
        raise RecordError(f"{run.name}: its predictions are damaged or gone; delete {run.path}, run again.") from error
    if "partner" in arrays:
        arrays["ensemble"] = (arrays["student"] + arrays["partner"]) / 2
    return arrays


def pool(each: list[Predictions]) -> Predictions:
    """What several runs all have, in a row."""
    shared = [name for name in each[0] if all(name in arrays for arrays in each)]
    return {name: np.concatenate([arrays[name] for arrays in each]) for name in shared}


def apart(each: list[Predictions]) -> list[Predictions]:
    """Runs that tested different images, their groups numbered on."""
    starts = np.cumsum([0, *(int(arrays["groups"].max()) + 1 for arrays in each)])
    return [{**arrays, "groups": arrays["groups"] + start} for arrays, start in zip(each, starts, strict=False)]


def paired(pooled: Predictions, first: np.ndarray, second: np.ndarray) -> Interval | None:
    """Balanced accuracy of the first probabilities (N, K) less that of the second, over test groups."""
    return difference(balanced_accuracy, first, second, pooled["labels"], pooled["groups"])


def _description(recipe: Recipe, run: Run) -> tuple[StudyData, StudyModels]:
    """What was trained on what; without the run's bundle as far as the recipe tells."""
    data = StudyData(name=recipe.name, title=recipe.data.title, modality=recipe.data.modality, size=recipe.data.size)
    if not run.bundle.is_dir():
        teacher, student = (StudyNetwork(architecture=name) for name in (recipe.teacher.name, recipe.student.name))
        return data, StudyModels(teacher=teacher, student=student)
    card = bundles.load(run.bundle).card
    images = {split: sum(by_class.values()) for split, by_class in card.data.counts.items()}
    teacher, student = (StudyNetwork.model_validate(network.to_json()) for network in (card.teacher, card.student))
    data = data.replace(classes=[entry.name for entry in card.classes], images=images)
    return data, StudyModels(teacher=teacher, student=student)


def minutes(finished: list[Run], phase: str) -> float | None:
    """Minutes that a phase took, the mean over the runs whose log has it; None where none has."""
    logs = [[record.seconds for record in run.log() if record.phase == phase] for run in finished]
    took = [sum(seconds) / 60 for seconds in logs if seconds]
    return round(sum(took) / len(took), 3) if took else None
