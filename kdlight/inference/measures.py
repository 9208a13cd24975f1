"""What says how far a pair may be trusted, added to an evaluation: the ledger of forgetting, coverage, subgroups."""

from __future__ import annotations

import numpy as np

from kdlight.bundle import Bundle
from kdlight.inference.engines import Engine, OnnxEngine, TorchEngine
from kdlight.inference.evaluate import Evaluation, predict
from kdlight.metrics.ledger import Ledger, ledger
from kdlight.trust import sets
from kdlight.trust.columns import columns
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
        found["int8"] = ask(OnnxEngine(bundle.path / INT8, torch.get_num_threads()))
    return found


def coverage_of(bundle: Bundle, evaluation: Evaluation) -> Coverages:
    """How often each kind of the card's prediction sets holds the truth."""
    part = evaluation.part
    return sets.covered(bundle.card.conformal, bundle.classes, evaluation.probabilities, part.labels, part.groups)
