"""The honest gain: one teacher, and over several seeds its student taught and the same student alone.

Both students of a seed share recipe, budget and order of images. The teacher is trained once, with the recipe's own
seed; what varies is the student.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdlight import bundle as bundles
from kdlight import runs, storage, training
from kdlight.bundle import Card
from kdlight.bundle.study_record import StudyRecord
from kdlight.contracts.recipe import Recipe, RecipeError
from kdlight.runs import EpochRecord, Run, RunError, progress
from kdlight.runs.recipes import is_labeled_set, name_of, named, open_recipe
from kdlight.studies.gains import over_alone, over_same_start
from kdlight.studies.records import read
from kdlight.studies.summary import summarize
from kdlight.training.card import against_teacher
from kdlight.training.phases import BASELINES, teacher_schedule

TEACHER = (*runs.START, "teacher.safetensors")
"""What a run leaves of its teacher."""


def study(
    source: Recipe | str | Path,
    modality: str | None = None,
    seeds: int = 3,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    folds: int = 0,
) -> StudyRecord:
    """Train a teacher, and over `seeds` seeds its student with and without it. Shows its progress as `train` does.

    folds: instead of seeds, cross-validation by group; each fold has a teacher of its own.

    source, modality, overrides: as of `kdlight.train`. out: the study's folder, also to go on; by default one among the
    runs that is named after the recipe. Raises ValueError subclasses for the caller's mistakes.
    """
    recipe = open_recipe(source, overrides, modality)
    named_file = not isinstance(source, Recipe) and not is_labeled_set(source)
    name = name_of(Path(str(source)), recipe) if named_file else recipe.name
    folder = claim(out, recipe, name)
    with progress.epochs() as show:
        for record in execute(recipe, folder, seeds, name=name, folds=folds):
            show(record)
    return read(folder)


def claim(out: str | Path | None, recipe: Recipe, name: str) -> Path:
    """The study's folder: begun, or gone on with if it is of the same recipe or ended before it learned anything.

    Raises RunError where the folder holds something else.
    """
    folder = Path(out or runs.default_root() / f"study-{name}").absolute()
    stored = folder / "recipe.toml"
    if stored.is_file():
        with contextlib.suppress(RecipeError, RunError):  # written by another version, or damaged
            if Run(folder).read_recipe() == recipe:
                return folder
        begun = [Run(status.parent).begun() for status in folder.rglob("status.json")]
        if any(begun) or not begun:
            raise RunError(f"{folder} holds a study of another recipe; give {stored} as the recipe, or another --out.")
    elif folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty and holds no study; give another --out.")
    storage.write(stored, named(recipe, name))
    return folder


def execute(
    recipe: Recipe, folder: Path, seeds: int, others: Sequence[Path] = (), name: str = "", folds: int = 0
) -> Iterator[EpochRecord]:
    """Run a recipe under `folder`/seed-N for `seeds` seeds; yields each epoch's record with its seed.

    With `folds` it is run under `folder`/fold-N once for each fold, from another seed and with a teacher of its own; no
    bundle is made of them.

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
    for number in range(folds or seeds):
        of_seed = _of_number(recipe, number, folds)
        seed = of_seed.train.seed
        run = Run(folder / (f"fold-{number}" if folds else f"seed-{seed}"))
        if not run.begun():
            run = runs.create(of_seed, path=run.path)
        started.append(run)
        if run.status().state == "done":
            continue
        with run.claim(resume=True):
            if run is not started[0] and not folds:
                take(run, started[0], "teacher", TEACHER)
            for other in others:
                inherit(run, of_seed, Run(other / run.name))
            for record in training.execute(of_seed, run):
                yield record.model_copy(update={"seed": seed})
            run.update(state="done", message="")
    summary = summarize(recipe, started, name, folds)
    storage.write_json(folder / "study.json", summary.to_json())
    if not folds:
        publish(started[0].bundle, folder / "bundle", summary)


def _of_number(recipe: Recipe, number: int, folds: int) -> Recipe:
    """The recipe of a study's seed or fold, from 0."""
    of_seed = recipe.changed(train=recipe.train.changed(seed=recipe.train.seed + number))
    return of_seed.changed(data=recipe.data.changed(folds=folds, fold=number)) if folds else of_seed


def publish(source: Path, target: Path, summary: StudyRecord) -> None:
    """Copy a bundle and write the study on its card; the copy is sealed anew and its version kept."""
    card = bundles.load(source).card
    limits = (*card.limits[:-1], sentence(card, summary))  # the last one tells of one training
    with storage.replacing_folder(target) as beside:
        storage.copy_folder(source, beside)
        bundles.write_card(beside, card.replace(metrics=card.metrics.replace(study=summary), limits=limits))
        bundles.seal(beside)


def sentence(card: Card, record: StudyRecord) -> str:
    """The student against its teacher and against both students without one, over the seeds: a card's last limit."""
    mean, seeds = record.mean, len(record.seeds)
    trained = (
        f"In {record.folds}-fold cross-validation by the same recipe, a teacher in each, on {record.tested} images"
        if record.folds
        else f"Over {seeds} student seed{'' if seeds == 1 else 's'} and one teacher, on {card.metrics.n} test images"
    )
    return (
        f"{trained}, "
        f"{against_teacher(mean.student, mean.teacher)}; the same student alone has {mean.alone:.3f} "
        f"({over_alone(record)}). {over_same_start(record).sentence}"
    )


def inherit(run: Run, recipe: Recipe, other: Run) -> None:
    """Take what another run made that this one would make alike: its teacher, and its students without a teacher.

    A later seed of a study has the first one's teacher, not one of its own seed, and so gives none.
    """
    if not other.recipe.is_file():
        return
    made = other.read_recipe()
    seeds = [Run(file.parent).read_recipe().train.seed for file in other.path.parent.glob("seed-*/recipe.toml")]
    if made.train.seed == min(seeds, default=made.train.seed) and teacher_of(made) == teacher_of(recipe):
        take(run, other, "teacher", TEACHER)
    train = made.train.changed(scratch=recipe.train.scratch, same_start=recipe.train.same_start)
    if made.changed(distill=recipe.distill, train=train) == recipe:
        for phase in BASELINES:
            take(run, other, phase, (f"{phase}.safetensors",))


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
        with storage.replacing(run.path / name) as beside:
            shutil.copyfile(other.path / name, beside)
