"""A bundle at work: one image in, a Reading with two opinions out. The app reaches it through `kdlight.workers`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight import explain as explaining
from kdlight.bundle import Bundle
from kdlight.contracts.options import Settings, checked
from kdlight.contracts.reading import ROLES, Eligibility, Facts, HeatMap, Opinion, Reading, Role, Withheld
from kdlight.explain import ExplainError, Progress
from kdlight.explain.grade import Mapped
from kdlight.explain.likeness import likeness
from kdlight.images import Image
from kdlight.inference.eligibility import IneligibleError, eligibility, judged_too, margin
from kdlight.inference.engines import Answer, Engine, OnnxEngine, TorchEngine, Watched, flushed_denormals
from kdlight.inference.maps import class_map, grade, one_share, over_image
from kdlight.metrics import softmax
from kdlight.metrics.conformal import SetKind
from kdlight.trust.belonging import Judge
from kdlight.trust.sets import prediction_sets

if TYPE_CHECKING:
    from torch import Tensor

CLASS_MAPS = ("gradcam", "cam")
"""Heat maps that are the class map, once scaled, of a network that has one: `kdlight.explain.classmap` says why."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image on its way to the models."""

    x: Tensor
    """The models' input (3, S, S)."""
    facts: Facts
    shape: tuple[int, int]
    """Rows and columns of the image."""
    eligibility: Eligibility
    """By the file and its pixels; what the student's features add is known once it has answered."""
    confirmed: bool
    """It is to be read whatever speaks against it."""
    seconds: float
    """Taken to prepare it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which heat map is asked for."""

    method: str
    class_name: str | None
    """None: each model's own top class."""
    options: Mapping[str, Any]


class Predictor:
    """Teacher on torch, student on ONNX Runtime, both loaded and warm, for one thread; `prepare` may run in several.

    threads: of both; None is torch's number now. sets: kind of the prediction sets, the card's own by default. Batch
    norms are folded into the convolutions: up to two fifths faster, and nothing but rounding changes.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, sets: SetKind | None = None) -> None:
        import torch

        from kdlight.explain.scoring import folded

        self.bundle, self.spec, self.sets = bundle, bundle.spec, sets or bundle.card.conformal.kind
        self.models = {role: folded(bundle.model(role).requires_grad_(False)) for role in ROLES}
        self._judge = Judge.of(bundle)
        self._bytes = {role: bundle.weights(role).stat().st_size for role in ROLES}
        self._engines: dict[Role, Engine] = {
            "teacher": Watched(TorchEngine(self.models["teacher"]), bundle, "teacher"),
            "student": Watched(self._student(threads or torch.get_num_threads()), bundle, "student"),
        }
        self._answer(torch.zeros(1, self.spec.channels, self.spec.size, self.spec.size))

    def read(
        self,
        image: Image,
        explain: str | None = None,
        class_name: str | None = None,
        confirmed: bool = False,
        modality: str | None = None,
        progress: Progress | None = None,
        options: Mapping[str, Any] | None = None,
        graded: bool | None = None,
    ) -> Reading:
        """Both opinions of one image, and with `explain` (a heat map method) their maps.

        class_name: whose map; None is each model's own top class. modality: what the person chose, None if nothing.
        options: the method's (`Explainer.options`). graded: measure how far the maps can be trusted; None is for fast
        methods. Raises IneligibleError with the reasons if the bundle does not cover the image and it is not
        `confirmed`, ValueError for an unknown method, class or option.
        """
        started = time.perf_counter()
        wanted = self._wanted(explain, class_name, options)
        prepared = self.prepare(image, confirmed, modality)
        answers = self._answer(prepared.x[None], explain)
        reading = self._allowed(self._readings([prepared], answers)[0])
        maps = self._maps(prepared, wanted, answers, progress, graded) if wanted else {}
        return replace(
            reading,
            teacher=replace(reading.teacher, heat_map=maps.get("teacher")),
            student=replace(reading.student, heat_map=maps.get("student")),
            map_similarity=explaining.similarity(*(maps[role].values for role in ROLES)) if maps else None,
            map_likeness=likeness(*(maps[role].values for role in ROLES)) if maps else None,
            seconds=reading.seconds
            | {f"{role}_map": heat.seconds for role, heat in maps.items()}
            | {"total": time.perf_counter() - started},
        )

    def read_all(self, prepared: Sequence[Prepared]) -> list[Reading | Withheld]:
        """A Reading, without heat maps, of each of several images that belong; each model is asked once for all."""
        import torch

        if not prepared:
            return []
        return self._readings(prepared, self._answer(torch.stack([one.x for one in prepared])))

    def heat_maps(
        self,
        image: Image,
        method: str = explaining.DEFAULT,
        class_name: str | None = None,
        confirmed: bool = False,
        modality: str | None = None,
        progress: Progress | None = None,
    ) -> dict[Role, HeatMap]:
        """Both maps of one image, not graded; arguments and errors as in `read`."""
        wanted = self._wanted(method, class_name)
        prepared = self.prepare(image, confirmed, modality)
        answers = self._answer(prepared.x[None], method)
        self._allowed(self._readings([prepared], answers)[0])
        return self._maps(prepared, wanted, answers, progress, False) if wanted else {}

    def prepare(self, image: Image, confirmed: bool = False, modality: str | None = None) -> Prepared:
        """What the models need of an image. Raises IneligibleError as `read` does."""
        started = time.perf_counter()
        allowed = eligibility(self.bundle.card, image, modality, confirmed)
        if not allowed.eligible and not confirmed:
            raise IneligibleError(allowed.reasons, self._withheld(image.facts, allowed))
        x = self.spec.prepare(image)
        return Prepared(x, image.facts, image.shape, allowed, confirmed, time.perf_counter() - started)

    def logits(self, role: Role, x: Tensor) -> np.ndarray:
        """Logits (B, K) of prepared inputs x (B, 3, S, S), on the engine that ships."""
        return self._engines[role](x)

    def probabilities(self, role: Role, x: Tensor) -> np.ndarray:
        """Calibrated probabilities (B, K) of prepared inputs x (B, 3, S, S), on the engine that ships."""
        return self._calibrated(role, self.logits(role, x))

    def parity(self, x: Tensor) -> float:
        """Largest difference between the student on ONNX Runtime and on torch, on x (B, 3, S, S).

        In calibrated probability, and in class maps relative to the largest number in them.
        """
        (here, maps), (there, wanted) = (
            engine.answer(x)[:2] for engine in (self._engines["student"], TorchEngine(self.models["student"]))
        )
        apart = float(np.abs(self._calibrated("student", here) - self._calibrated("student", there)).max())
        if maps is None or wanted is None:
            return apart
        if maps.shape != wanted.shape:
            return 1.0
        return max(apart, float(np.abs(maps - wanted).max() / max(1.0, np.abs(wanted).max())))

    def _wanted(
        self, method: str | None, class_name: str | None, options: Mapping[str, Any] | None = None
    ) -> Wanted | None:
        settings = Settings if method is None else explaining.explainer(method).settings
        values = checked(settings, options or {}, section=method or "explain")
        if class_name is not None and class_name not in self.bundle.classes:
            raise ExplainError(f"Unknown class {class_name!r}; one of {', '.join(self.bundle.classes)} was expected.")
        return None if method is None else Wanted(method, class_name, values)

    def _answer(self, x: Tensor, method: str | None = None) -> dict[Role, Answer]:
        """Both models' logits, with class maps where `method` is made from them: no second pass is then needed."""
        if method in CLASS_MAPS:
            return {role: engine.answer(x) for role, engine in self._engines.items()}
        teacher, student = (self._engines[role] for role in ROLES)
        known = student.answer(x)._replace(maps=None) if self._judge else None
        return {"teacher": Answer(teacher(x)), "student": known or Answer(student(x))}

    def _calibrated(self, role: Role, logits: np.ndarray) -> np.ndarray:
        return softmax(logits, self.bundle.card.temperature(role))

    def _student(self, threads: int) -> OnnxEngine:
        return OnnxEngine.of(self.bundle, threads, stages=self._judge is not None)

    @staticmethod
    def _allowed(reading: Reading | Withheld) -> Reading:
        """Raises IneligibleError for what was withheld."""
        if isinstance(reading, Withheld):
            raise IneligibleError(reading.eligibility.reasons, reading)
        return reading

    def _withheld(self, facts: Facts, found: Eligibility) -> Withheld:
        return Withheld(self.bundle.card.id, self.bundle.card.version, self.bundle.sha256, facts, found)

    def eligibilities(self, prepared: Sequence[Prepared]) -> list[Eligibility]:
        """Whether each image belongs, also by what the student's features say of it; the teacher is not asked."""
        import torch

        if self._judge is None or not prepared:
            return [one.eligibility for one in prepared]
        x = torch.stack([one.x for one in prepared])
        return self._eligibilities(prepared, self._engines["student"].answer(x).stages)

    def _eligibilities(self, prepared: Sequence[Prepared], stages: Sequence[np.ndarray]) -> list[Eligibility]:
        """Of each image, with what the student's features by stage, (B, C) each, say of it."""
        if self._judge is None:
            return [one.eligibility for one in prepared]
        judged = zip(prepared, self._judge.judge(np.concatenate(stages, axis=1)), strict=True)
        return [judged_too(self.bundle.card, one.eligibility, found, one.confirmed) for one, found in judged]

    def _readings(self, prepared: Sequence[Prepared], answers: Mapping[Role, Answer]) -> list[Reading | Withheld]:
        """Of images with these answers of both models, without heat maps; only those that belong or are confirmed."""
        card = self.bundle.card
        opinions = {role: self._opinions(role, answers[role].logits) for role in ROLES}
        found = self._eligibilities(prepared, answers["student"].stages)
        return [
            Reading(
                bundle=card.id,
                bundle_version=card.version,
                bundle_sha256=self.bundle.sha256,
                image=one.facts,
                eligibility=allowed,
                teacher=teacher,
                student=student,
                must_not_miss=card.must_not_miss,
                level=card.level,
                level_by_class=self.sets.startswith("class"),
                sensitivity=card.sensitivities(),
                seconds={"prepare": one.seconds},
            )
            if allowed.eligible or one.confirmed
            else self._withheld(one.facts, allowed)
            for one, allowed, teacher, student in zip(prepared, found, *opinions.values(), strict=True)
        ]

    def _opinions(self, role: Role, logits: np.ndarray) -> list[Opinion]:
        """One model's opinion for each row of its logits (B, K)."""
        card, classes, network = self.bundle.card, self.bundle.classes, self.bundle.card.network(role)
        probabilities = self._calibrated(role, logits)
        sets = prediction_sets(card, role, self.sets, probabilities)
        return [
            Opinion(
                role=role,
                architecture=network.architecture,
                probabilities=dict(zip(classes, row.tolist(), strict=True)),
                prediction=classes[top],
                prediction_set=tuple(name for name, inside in zip(classes, chosen, strict=True) if inside),
                margin=margin(card, role),
                parameters=network.parameters,
                bytes=self._bytes[role],
                thresholds=card.thresholds(role),
            )
            for row, chosen, top in zip(probabilities, sets, logits.argmax(axis=1).tolist(), strict=True)
        ]

    def _maps(
        self,
        prepared: Prepared,
        wanted: Wanted,
        answers: Mapping[Role, Answer],
        progress: Progress | None,
        graded: bool | None,
    ) -> dict[Role, HeatMap]:
        """Both maps of one image."""
        method, class_name, maps = wanted.method, wanted.class_name, {}
        measure = explaining.explainer(method).cost == "fast" if graded is None else graded
        for number, role in enumerate(ROLES):
            (logits, class_maps, _), x = answers[role], prepared.x[None]
            report = one_share(progress, number, f"{explaining.explainer(method).title} of the {role}")
            report(0.0, "")
            started = time.perf_counter()
            index = int(logits[0].argmax()) if class_name is None else self.bundle.classes.index(class_name)
            with flushed_denormals():
                if class_maps is not None:
                    explanation = class_map(self.models[role], x, class_maps[0, index])
                else:
                    asked = (self.models[role], x, index, method, report)
                    explanation = explaining.explained(*asked, **wanted.options)
            seconds = time.perf_counter() - started
            one = Mapped(self.models[role], x, index, method, wanted.options, explanation.heat)
            answered, asks = index == int(logits[0].argmax()), partial(self.probabilities, role)
            found = grade(self.bundle.card, one, asks, answered) if measure else None
            what = (method, self.bundle.classes[index], seconds)
            maps[role] = over_image(self.spec, explanation, found, prepared.shape, *what)
            report(1.0, "")
        return maps
