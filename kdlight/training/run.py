"""A run from its source to its bundle: recipe, data, teacher, students, their measurements, card.

Each phase leaves its result in the run's folder, so a run that was stopped goes on from its last epoch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from kdlight import bundle as bundles
from kdlight import runs
from kdlight.bundle import Bundle
from kdlight.compress import export_onnx
from kdlight.contracts.modality import modality as named_modality
from kdlight.contracts.recipe import UNTRAINED, Effort, Recipe
from kdlight.data import class_weights
from kdlight.inference import golden
from kdlight.inference.learn import learn
from kdlight.models import Classifier, published
from kdlight.preprocessing.augment import augmentation
from kdlight.runs import EpochRecord, Phase, Run, RunError, progress
from kdlight.runs.recipes import is_labeled_set, open_recipe
from kdlight.storage import replacing_folder
from kdlight.training import effort as efforts
from kdlight.training.card import card_of, described
from kdlight.training.data import prepare
from kdlight.training.phases import BASELINES, PARTNER, Phases
from kdlight.training.result import RunResult


def train(
    source: Recipe | str | Path,
    modality: str | None = None,
    out: str | Path | None = None,
    effort: Effort | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> Bundle:
    """Train a teacher, then its student, and return their bundle. Shows its progress in a terminal or notebook.

    source: a labeled set (a folder `<class>/<file>` or `<split>/<class>/<file>`, a MedMNIST .npz, a CSV of paths), a
    recipe, its file, or the name of a shipped one. modality: of a labeled set, a key of MODALITIES. out: the run's
    folder, a new one under `runs.default_root()` by default; resume goes on with the run in it. effort: sets epochs and
    views from the number of images and a measured time; "standard" for a labeled set, a recipe's own without it.
    overrides: `section.key=value`. Raises ValueError subclasses for the caller's mistakes.
    """
    return complete(open_run(source, modality, out, effort, overrides, resume), resume)


def open_run(
    source: Recipe | str | Path,
    modality: str | None = None,
    out: str | Path | None = None,
    effort: Effort | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> Run:
    """A new run of a source, or the one in `out`, whose recipe must be the one asked for; arguments as of `train`."""
    folder, recipe = Path(out).absolute() if out else None, open_recipe(source, overrides, modality)
    begun = folder is not None and (folder / "status.json").exists() and (resume or Run(folder).begun())
    if resume and not begun:
        raise RunError(f"There is no run to resume in {out or 'no folder'}; give the run's folder with --out.")
    if is_labeled_set(source):
        effort = effort or "standard"
    if folder is not None and begun:
        blurred = efforts.without if effort else Recipe.changed
        if blurred(Run(folder).read_recipe()) != blurred(recipe):
            raise RunError(f"{out} holds a run of another recipe; give its recipe.toml, or another --out.")
        return Run(folder)
    if effort is None:
        return runs.create(recipe, path=folder)
    progress.say(f"Trying {efforts.BATCHES} batches of each model.")
    trial = efforts.try_out(recipe)
    recipe = trial.fitted(recipe, effort)
    progress.say(f"{effort.capitalize()}: {trial.words(recipe)}")
    run = runs.create(recipe, path=folder)
    run.update(effort=effort, expected_seconds=trial.seconds(recipe))
    return run


def complete(run: Run, resume: bool = False) -> Bundle:
    """Train a run's recipe to its bundle; whatever ends that is in the run's status.

    One that is finished already is not trained again: with `resume` its bundle is returned.
    """
    if resume and run.status().state == "done":
        progress.say(f"Run {run.name} is finished already; nothing is trained.")
        return bundles.load(run.bundle)
    with run.claim(resume):
        recipe = run.read_recipe()
        with _end_in_status(run), progress.epochs() as show:
            _warn(recipe, run)
            for record in execute(recipe, run):
                show(record)
    return bundles.load(run.bundle)


def execute(recipe: Recipe, run: Run) -> Iterator[EpochRecord]:
    """Run a recipe to its end; yields each epoch's record, which is in the run's log before it is yielded.

    What the run's folder already holds is not done again. Raises ValueError subclasses for the caller's mistakes.
    """
    run.update(phase="data", epoch=0, epochs=0)
    phases = prepared(recipe, run)
    yield from phases.teacher()
    for phase in students(recipe):
        yield from phases.student(phase)
    run.update(phase="calibrate")
    result = measured(phases)
    result.write_predictions(run.path)
    run.update(phase="bundle")
    run.update(at_chance=pack(run.bundle, result).card.at_chance)


def prepared(recipe: Recipe, run: Run) -> Phases:
    """The trainings of a run with its data in memory. Raises ValueError subclasses for the caller's mistakes."""
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    torch.set_flush_denormal(True)
    named_modality(recipe.data.modality)
    augment = augmentation(recipe.data.augmentation or recipe.data.modality, recipe.data.size)
    data = prepare(recipe.data, run.path)
    described(recipe.data, data.classes)
    labels = data.labeled.labels.numpy()
    weights = torch.from_numpy(class_weights(labels, recipe.train.balance, len(data.classes))).float()
    return Phases(recipe, run, data, weights, augment)


def students(recipe: Recipe) -> list[Phase]:
    """The small models that a recipe trains, in order."""
    return [*(name for name in BASELINES if getattr(recipe.train, name)), "student"]


def measured(phases: Phases) -> RunResult:
    """What a run's finished models give, whose weights lie in its folder."""
    models: dict[str, Classifier] = {name: phases.finished(name) for name in ("teacher", *students(phases.recipe))}
    partner = {PARTNER: phases.finished(PARTNER)} if phases.has(PARTNER) else {}
    return RunResult.measured(phases.recipe, phases.data, models, partner, phases.run.teacher_start())


def pack(path: Path, result: RunResult) -> Bundle:
    """Write a run's whole bundle at `path`: weights, ONNX file, card, golden cases, checksums."""
    student = result.models["student"]
    with replacing_folder(path) as beside:
        bundles.write_weights(beside, result.models["teacher"], student)
        export_onnx(student, beside / "student.onnx", result.data.spec.size)
        made = Bundle(beside, bundles.write_card(beside, card_of(result)), "")
        pixels = {name: split.pixels.numpy() for name, split in result.data.splits.items()}
        card = learn(made, pixels, {name: result.data.dataset.split(name).groups for name in pixels})
        golden.record(beside, Bundle(beside, card, ""))
        bundles.seal(beside)
    return bundles.load(path)


def _warn(recipe: Recipe, run: Run) -> None:
    """Say before the start where the teacher will have no weights to start from."""
    known = run.teacher_start()
    if known is not None:
        words = known.words if known.kind == "random" else ""
    else:
        reason = None if recipe.teacher.weights else published.lacking(recipe.teacher.name)
        words = f"{UNTRAINED}: {reason}" if reason else ""
    if words:
        progress.say(f"Teacher starts from {words}.")


@contextlib.contextmanager
def _end_in_status(run: Run) -> Iterator[None]:
    """Whatever ends the training is in the run's status. On a full disk it cannot be; the run then reads as stopped."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            run.update(state="stopped", message=runs.STOPPED)
        raise
    except Exception as error:
        with contextlib.suppress(OSError):
            words = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            run.update(state="failed", message=words)
        raise
    run.update(state="done", message="")
