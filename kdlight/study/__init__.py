"""The honest gain: one teacher, and over several seeds its student taught and the same student alone.

Both students of a seed share recipe, budget and order of images. The teacher is trained once, with the recipe's own
seed; what varies is the student. A gain is called proven only if its interval leaves out 0.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from kdlight import bundle as bundles
from kdlight import pipeline, runs
from kdlight.bundle import Card
from kdlight.config import Recipe, RecipeError, read_recipe
from kdlight.distillers import find, hyperparameters
from kdlight.metrics import Interval, balanced_accuracy, difference, mcnemar
from kdlight.runs import Run, write_atomically

SCHEMA = "kdlight.study/1"
MODELS = ("teacher", "student", "alone")
SCRATCH = "scratch"
"""The student alone from random weights, where the recipe asks for it (train.scratch)."""
TEACHER = ("start.safetensors", "start.txt", "teacher.safetensors")
"""What a run leaves of its teacher."""


def study(recipe: Recipe, folder: Path, seeds: int, others: Sequence[Path] = ()) -> Iterator[dict[str, Any]]:
    """Run a recipe under `folder`/seed-N for `seeds` seeds; yields each epoch's record with its seed.

    Finished seeds are not run again. What does not hang on the difference between this recipe and that of a study in
    one of the folders `others`, the teacher or the student alone, is taken from there. At the end the first seed's
    bundle is in `folder`/bundle with the study on its card, and the summary in `folder`/study.json. Raises RecipeError
    without the baseline (train.alone) or seeds < 1.
    """
    if seeds < 1 or not recipe.train.alone:
        raise RecipeError(
            f"A study needs one seed or more and train.alone = true, not {seeds} and {recipe.train.alone}."
        )
    started: list[Run] = []
    for seed in range(recipe.train.seed, recipe.train.seed + seeds):
        one = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, seed=seed))
        run = _run_of(one, folder / f"seed-{seed}")
        for other in others:
            inherit(run, one, Run(other / run.name))
        if started:
            take(run, started[0], "teacher", TEACHER)
        started.append(run)
        if run.status()["state"] == "done":
            continue
        run.claim(resume=True)
        for record in pipeline.train(one, run):
            yield {"seed": seed, **record}
        run.update(state="done", message="")
    summary = summarize(recipe, started)
    write_atomically(folder / "study.json", json.dumps(summary, indent=1).encode())
    publish(started[0].bundle, folder / "bundle", summary)


def summarize(recipe: Recipe, finished: list[Run]) -> dict[str, Any]:
    """The study's record, study.json: scores are balanced accuracies, 0 to 1, of "teacher", "student" and "alone".

    "scratch" stands beside them where the recipe trains it, and gain_over_scratch then.

    schema, recipe (the set's short name), metric, teachers (how many were trained: 1);
    seeds: [{"seed", "teacher", "student", "alone"}]; mean and deviation: {model: score}, deviation null for one seed;
    gain_over_alone, gap_to_teacher: {"value", "low", "high"} or null, the student's score less the other's; the
    interval is a bootstrap over test groups, where an image that several seeds answered is drawn with all of them;
    gain: that gain in words, in points; retained: student / teacher; mcnemar_p: student against alone, first seed;
    data: {"name", "title", "modality", "size" (px), "classes" (names), "images": {"train", "val", "test"}};
    models: {"teacher" | "student": {"architecture", "parameters", "macs" (at that size), "bytes" (float16 on disk),
    "onnx_bytes" (student only), "start" (where the first weights came from)}};
    method: {"name", "paper", "options": {name: value}}; epochs: {model: those asked for};
    minutes: {model: minutes of training, the mean over seeds}, from the log's seconds.
    What a run without its bundle or its log cannot say is null.
    """
    pooled = pool(finished)
    models = (*MODELS, SCRATCH) if SCRATCH in pooled else MODELS
    answers = [load_file(run.path / pipeline.PREDICTIONS) for run in finished]
    scores = {m: np.array([balanced_accuracy(a[m], a["labels"]) for a in answers], dtype=float) for m in models}
    first = recipe.train.seed
    rows = [{"seed": first + i, **{m: float(scores[m][i]) for m in models}} for i in range(len(answers))]
    mean = {m: float(scores[m].mean()) for m in models}
    spread = {m: float(scores[m].std(ddof=1)) if len(rows) > 1 else None for m in models}
    gain, loss = (paired(pooled, pooled["student"], pooled[other]) for other in ("alone", "teacher"))
    beyond = (
        {"gain_over_scratch": _json(paired(pooled, pooled["student"], pooled[SCRATCH]))} if SCRATCH in pooled else {}
    )
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "metric": "balanced_accuracy",
        "teachers": 1,
        "seeds": rows,
        "mean": mean,
        "deviation": spread,
        "gain_over_alone": _json(gain),
        "gap_to_teacher": _json(loss),
        **beyond,
        "gain": words(gain),
        "retained": mean["student"] / mean["teacher"],
        "mcnemar_p": mcnemar(answers[0]["student"], answers[0]["alone"], answers[0]["labels"]),
        **describe(recipe, finished),
    }


def pool(finished: list[Run]) -> dict[str, Any]:
    """The test answers of several runs in a row: probabilities (N, K) by model, labels (N,), groups (N,)."""
    answers = [load_file(run.path / pipeline.PREDICTIONS) for run in finished]
    shared = [name for name in answers[0] if all(name in found for found in answers)]
    return {name: np.concatenate([found[name] for found in answers]) for name in shared}


def paired(pooled: dict[str, Any], first: Any, second: Any) -> Interval | None:
    """Balanced accuracy of the first probabilities (N, K) less that of the second, over test groups."""
    return difference(balanced_accuracy, first, second, pooled["labels"], pooled["groups"])


def describe(recipe: Recipe, finished: list[Run]) -> dict[str, Any]:
    """What was trained on what, and for how long: the keys data, models, method, epochs and minutes of a summary."""
    card = bundles.load(finished[0].bundle).card if finished[0].bundle.is_dir() else None
    kind = find(recipe.distill.method)
    arms = (*MODELS, SCRATCH) if recipe.train.scratch else MODELS
    counts = {split: sum(of.values()) for split, of in card.data["counts"].items()} if card else None
    return {
        "data": {
            "name": recipe.name,
            "title": recipe.data.title,
            "modality": recipe.data.modality,
            "size": recipe.data.size,
            "classes": [c["name"] for c in card.classes] if card else None,
            "images": counts,
        },
        "models": {
            "teacher": card.teacher if card else {"architecture": recipe.teacher.name},
            "student": card.student if card else {"architecture": recipe.student.name},
        },
        "method": {
            "name": kind.name,
            "paper": kind.paper,
            "options": {**hyperparameters(kind), **recipe.distill.options},
        },
        "epochs": {m: recipe.teacher.epochs if m == "teacher" else recipe.train.epochs for m in arms},
        "minutes": {model: minutes(finished, model) for model in arms},
    }


def minutes(finished: list[Run], stage: str) -> float | None:
    """Minutes that a stage took, the mean over the runs whose log has it; None where none has."""
    logs = [[record["seconds"] for record in run.log() if record.get("stage") == stage] for run in finished]
    took = [sum(seconds) / 60 for seconds in logs if seconds]
    return round(sum(took) / len(took), 3) if took else None


def words(gain: Any) -> str:
    """ "gain +x.x [low, high]" in points, or "no proven gain" with the same numbers."""
    if gain is None or gain.low is None or gain.high is None:
        return "no proven gain (too few images)"
    numbers = f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    return f"gain {numbers}" if gain.low > 0 else f"no proven gain: {numbers}"


def publish(source: Path, target: Path, summary: dict[str, Any]) -> None:
    """Copy a bundle and write the study on its card; the copy is sealed anew and its version kept."""
    beside = target.with_name(f"{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside)
    card = bundles.load(source).card
    limits = [*card.limits[:-1], sentence(card, summary)]
    metrics = {**card.metrics, "study": summary}
    bundles.write_card(beside, dataclasses.replace(card, metrics=metrics, limits=limits))
    bundles.seal(beside)
    shutil.rmtree(target, ignore_errors=True)
    beside.rename(target)


def sentence(card: Card, summary: dict[str, Any]) -> str:
    """What the student lost against its teacher, over the seeds, as a sentence for the card."""
    mean = summary["mean"]
    points = 100 * (mean["teacher"] - mean["student"])
    side = "below" if points > 0 else "above"
    return (
        f"Over {_count(len(summary['seeds']), 'student seed')} and one teacher, on {card.metrics['n']} test images, "
        f"the student's balanced accuracy is {abs(points):.1f} points {side} its teacher's "
        f"({mean['student']:.3f} against {mean['teacher']:.3f}); the same student alone has {mean['alone']:.3f} "
        f"({summary['gain']} points)."
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def inherit(run: Run, recipe: Recipe, other: Run) -> None:
    """Take what another run made that this one would make alike: its teacher, and its students without a teacher."""
    if not other.recipe.is_file():
        return
    given = read_recipe(other.recipe)
    if teacher_of(given) == teacher_of(recipe):
        take(run, other, "teacher", TEACHER)
    if dataclasses.replace(given, distill=recipe.distill) == recipe:
        for stage in ("alone", SCRATCH):
            take(run, other, stage, (f"{stage}.safetensors",))


def teacher_of(recipe: Recipe) -> Any:
    """All of a recipe that its teacher's training hangs on."""
    return recipe.data, recipe.teacher, recipe.train.balance, pipeline.teacher_schedule(recipe.teacher, recipe.train)


def take(run: Run, other: Run, stage: str, files: Sequence[str]) -> None:
    """Copy a finished stage and its lines of the log, unless the run has it already; the file that ends it is last."""
    if (run.path / files[-1]).is_file() or not all((other.path / name).is_file() for name in files):
        return
    for record in other.log():
        if record.get("stage") == stage:
            run.append(record)
    for name in files:
        beside = run.path / f"{name}.part"
        shutil.copyfile(other.path / name, beside)
        beside.replace(run.path / name)


def _run_of(recipe: Recipe, path: Path) -> Run:
    """The seed's run, made if it is not there."""
    return Run(path) if (path / "status.json").is_file() else runs.create(recipe.to_toml(), path=path)


def _json(found: Any) -> dict[str, Any] | None:
    return found.to_json() if found is not None else None
