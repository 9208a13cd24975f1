"""A recipe becomes a bundle: teacher, the student alone, the student taught, all calibrated and measured.

Each stage leaves its result in the run's folder, so a run that was stopped goes on from its last epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from kdlight import assembly
from kdlight.answers import Answers
from kdlight.bundle import Bundle
from kdlight.compress import round_to_half
from kdlight.config import DataConfig, Recipe, TeacherConfig, TrainConfig
from kdlight.data import DataError, Dataset, carve, class_weights, match_classes, open_dataset, synthetic
from kdlight.data.check import straddling
from kdlight.data.dataset import Progress
from kdlight.distillers import METHODS, Distiller, create_distiller
from kdlight.evaluation import measure, predict
from kdlight.inference import Predictor
from kdlight.models import Classifier, create_model, start_from, start_student
from kdlight.models.weight_selection import reestimate_batch_norm, select_weights
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import AUGMENTATIONS, augmentation
from kdlight.reading import ROLES, Role
from kdlight.runs import Run
from kdlight.training import Arrays, Augment, Schedule, fit

PREDICTIONS = "predictions.safetensors"
"""In a run's folder: calibrated test probabilities (N, K) per model, labels (N,) and groups (N,) as numbers."""
BASELINES = ("alone", "scratch")
"""Students that no teacher taught; the recipe's [train] says which are trained."""
PARTNER = "partner"
"""The second model of a pair that learned together, as it was at the student's best epoch. No bundle ships it."""
REESTIMATE = 512
"""Training images that set a selected student's batch-norm statistics."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The labelled set of a run, split, in memory."""

    dataset: Dataset
    spec: InputSpec
    splits: dict[str, Arrays]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.classes

    @property
    def labeled(self) -> Arrays:
        """The training images whose label is known."""
        train = self.splits["train"]
        known = train.labels >= 0
        return train if bool(known.all()) else Arrays(train.pixels[known], train.labels[known])


def train(recipe: Recipe, run: Run) -> Iterator[dict[str, Any]]:
    """Run a recipe to its end; yields each epoch's record, which is in the run's log before it is yielded.

    What the run's folder already holds is not done again. Raises ValueError subclasses for the caller's mistakes.
    """
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    torch.set_flush_denormal(True)
    run.update(stage="data", epoch=0, epochs=0)
    data = prepare(recipe.data, run.path)
    labels = data.labeled.labels.numpy()
    weights = torch.from_numpy(class_weights(labels, recipe.train.balance, len(data.classes))).float()
    augment = augmentation(recipe.data.augmentation or recipe.data.modality, recipe.data.size)
    stages = Stages(recipe, run, data, weights, augment)
    yield from stages.teacher()
    baselines = [name for name in BASELINES if getattr(recipe.train, name)]
    for stage in (*baselines, "student"):
        yield from stages.student(stage)
    run.update(stage="calibrate")
    models = {name: stages.finished(name) for name in ("teacher", "student", *baselines)}
    measured = assembly.calibrate(models, data.splits, data.spec)
    beside = {PARTNER: stages.finished(PARTNER)} if stages.has(PARTNER) else {}
    unshipped = assembly.calibrate(beside, data.splits, data.spec)
    _keep(run, {**measured.test, **unshipped.test}, data.dataset.split("test"))
    run.update(stage="bundle")
    assembly.assemble(run.bundle, recipe, data.dataset, data.spec, models, measured, stages.start())


def _keep(run: Run, answers: Mapping[str, np.ndarray], test: Dataset) -> None:
    """Leave the test answers in the run, for a study to pair them with other seeds: PREDICTIONS."""
    beside = run.path / f"{PREDICTIONS}.part"
    tensors = {name: torch.from_numpy(values.copy()) for name, values in answers.items()}
    groups = {item: number for number, item in enumerate(dict.fromkeys(test.groups.tolist()))}
    tensors["labels"] = torch.from_numpy(test.labels)
    tensors["groups"] = torch.tensor([groups[item] for item in test.groups.tolist()])
    save_file(tensors, beside)
    beside.replace(run.path / PREDICTIONS)


def prepare(config: DataConfig, folder: Path) -> Prepared:
    """Open the labelled set, carve the splits it lacks by group, and render every image."""
    dataset = open_set(config, folder)
    spec = InputSpec(size=config.size, window=config.window or None, fit=config.fit, stages=config.stages)
    splits = {}
    for name in ("train", "val", "test"):
        part = dataset.split(name)
        labels = part.labels if name != "train" else known_labels(part, config)
        splits[name] = Arrays(torch.from_numpy(part.images(spec).copy()), torch.from_numpy(labels))
    return Prepared(dataset, spec, splits)


def known_labels(train: Dataset, config: DataConfig) -> np.ndarray:
    """Labels int64 (N,), -1 where the recipe hides them: whole groups, dealt class by class."""
    if config.labeled == 1:
        return train.labels
    dealt = carve(train, {"unlabeled": 1 - config.labeled}, config.split_seed)
    return np.where([item.split == "train" for item in dealt.items], train.labels, -1)


def open_set(config: DataConfig, folder: Path) -> Dataset:
    """The recipe's set with train, val and test; `synthetic` is made inside `folder`."""
    path = Path(config.path)
    if config.path == "synthetic":
        path = folder / "synthetic"
        if not path.is_dir():
            synthetic(path)
    dataset = open_dataset(path)
    shared = straddling(dataset)
    if shared:
        group, splits = next(iter(shared.items()))
        raise DataError(
            f"{len(shared)} groups of {dataset.source.name} are in more than one split ({group} in "
            f"{' and '.join(splits)}), so a test would know what was trained on. Give each group one split."
        )
    lacking = {n: share for n, share in (("val", config.val), ("test", config.test)) if n not in dataset.splits}
    return carve(dataset, lacking, config.split_seed) if lacking else dataset


@dataclass(frozen=True, slots=True)
class Stages:
    """The trainings of one run, in order; each yields its records and ends in a file of the run's folder."""

    recipe: Recipe
    run: Run
    data: Prepared
    weights: torch.Tensor
    augment: Augment

    def teacher(self) -> Iterator[dict[str, Any]]:
        """Fine-tune the big model."""
        if self._file("teacher").is_file():
            return
        config = self.recipe.teacher
        model = self._start()
        teacher_weights = self.weights if self.recipe.train.balance != "none" else None
        distiller = create_distiller("alone", model, None, teacher_weights, config.label_smoothing, config.focal)
        yield from self._fit("teacher", distiller, teacher_schedule(config, self.recipe.train))

    def student(self, stage: str) -> Iterator[dict[str, Any]]:
        """Train the small model, taught (`student`) or by itself (one of BASELINES), on the same budget."""
        if self._file(stage).is_file():
            return
        model = self.new_student(stage)
        shared = (self.weights, self.recipe.train.label_smoothing)
        if stage in BASELINES:
            distiller = create_distiller("alone", model, None, *shared)
        else:
            method = self.recipe.distill
            asked = METHODS.get(method.method, Distiller).reads != "nothing" or self.recipe.student.init == "teacher"
            teacher = self.finished("teacher") if asked else self._start()  # one that only gives first weights
            distiller = create_distiller(method.method, model, teacher, *shared, **method.options)
            if self.recipe.data.labeled < 1 and not distiller.unlabeled:
                able = ", ".join(name for name, kind in METHODS.items() if kind.unlabeled)
                raise ValueError(f"{method.method} needs every label; with data.labeled below 1 take one of {able}.")
        distiller.teacher_bfloat16 = self.recipe.teacher.precision == "bf16-mixed"
        yield from self._fit(stage, distiller, student_schedule(self.recipe.train), self.answers(distiller))

    def answers(self, distiller: Distiller) -> Answers | None:
        """The teacher's answers, kept, where the recipe fixes the views and the method reads no more than is kept."""
        if not self.recipe.train.views or distiller.reads not in ("logits", "pooled"):
            return None
        split = self.data.splits["train"].pixels
        return Answers.of(distiller.guide, split, self.data.spec, self.augment, distiller.teacher_bfloat16)

    def finished(self, stage: str) -> Classifier:
        """A model that a stage has left, its weights rounded to the float16 that is shipped."""
        name = self.recipe.teacher.name if stage == "teacher" else self.recipe.student.name
        model = create_model(name, len(self.data.classes))
        model.load_state_dict(load_file(self._file(stage)))
        round_to_half(model)
        return model.eval()

    def start(self) -> str:
        """Which weights the teacher began with, in words."""
        return (self.run.path / "start.txt").read_text(encoding="utf-8")

    def _start(self) -> Classifier:
        """The teacher with its first weights: looked for once, then kept in the run with where they came from."""
        config = self.recipe.teacher
        torch.manual_seed(self.recipe.train.seed)
        model = create_model(config.name, len(self.data.classes))
        if self._file("start").is_file():
            model.load_state_dict(load_file(self._file("start")))
            return model
        words = start_from(model, config.name, config.weights)
        (self.run.path / "start.txt").write_text(words, encoding="utf-8")
        self._keep("start", model)
        self.run.update(message=f"The teacher starts from {words}.")
        return model

    def new_student(self, stage: str) -> Classifier:
        """The student with its first weights; only the taught one may take them from what a teacher has taught."""
        config, seed = self.recipe.student, self.recipe.train.seed
        init = "selection" if config.init == "general" and stage == "alone" else config.init
        torch.manual_seed(seed)
        model = create_model(config.name, len(self.data.classes))
        if init == "random" or stage == "scratch":
            return model
        if init in ("general", "published"):
            start_student(model, config.name, init, config.weights)
            return model
        source = self.finished("teacher") if init == "teacher" and stage == "student" else self._start()
        select_weights(source, model, how=config.selection, layers=config.layers, seed=seed)
        pixels = self.data.splits["train"].pixels
        some = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:REESTIMATE]
        reestimate_batch_norm(model, [self.data.spec.normalise(part) for part in torch.split(pixels[some], 64)])
        return model

    def _fit(
        self, stage: str, distiller: Distiller, schedule: Schedule, answers: Answers | None = None
    ) -> Iterator[dict[str, Any]]:
        self.run.update(stage=stage, epoch=0, epochs=schedule.epochs)
        checkpoint = self.run.path / f"checkpoint.{stage}.safetensors"
        splits = self.data.splits
        train = splits["train"] if distiller.unlabeled else self.data.labeled
        of = (distiller, train, splits["val"], schedule, self.data.spec, self.augment)
        logs = fit(*of, stage, checkpoint, answers)
        for log in logs:
            if log.best and distiller.partner is not None:
                self._keep(PARTNER, distiller.partner)
            self.run.append(log.to_json())
            self.run.update(epoch=log.epoch)
            yield log.to_json()
        self._keep(stage, distiller.student)
        checkpoint.unlink(missing_ok=True)

    def _keep(self, stage: str, model: Classifier) -> None:
        beside = self._file(stage).with_suffix(".part")
        save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, beside)
        beside.replace(self._file(stage))

    def has(self, stage: str) -> bool:
        """Whether a stage has left its model."""
        return self._file(stage).is_file()

    def _file(self, stage: str) -> Path:
        return self.run.path / f"{stage}.safetensors"


def teacher_schedule(teacher: TeacherConfig, shared: TrainConfig) -> Schedule:
    return Schedule(
        teacher.epochs,
        teacher.lr,
        teacher.weight_decay,
        teacher.batch_size,
        shared.warmup,
        shared.patience,
        teacher.precision,
        shared.seed,
        mixup=teacher.mixup,
        cutmix=teacher.cutmix,
        swa=teacher.swa,
    )


def student_schedule(train: TrainConfig) -> Schedule:
    return Schedule(
        train.epochs,
        train.lr,
        train.weight_decay,
        train.batch_size,
        train.warmup,
        train.patience,
        train.precision,
        train.seed,
        train.views,
    )


def evaluate(
    bundle: Bundle,
    data: str | Path | Dataset,
    split: str = "test",
    progress: Progress | None = None,
    mirrored: bool = False,
) -> dict[str, Any]:
    """Both models of a bundle, as shipped, on one split of a labelled set: the answer of `kdlight evaluate`.

    Classes are matched by name. mirrored: test-time augmentation, the mean of the logits of each picture and of its
    mirror image; refused where the bundle's modality is never mirrored in training. Raises DataError where the set
    does not fit the bundle or an image cannot be read.
    """
    opened = data if isinstance(data, Dataset) else open_dataset(data, bundle.classes)
    part = match_classes(opened.split(split), bundle.classes)
    if mirrored and not AUGMENTATIONS[bundle.card.modality].mirror:
        raise DataError(f"{bundle.card.modality} is never mirrored: its sides mean something. Leave mirrored out.")
    pixels = part.images(bundle.spec)
    predictor = Predictor(bundle)
    predictions = {}
    for number, role in enumerate(ROLES):
        engine = partial(_both_ways if mirrored else _logits, predictor, role)
        temperature = bundle.card.calibration[role]["temperature"]
        predictions[role] = predict(engine, pixels, temperature, progress=_share(progress, number))
    found = measure(predictions, part, bundle.classes)
    described = {"bundle": bundle.card.id, "data": opened.source.name, "split": split, "mirrored": mirrored}
    return {**described, "n": len(part), **found}


def _logits(predictor: Predictor, role: Role, pixels: np.ndarray) -> np.ndarray:
    """Rendered pixels uint8 (B, S, S, 3) to logits (B, K), on the engine that ships."""
    return predictor.logits(role, predictor.spec.normalise(torch.from_numpy(pixels)))


def _both_ways(predictor: Predictor, role: Role, pixels: np.ndarray) -> np.ndarray:
    """The mean of the logits of pictures and of their mirror images."""
    mirror = np.ascontiguousarray(pixels[:, :, ::-1])
    mean: np.ndarray = (_logits(predictor, role, pixels) + _logits(predictor, role, mirror)) / 2
    return mean


def _share(progress: Progress | None, number: int) -> Progress | None:
    """One model's part of the progress over both."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, len(ROLES) * total)
