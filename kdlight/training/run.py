"""From a recipe to a bundle: data, the teacher, the student alone, the student with its teacher, all measured.

Each phase leaves its result in the run's folder, so a run that was stopped goes on from its last epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from kdlight.config import Recipe
from kdlight.data import class_weights
from kdlight.modality import modality
from kdlight.models import Classifier
from kdlight.preprocessing.augment import augmentation
from kdlight.runs import EpochRecord, Run
from kdlight.training import result
from kdlight.training.data import prepare
from kdlight.training.phases import BASELINES, PARTNER, Phases


def execute(recipe: Recipe, run: Run) -> Iterator[EpochRecord]:
    """Run a recipe to its end; yields each epoch's record, which is in the run's log before it is yielded.

    What the run's folder already holds is not done again. Raises ValueError subclasses for the caller's mistakes.
    """
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    torch.set_flush_denormal(True)
    run.update(phase="data", epoch=0, epochs=0)
    modality(recipe.data.modality)
    augment = augmentation(recipe.data.augmentation or recipe.data.modality, recipe.data.size)
    data = prepare(recipe.data, run.path)
    labels = data.labeled.labels.numpy()
    weights = torch.from_numpy(class_weights(labels, recipe.train.balance, len(data.classes))).float()
    phases = Phases(recipe, run, data, weights, augment)
    yield from phases.teacher()
    baselines = [name for name in BASELINES if getattr(recipe.train, name)]
    for phase in (*baselines, "student"):
        yield from phases.student(phase)
    run.update(phase="calibrate")
    models: dict[str, Classifier] = {name: phases.finished(name) for name in ("teacher", "student", *baselines)}
    measured = result.calibrate(models, data.splits, data.spec)
    partner = {PARTNER: phases.finished(PARTNER)} if phases.has(PARTNER) else {}
    unshipped = result.calibrate(partner, data.splits, data.spec)
    result.write_predictions(run, {**measured.test, **unshipped.test}, data.dataset.split("test"))
    run.update(phase="bundle")
    made = result.assemble(run.bundle, recipe, data.dataset, data.spec, models, measured, phases.start())
    run.update(at_chance=list(made.card.at_chance))
