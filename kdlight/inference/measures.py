"""What says how far a pair may be trusted, added to an evaluation: ledger, coverage, triage, subgroups, shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from kdlight.bundle import Bundle
from kdlight.bundle.looks import KindWithheld
from kdlight.contracts.reading import ROLES, Role
from kdlight.data.splits import halved
from kdlight.inference.engines import Engine, OnnxEngine, TorchEngine
from kdlight.inference.evaluate import Evaluation, Progress, asking, predict
from kdlight.inference.learn import kinds_withheld, summary
from kdlight.inference.look_alike import Seen, looks
from kdlight.inference.predictor import Predictor
from kdlight.inference.robustness import ASKED_AGAIN, spread
from kdlight.inference.shortcuts import shortcuts
from kdlight.metrics.drift import Drift, class_mix, drift
from kdlight.metrics.ledger import Ledger, ledger
from kdlight.metrics.look_alike import LookAlike
from kdlight.metrics.predictive import Facts, facts
from kdlight.metrics.report import Report
from kdlight.metrics.shortcuts import Shortcuts
from kdlight.metrics.subgroups import Subgroups, subgroups
from kdlight.metrics.triage import Fault, Triage, tallies, triage
from kdlight.trust import sets
from kdlight.trust.belonging import Judge
from kdlight.trust.columns import columns
from kdlight.trust.columns import subgroups as of_people
from kdlight.trust.drift import REFERENCE
from kdlight.trust.sets import Coverages

INT8 = "student.int8.onnx"
"""In a bundle that `kdlight compress` made."""


def ledger_of(bundle: Bundle, evaluation: Evaluation) -> Ledger:
    """Every decision that changes from the teacher to the student, its ONNX file and its int8 file where there is one.

    By class and by every column of the manifest that parts the images.
    """
    part, card = evaluation.part, bundle.card
    return ledger(way(bundle, evaluation), part.labels, part.classes, card.must_not_miss, part.groups, columns(part))


def way(bundle: Bundle, evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Calibrated probabilities (N, K) of the same images by model, from the teacher to the smallest student."""
    import torch

    def ask(engine: Engine) -> np.ndarray:
        def logits(pixels: np.ndarray) -> np.ndarray:
            return engine(bundle.spec.normalise(torch.from_numpy(pixels)))

        return predict(logits, evaluation.pixels, bundle.card.temperature("student"))

    shipped = evaluation.probabilities
    found = {"teacher": shipped["teacher"], "student": ask(TorchEngine(bundle.model("student")))}
    found["ONNX"] = shipped["student"]
    if (bundle.path / INT8).is_file():
        found["int8"] = ask(OnnxEngine.of(bundle, torch.get_num_threads(), bundle.path / INT8))
    return found


def coverage_of(bundle: Bundle, evaluation: Evaluation) -> Coverages:
    """How often each kind of the card's prediction sets holds the truth."""
    part = evaluation.part
    return sets.covered(bundle.card.conformal, bundle.classes, evaluation.probabilities, part.labels, part.groups)


def triage_of(bundle: Bundle, evaluation: Evaluation, risk: float, fault: Fault = "wrong") -> Triage:
    """Who answers at the threshold that one half of the groups proves, measured on the other half.

    risk, 0 to 1: largest share of faults among answers without a person. Raises MetricError for another.
    """
    part, card = evaluation.part, bundle.card
    chose = np.array([item.split == "fit" for item in halved(part, part.items[0].split, "fit", seed=0).items])
    urgent = [entry.must_not_miss for entry in card.classes]
    pair = [evaluation.probabilities[role] for role in ("student", "teacher")]
    fitted = tallies(pair[0][chose], pair[1][chose], part.labels[chose], urgent, part.groups[chose])
    speed = card.metrics.latency
    ms = None if speed is None else (speed.student_ms, speed.teacher_ms)
    left = (pair[0][~chose], pair[1][~chose])
    return triage(fitted, risk, fault, left, part.labels[~chose], urgent, part.groups[~chose], ms)


def subgroups_of(bundle: Bundle, evaluation: Evaluation) -> Subgroups | None:
    """Both models by sex, age, scanner, source and skin tone; None where the manifest has none of them."""
    part, urgent = evaluation.part, bundle.card.must_not_miss
    found = of_people(part)
    return subgroups(evaluation.probabilities, part.labels, part.classes, urgent, part.groups, found) if found else None


def drift_of(bundle: Bundle, evaluation: Evaluation) -> Drift | None:
    """Whether these images are distributed as the held-out ones of the training's set.

    None where the bundle does not know how those are: it was made before that was kept.
    """
    judge, part = Judge.of(bundle), evaluation.part
    if judge is None or REFERENCE not in judge.looks:
        return None
    engine = OnnxEngine.of(bundle, 1, stages=True)
    found = summary(judge.looks, engine, bundle.spec, evaluation.pixels, part.groups)
    mix = class_mix(bundle.card.data.counts.get("train", {}), part.counts(), bundle.classes)
    return drift(judge.looks[REFERENCE].astype(np.float64), found, mix)


def eligibility_of(bundle: Bundle, evaluation: Evaluation) -> tuple[KindWithheld, ...]:
    """How many images are withheld. Raises ValueError where the bundle does not know what its images look like."""
    return kinds_withheld(bundle, evaluation.pixels)


def shortcuts_of(bundle: Bundle, evaluation: Evaluation, progress: Progress = lambda *_: None) -> Shortcuts:
    """What rim, corners and markers do to both models, on ASKED_AGAIN images at most."""
    part = evaluation.part
    rows = spread(part.labels, ASKED_AGAIN)
    whole = {role: p[rows] for role, p in evaluation.probabilities.items()}
    known = {name: values[rows] for name, values in of_people(part).items()}
    about = (part.labels[rows], part.classes, part.groups[rows], known)
    return shortcuts(asking(Predictor(bundle)), whole, evaluation.pixels[rows], *about, progress)


def look_alike_of(
    bundle: Bundle, evaluation: Evaluation, progress: Progress = lambda *_: None, seen: Seen = lambda *_: None
) -> LookAlike:
    """How alike the maps of both models are, on ASKED_AGAIN images at most; seen: told each index and its maps."""
    rows = spread(evaluation.part.labels, ASKED_AGAIN)
    part = replace(evaluation.part, items=tuple(evaluation.part.items[i] for i in rows))
    probabilities = {role: p[rows] for role, p in evaluation.probabilities.items()}
    models = Predictor(bundle).models
    return looks(models, bundle.spec, evaluation.pixels[rows], probabilities, part, progress, seen)


def facts_of(reports: Mapping[str, Report], prevalences: Mapping[str, float | None]) -> dict[Role, dict[str, Facts]]:
    """What an answer is worth, by model and class, at a prevalence of each class; without one, no predictive values."""
    return {role: {name: facts(reports[role], name, p) for name, p in prevalences.items()} for role in ROLES}


ADDED: Mapping[str, Callable[[Bundle, Evaluation], object]] = {
    "ledger": ledger_of,
    "drift": drift_of,
    "subgroups": subgroups_of,
    "coverage": coverage_of,
    "eligibility": eligibility_of,
    "look_alike": look_alike_of,
    "shortcuts": shortcuts_of,
}
"""What an evaluation has only where somebody asks for it, by its field there."""
