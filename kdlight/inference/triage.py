"""A stream of files through triage: the student sees each one, the teacher those that it is not sure of."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from kdlight.bundle import Bundle
from kdlight.inference.batch import BATCH, File, prepared
from kdlight.inference.predictor import Predictor
from kdlight.metrics.triage import Fault, least_answered, sorted_out


class TriageError(ValueError):
    """A bundle proves no threshold for what was asked."""


class Sorted(BaseModel):
    """Who is to answer to one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    by: Literal["student", "both", "person"]
    """both: the teacher was asked and agrees."""
    answer: str | None = None
    """A class; None where a person is to answer."""
    probability: float | None = None
    """Of the answer, by the student, or by the teacher where both answer."""
    refused: str | None = None
    """Why the file was not read, or is not what the bundle was made for."""


def threshold(bundle: Bundle, risk: float, fault: Fault) -> float:
    """From the card's calibration images. Raises TriageError where they are not there or prove none."""
    counted = bundle.card.triage
    if counted is None:
        raise TriageError(
            f"The card of {bundle.card.name} has no counts for triage; it was made before they were kept. "
            f"Measure on labeled images (kdlight evaluate --triage), or train the pair anew."
        )
    found = counted.threshold(risk, fault)
    if found is None:
        raise TriageError(
            f"On the {counted.n} calibration images of {bundle.card.name} no threshold is proven to keep a risk of "
            f"{risk:g}; {least_answered(risk)} or more answers without a fault were needed. Ask for a higher risk."
        )
    return found


def sort(
    predictor: Predictor, files: Iterable[Path], limit: float, frame: int = 0, confirmed: bool = False
) -> Iterator[Sorted]:
    """Who answers to each file, in order. limit: of the probability, as `threshold` gives it.

    What cannot be read, or is not what the bundle was made for, is a person's.
    """
    ready = prepared(predictor, files, frame, confirmed)
    while part := judged(predictor, list(itertools.islice(ready, BATCH))):
        answers = iter(_answers(predictor, [file for file in part if _fits(file)], limit))
        yield from (next(answers) if _fits(file) else _left(file) for file in part)


def judged(predictor: Predictor, part: list[File]) -> list[File]:
    """The files with what the student's features say of whether each belongs."""
    found = iter(predictor.eligibilities([file.prepared for file in part if file.prepared is not None]))
    return [
        file if file.prepared is None else replace(file, prepared=replace(file.prepared, eligibility=next(found)))
        for file in part
    ]


def _fits(file: File) -> bool:
    return file.prepared is not None and file.prepared.eligibility.eligible


def _left(file: File) -> Sorted:
    known = file.prepared or file.withheld
    reasons = " ".join(known.eligibility.reasons) if known else file.refused
    return Sorted(file=str(file.path), by="person", refused=reasons)


def _answers(predictor: Predictor, part: list[File], limit: float) -> list[Sorted]:
    import torch

    if not part:
        return []
    x = torch.stack([file.prepared.x for file in part if file.prepared is not None])
    student = predictor.probabilities("student", x)
    teacher, unsure = student.copy(), student.max(axis=1) < limit
    if unsure.any():
        teacher[unsure] = predictor.probabilities("teacher", x[torch.from_numpy(unsure)])
    alone, both = sorted_out(student, teacher, limit)
    found = []
    for i, file in enumerate(part):
        by: Literal["student", "both", "person"] = "student" if alone[i] else "both" if both[i] else "person"
        said = {} if by == "person" else {"answer": predictor.bundle.classes[int(student[i].argmax())]}
        p = None if by == "person" else float((student if alone[i] else teacher)[i].max())
        found.append(Sorted(file=str(file.path), by=by, probability=p, **said))
    return found
