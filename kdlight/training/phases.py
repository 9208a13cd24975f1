"""The phases of a run: each trains one model and leaves it in the run's folder as soon as it is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from kdlight.compress import round_to_half
from kdlight.contracts.recipe import Recipe, TeacherConfig, TrainConfig
from kdlight.contracts.schedule import ScheduleConfig
from kdlight.distillers import METHODS, Distiller, create_distiller, find
from kdlight.models import Classifier, create_model, start_from, start_student
from kdlight.models.weight_selection import reestimate_batch_norm, select_weights
from kdlight.runs import EpochRecord, Phase, Run
from kdlight.runs.progress import say
from kdlight.training import checkpoint as checkpoints
from kdlight.training.batches import shuffled
from kdlight.training.checkpoint import load_weights, save_weights
from kdlight.training.data import RunData
from kdlight.training.loop import Augment, Loop, Schedule, fit
from kdlight.training.teacher_cache import CACHEABLE, TeacherCache

BASELINES: tuple[Phase, ...] = ("alone", "scratch", "same_start")
"""Students that no teacher taught; the recipe's [train] says which are trained."""
PARTNER = "partner"
"""The second model of a pair that learned together, as it was at the student's best epoch. No bundle ships it."""
OF_EACH = set(ScheduleConfig.model_fields) - {"label_smoothing"}
OF_BOTH = {"warmup", "patience", "seed"}
"""Of a schedule what each model's section has, and what [train] has for both models."""
REESTIMATE = 512
"""Training images that set a selected student's batch-norm statistics."""


@dataclass(frozen=True, slots=True)
class Phases:
    """The trainings of one run, in order; each yields its records and ends in a file of the run's folder."""

    recipe: Recipe
    run: Run
    data: RunData
    weights: torch.Tensor
    augment: Augment

    def teacher(self) -> Iterator[EpochRecord]:
        """Fine-tune the big model; refuses first what no student could be trained from after it."""
        if self._is_finished("teacher"):
            return
        self._refuse()
        config = self.recipe.teacher
        model = self._start()
        teacher_weights = self.weights if self.recipe.train.balance != "none" else None
        distiller = create_distiller("alone", model, None, teacher_weights, config.label_smoothing, config.focal)
        yield from self._fit("teacher", distiller, teacher_schedule(config, self.recipe.train))

    def _refuse(self) -> None:
        """Raise ValueError now for first weights, a method or labels that do not fit, not after the teacher's hours."""
        for phase in (*BASELINES, "student"):
            if phase == "student" or getattr(self.recipe.train, phase):
                student, _ = first_weights(self.recipe, phase, len(self.data.classes), self._start)
                self._distiller(phase, student, self._start() if phase == "student" else None)

    def student(self, phase: Phase) -> Iterator[EpochRecord]:
        """Train the small model, taught (`student`) or by itself (one of BASELINES), on the same budget."""
        if self._is_finished(phase):
            return
        model, teacher = self.new_student(phase), None
        if phase not in BASELINES:
            method, init = find(self.recipe.distill.method), self.recipe.student.init
            trained = method.needs != "nothing" or init == "teacher"
            teacher = self.finished("teacher") if trained else self._start()  # one that only gives first weights
        distiller = self._distiller(phase, model, teacher)
        yield from self._fit(phase, distiller, student_schedule(self.recipe.train), self.teacher_cache(distiller))

    def _distiller(self, phase: Phase, student: Classifier, teacher: Classifier | None) -> Distiller:
        """What trains a student of this phase. Raises ValueError where the method does not fit the recipe."""
        shared = (self.weights, self.recipe.train.label_smoothing)
        if phase in BASELINES:
            distiller = create_distiller("alone", student, None, *shared)
        else:
            method = self.recipe.distill
            distiller = create_distiller(method.method, student, teacher, *shared, **method.options)
            if self.recipe.train.mixes and not distiller.mixable:
                able = ", ".join(name for name, kind in METHODS.items() if kind.mixable)
                raise ValueError(f"{method.method} needs whole images; with train.mixup or cutmix take one of {able}.")
            if self.recipe.data.labeled < 1 and not distiller.unlabeled:
                able = ", ".join(name for name, kind in METHODS.items() if kind.unlabeled)
                raise ValueError(f"{method.method} needs every label; with data.labeled below 1 take one of {able}.")
        share, epochs = distiller.best_epoch_from, self.recipe.train.epochs
        if epochs - 1 < share * epochs < epochs:
            raise ValueError(
                f"{self.recipe.distill.method} spends {share:.0%} of the epochs on its first phase, and train.epochs = "
                f"{epochs} leaves none for the second. Give {math.ceil(1 / (1 - share))} or more."
            )
        distiller.teacher_bfloat16 = self.recipe.teacher.precision == "bf16-mixed"
        return distiller

    def teacher_cache(self, distiller: Distiller) -> TeacherCache | None:
        """A cache of the teacher's outputs, where the recipe fixes the views and the method needs no feature maps."""
        if not self.recipe.train.views or distiller.needs not in CACHEABLE:
            return None
        split = self.data.splits["train"].pixels
        return TeacherCache.of(distiller.teacher_model, split, self.data.spec, self.augment, distiller.teacher_bfloat16)

    def finished(self, name: str) -> Classifier:
        """A model that the run has finished, its weights rounded to the float16 that is shipped."""
        architecture = self.recipe.teacher.name if name == "teacher" else self.recipe.student.name
        model = create_model(architecture, len(self.data.classes))
        load_weights(self._file(name), model)
        round_to_half(model)
        return model.eval()

    def _start(self) -> Classifier:
        """The teacher with its first weights: looked for once, then saved in the run with where they came from."""
        config = self.recipe.teacher
        torch.manual_seed(self.recipe.train.seed)
        model = create_model(config.name, len(self.data.classes))
        if self._file("start").is_file():
            load_weights(self._file("start"), model)
            return model
        began = start_from(model, config.name, config.weights)
        self.run.keep_teacher_start(began)
        save_weights(self._file("start"), model)
        self.run.update(message=f"The teacher starts from {began.words}.")
        return model

    def new_student(self, phase: Phase) -> Classifier:
        """The student with its starting weights; those of the taught one may come from the trained teacher."""
        taught = self.recipe.student.init == "teacher" and phase in ("student", "same_start")
        source = partial(self.finished, "teacher") if taught else self._start
        model, selected = first_weights(self.recipe, phase, len(self.data.classes), source)
        if selected:
            some = shuffled(self.data.splits["train"].pixels, 0, REESTIMATE)
            reestimate_batch_norm(model, [self.data.spec.normalise(part) for part in some])
        return model

    def _fit(
        self, phase: Phase, distiller: Distiller, schedule: Schedule, cache: TeacherCache | None = None
    ) -> Iterator[EpochRecord]:
        self.run.update(phase=phase, epoch=0, epochs=schedule.epochs)
        checkpoint = self._checkpoint(phase)
        splits = self.data.splits
        train = splits["train"] if distiller.unlabeled else self.data.labeled
        if phase in BASELINES:
            train = train.repeated(len(splits["train"]))  # as many steps as the taught student has
        loop = Loop.of(distiller, train, schedule, self.data.spec, self.augment, cache)

        def keep(record: EpochRecord) -> None:
            if record.best and distiller.partner is not None:
                save_weights(self._file(PARTNER), distiller.partner)
            self.run.append(record)

        def tell(sentence: str) -> None:
            say(sentence)
            self.run.update(note=sentence)

        for record in fit(loop, splits["val"], phase, checkpoint, keep, tell):
            self.run.update(epoch=record.epoch)
            yield record
        save_weights(self._file(phase), distiller.student)
        checkpoints.remove(checkpoint)

    def has(self, name: str) -> bool:
        """Whether the run has finished this model."""
        return self._file(name).is_file()

    def _is_finished(self, phase: Phase) -> bool:
        """Whether it left its weights; a kill may then have left its checkpoints too, which go."""
        if self.has(phase):
            checkpoints.remove(self._checkpoint(phase))
        return self.has(phase)

    def _checkpoint(self, phase: Phase) -> Path:
        return self.run.path / f"checkpoint.{phase}.safetensors"

    def _file(self, name: str) -> Path:
        return self.run.path / f"{name}.safetensors"


def first_weights(
    recipe: Recipe, phase: Phase, num_classes: int, teacher: Callable[[], Classifier]
) -> tuple[Classifier, bool]:
    """A new student of a phase, and whether its weights were selected from `teacher`, which is called only then.

    Raises ValueError where the recipe's first weights are not of this student.
    """
    config, seed = recipe.student, recipe.train.seed
    init = "selection" if config.init == "general" and phase == "alone" else config.init
    torch.manual_seed(seed)
    model = create_model(config.name, num_classes)
    if init == "random" or phase == "scratch":
        return model, False
    if init in ("general", "published"):
        start_student(model, config.name, init, config.weights)
        return model, False
    select_weights(teacher(), model, how=config.selection, layers=config.layers, seed=seed)
    return model, True


def teacher_schedule(teacher: TeacherConfig, shared: TrainConfig) -> Schedule:
    """The [teacher] section's, with what [train] says of both models."""
    return Schedule(**teacher.model_dump(include=OF_EACH), **shared.model_dump(include=OF_BOTH))


def student_schedule(train: TrainConfig) -> Schedule:
    return Schedule(**train.model_dump(include={*OF_EACH, *OF_BOTH, "views"}))
