"""The honest gain: one teacher, and over several seeds its student taught and the same student alone.

Both students of a seed share recipe, budget and order of images. The teacher is trained once, with the recipe's own
seed; what varies is the student. A gain is called proven only over the same student
from the same starting weights, and only if its interval leaves out 0.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdlight import bundle as bundles
from kdlight import results, runs, training
from kdlight.bundle import Card
from kdlight.config import Recipe, RecipeError, read_recipe
from kdlight.results import Record, over_alone, same_start
from kdlight.runs import EpochRecord, Run
from kdlight.storage import write_json
from kdlight.study.summary import MODELS, SAME_START, SCHEMA, SCRATCH, paired, pool, summarize, words
from kdlight.training.phases import teacher_schedule

__all__ = ["MODELS", "SCHEMA", "SCRATCH", "paired", "pool", "publish", "study", "summarize", "words"]

TEACHER = (*runs.START, "teacher.safetensors")
"""What a run leaves of its teacher."""


def study(
    recipe: Recipe, folder: Path, seeds: int, others: Sequence[Path] = (), name: str = ""
) -> Iterator[EpochRecord]:
    """Run a recipe under `folder`/seed-N for `seeds` seeds; yields each epoch's record with its seed.

    `name`: the recipe's own, as the record then gives it; the set's if empty. Finished seeds are not run again. What
    does not hang on the difference between this recipe and that of a study in one of the folders `others`, the teacher
    or the student alone, is taken from there. At the end the first seed's bundle is in `folder`/bundle with the study
    on its card, and the summary in `folder`/study.json. Raises RecipeError without the baseline (train.alone) or seeds
    < 1.
    """
    if seeds < 1 or not recipe.train.alone:
        raise RecipeError(
            f"A study needs one seed or more and train.alone = true, not {seeds} and {recipe.train.alone}."
        )
    started: list[Run] = []
    for seed in range(recipe.train.seed, recipe.train.seed + seeds):
        one = recipe.changed(train=recipe.train.changed(seed=seed))
        run = _run_of(one, folder / f"seed-{seed}")
        if started:
            take(run, started[0], "teacher", TEACHER)
        for other in others:
            inherit(run, one, Run(other / run.name))
        started.append(run)
        if run.status().state == "done":
            continue
        run.claim(resume=True)
        for record in training.execute(one, run):
            yield record.model_copy(update={"seed": seed})
        run.update(state="done", message="")
    summary = summarize(recipe, started, name)
    write_json(folder / "study.json", summary)
    publish(started[0].bundle, folder / "bundle", summary)


def publish(source: Path, target: Path, summary: dict[str, Any]) -> None:
    """Copy a bundle and write the study on its card; the copy is sealed anew and its version kept."""
    beside = target.with_name(f"{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside)
    card = bundles.load(source).card
    told = bundles.write_card(beside, card.replace(metrics=card.metrics.replace(study=summary)))
    limits = (*card.limits[:-1], sentence(told, results.read(beside / "card.json")))
    bundles.write_card(beside, told.replace(limits=limits))
    bundles.seal(beside)
    shutil.rmtree(target, ignore_errors=True)
    beside.rename(target)


def sentence(card: Card, record: Record) -> str:
    """The student against its teacher and against both students without one, over the seeds: a card's last limit."""
    mean = record.mean
    points = 100 * (mean["teacher"] - mean["student"])
    side = "below" if points > 0 else "above"
    return (
        f"Over {_count(len(record.seeds), 'student seed')} and one teacher, on {card.metrics.n} test images, "
        f"the student's balanced accuracy is {abs(points):.1f} points {side} its teacher's "
        f"({mean['student']:.3f} against {mean['teacher']:.3f}); the same student alone has {mean['alone']:.3f} "
        f"({over_alone.in_points(record.gain)}). {same_start.sentence(same_start.words(record))}"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def inherit(run: Run, recipe: Recipe, other: Run) -> None:
    """Take what another run made that this one would make alike: its teacher, and its students without a teacher.

    A later seed of a study has the first one's teacher, not one of its own seed, and so gives none.
    """
    if not other.recipe.is_file():
        return
    given = read_recipe(other.recipe)
    if _is_first(other) and teacher_of(given) == teacher_of(recipe):
        take(run, other, "teacher", TEACHER)
    train = given.train.changed(scratch=recipe.train.scratch, same_start=recipe.train.same_start)
    if given.changed(distill=recipe.distill, train=train) == recipe:
        for phase in ("alone", SCRATCH, SAME_START):
            take(run, other, phase, (f"{phase}.safetensors",))


def _is_first(run: Run) -> bool:
    """Whether no earlier seed of the study is beside it."""
    seeds = [Run(path) for path in run.path.parent.glob("seed-*") if path != run.path]
    own = read_recipe(run.recipe).train.seed
    return all(read_recipe(other.recipe).train.seed > own for other in seeds if other.recipe.is_file())


def teacher_of(recipe: Recipe) -> Any:
    """All of a recipe that its teacher's training hangs on."""
    return recipe.data, recipe.teacher, recipe.train.balance, teacher_schedule(recipe.teacher, recipe.train)


def take(run: Run, other: Run, phase: str, files: Sequence[str]) -> None:
    """Copy a finished phase and its lines of the log, unless the run has it already; the file that ends it is last."""
    if (run.path / files[-1]).is_file() or not all((other.path / name).is_file() for name in files):
        return
    for record in other.log():
        if record.phase == phase:
            run.append(record)
    for name in files:
        beside = run.path / f"{name}.part"
        shutil.copyfile(other.path / name, beside)
        beside.replace(run.path / name)


def _run_of(recipe: Recipe, path: Path) -> Run:
    """The seed's run, made if nothing was learned there."""
    run = Run(path)
    return run if run.begun() else runs.create(recipe, path=path)
