"""The honest gain: one teacher, and over several seeds its student taught and the same student alone.

Both students of a seed share recipe, budget and order of images. The teacher is trained once, with the recipe's own
seed; what varies is the student. A gain is called proven only if its interval leaves out 0.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from kdlight import bundle as bundles
from kdlight import pipeline, runs
from kdlight.bundle import Card
from kdlight.config import Recipe, RecipeError
from kdlight.distillers import find, hyperparameters
from kdlight.metrics import balanced_accuracy, difference, mcnemar
from kdlight.runs import Run, write_atomically

SCHEMA = "kdlight.study/1"
MODELS = ("teacher", "student", "alone")


def study(recipe: Recipe, folder: Path, seeds: int) -> Iterator[dict[str, Any]]:
    """Run a recipe under `folder`/seed-N for `seeds` seeds; yields each epoch's record with its seed.

    Finished seeds are not run again. At the end the first seed's bundle is in `folder`/bundle with the study on its
    card, and the summary in `folder`/study.json. Raises RecipeError without the baseline (train.alone) or seeds < 1.
    """
    if seeds < 1 or not recipe.train.alone:
        raise RecipeError(
            f"A study needs one seed or more and train.alone = true, not {seeds} and {recipe.train.alone}."
        )
    started: list[Run] = []
    for seed in range(recipe.train.seed, recipe.train.seed + seeds):
        one = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, seed=seed))
        run = _run_of(one, folder / f"seed-{seed}", started[0] if started else None)
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
    answers = [load_file(run.path / pipeline.PREDICTIONS) for run in finished]
    pooled = {name: np.concatenate([a[name] for a in answers]) for name in (*MODELS, "labels", "groups")}
    scores = {m: np.array([balanced_accuracy(a[m], a["labels"]) for a in answers], dtype=float) for m in MODELS}
    first = recipe.train.seed
    rows = [{"seed": first + i, **{m: float(scores[m][i]) for m in MODELS}} for i in range(len(answers))]
    mean = {m: float(scores[m].mean()) for m in MODELS}
    spread = {m: float(scores[m].std(ddof=1)) if len(rows) > 1 else None for m in MODELS}
    gain, loss = (
        difference(balanced_accuracy, pooled["student"], pooled[other], pooled["labels"], pooled["groups"])
        for other in ("alone", "teacher")
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
        "gain": words(gain),
        "retained": mean["student"] / mean["teacher"],
        "mcnemar_p": mcnemar(answers[0]["student"], answers[0]["alone"], answers[0]["labels"]),
        **describe(recipe, finished),
    }


def describe(recipe: Recipe, finished: list[Run]) -> dict[str, Any]:
    """What was trained on what, and for how long: the keys data, models, method, epochs and minutes of a summary."""
    card = bundles.load(finished[0].bundle).card if finished[0].bundle.is_dir() else None
    kind = find(recipe.distill.method)
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
        "epochs": {"teacher": recipe.teacher.epochs, "student": recipe.train.epochs, "alone": recipe.train.epochs},
        "minutes": {model: minutes(finished, model) for model in MODELS},
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


def _run_of(recipe: Recipe, path: Path, first: Run | None) -> Run:
    """The seed's run, made if it is not there; it takes the first seed's finished teacher."""
    if (path / "status.json").is_file():
        return Run(path)
    run = runs.create(recipe.to_toml(), path=path)
    if first is not None:
        for name in ("teacher.safetensors", "start.safetensors", "start.txt"):
            shutil.copyfile(first.path / name, path / name)
    return run


def _json(found: Any) -> dict[str, Any] | None:
    return found.to_json() if found is not None else None
