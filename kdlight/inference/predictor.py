"""A bundle at work: one image in, a Reading with two opinions out. The app reaches it through `kdlight.workers`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kdlight import explain as explaining
from kdlight.bundle import Bundle
from kdlight.contracts.options import Settings, checked
from kdlight.contracts.reading import ROLES, Eligibility, Facts, HeatMap, Opinion, Reading, Role
from kdlight.explain import ExplainError, Progress
from kdlight.images import Image
from kdlight.inference.eligibility import IneligibleError, eligibility, margin
from kdlight.inference.engines import Answer, Engine, OnnxEngine, TorchEngine, Watched, flushed_denormals
from kdlight.metrics import softmax
from kdlight.metrics.conformal import SetKind
from kdlight.trust.sets import prediction_sets

if TYPE_CHECKING:
    from torch import Tensor

CLASS_MAPS = ("gradcam", "cam")
"""Heat maps that are the class map, once scaled, of a network that has one: `kdlight.explain.classmap` says why."""
MAP_SIDE = 512
"""Heat maps are given at most this large on their longer side: their true grain is a few cells."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image on its way to the models."""

    x: Tensor
    """The models' input (3, S, S)."""
    facts: Facts
    shape: tuple[int, int]
    """Rows and columns of the image."""
    eligibility: Eligibility
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
        self._bytes = {role: bundle.weights(role).stat().st_size for role in ROLES}
        self._engines: dict[Role, Engine] = {
            "teacher": Watched(TorchEngine(self.models["teacher"]), bundle, "teacher"),
            "student": Watched(OnnxEngine.of(bundle, threads or torch.get_num_threads()), bundle, "student"),
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
    ) -> Reading:
        """Both opinions of one image, and with `explain` (a heat map method) their maps.

        class_name: whose map; None is each model's own top class. modality: what the person chose, None if nothing.
        options: the method's (`Explainer.options`). Raises IneligibleError with the reasons if the bundle does not
        cover the image and it is not `confirmed`, ValueError for an unknown method, class or option.
        """
        started = time.perf_counter()
        wanted = self._wanted(explain, class_name, options)
        prepared = self.prepare(image, confirmed, modality)
        answers = self._answer(prepared.x[None], explain)
        maps = self._maps(prepared, wanted, answers, progress, graded=True) if wanted else {}
        (reading,) = self._readings([prepared], {role: answer[0] for role, answer in answers.items()})
        return replace(
            reading,
            teacher=replace(reading.teacher, heat_map=maps.get("teacher")),
            student=replace(reading.student, heat_map=maps.get("student")),
            map_similarity=explaining.similarity(*(maps[role].values for role in ROLES)) if maps else None,
            seconds=reading.seconds
            | {f"{role}_map": heat.seconds for role, heat in maps.items()}
            | {"total": time.perf_counter() - started},
        )

    def read_all(self, prepared: Sequence[Prepared]) -> list[Reading]:
        """A Reading, without heat maps, of each of several images; each model is asked once for all."""
        import torch

        if not prepared:
            return []
        answers = self._answer(torch.stack([one.x for one in prepared]))
        return self._readings(prepared, {role: answer[0] for role, answer in answers.items()})

    def heat_maps(
        self,
        image: Image,
        method: str = explaining.DEFAULT,
        class_name: str | None = None,
        confirmed: bool = False,
        modality: str | None = None,
        progress: Progress | None = None,
    ) -> dict[Role, HeatMap]:
        """Both maps of one image, their support not measured; arguments and errors as in `read`."""
        wanted = self._wanted(method, class_name)
        prepared = self.prepare(image, confirmed, modality)
        answers = self._answer(prepared.x[None], method)
        return self._maps(prepared, wanted, answers, progress) if wanted else {}

    def prepare(self, image: Image, confirmed: bool = False, modality: str | None = None) -> Prepared:
        """What the models need of an image. Raises IneligibleError as `read` does."""
        started = time.perf_counter()
        allowed = eligibility(self.bundle.card, image, modality, confirmed)
        if not allowed.eligible and not confirmed:
            raise IneligibleError(allowed.reasons)
        x = self.spec.prepare(image)
        return Prepared(x, image.facts, image.shape, allowed, time.perf_counter() - started)

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
            engine.with_maps(x) for engine in (self._engines["student"], TorchEngine(self.models["student"]))
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
            return {role: engine.with_maps(x) for role, engine in self._engines.items()}
        return {role: (engine(x), None) for role, engine in self._engines.items()}

    def _calibrated(self, role: Role, logits: np.ndarray) -> np.ndarray:
        return softmax(logits, self.bundle.card.temperature(role))

    def _readings(self, prepared: Sequence[Prepared], logits: Mapping[Role, np.ndarray]) -> list[Reading]:
        """The Readings of images with these logits (B, K) of both models, without heat maps."""
        card, opinions = self.bundle.card, {role: self._opinions(role, logits[role]) for role in ROLES}
        return [
            Reading(
                bundle=card.id,
                bundle_version=card.version,
                bundle_sha256=self.bundle.sha256,
                image=one.facts,
                eligibility=one.eligibility,
                teacher=teacher,
                student=student,
                must_not_miss=card.must_not_miss,
                level=card.level,
                level_by_class=self.sets.startswith("class"),
                sensitivity=card.sensitivities(),
                seconds={"prepare": one.seconds},
            )
            for one, teacher, student in zip(prepared, *(opinions[role] for role in ROLES), strict=True)
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
        graded: bool = False,
    ) -> dict[Role, HeatMap]:
        """Both maps of one image."""
        method, class_name, maps = wanted.method, wanted.class_name, {}
        for number, role in enumerate(ROLES):
            logits, class_maps = answers[role]
            report = _share(progress, number, f"{explaining.explainer(method).title} of the {role}")
            report(0.0, "")
            started = time.perf_counter()
            index = int(logits[0].argmax()) if class_name is None else self.bundle.classes.index(class_name)
            with flushed_denormals():
                if class_maps is not None:
                    explanation = self._class_map(role, prepared.x[None], class_maps[0, index])
                else:
                    asked = (self.models[role], prepared.x[None], index, method, report)
                    explanation = explaining.explained(*asked, **wanted.options)
            seconds, x = time.perf_counter() - started, prepared.x[None]
            ratio = explaining.odds_ratio(explanation.heat, x, self._engines[role], index) if graded else None
            maps[role] = self._graded(explanation, ratio, prepared.shape, method, self.bundle.classes[index], seconds)
            report(1.0, "")
        return maps

    def _class_map(self, role: Role, x: Tensor, cells: np.ndarray) -> explaining.Explanation:
        """A class map (h, w) that came with the answer, on the input."""
        import torch

        from kdlight.explain.trace import lattices
        from kdlight.explain.watch import cam_layer

        model = self.models[role]
        (lattice,) = lattices(model, [cam_layer(model)], x)
        evidence = explaining.Evidence(torch.from_numpy(cells), lattice)
        return explaining.explanation(evidence, (self.spec.size, self.spec.size))

    def _graded(
        self,
        explanation: explaining.Explanation,
        odds_ratio: float | None,
        shape: tuple[int, int],
        method: str,
        name: str,
        seconds: float,
    ) -> HeatMap:
        """A map over the model's input as one over the image, and how far it can be trusted."""
        scale = min(1.0, MAP_SIDE / max(shape))
        rows, columns = (max(1, round(side * scale)) for side in shape)
        values = self.spec.to_image_plane(explanation.heat, (rows, columns))
        grade = explaining.grade(values, odds_ratio)
        return HeatMap(
            method=method,
            class_name=name,
            values=np.zeros_like(values) if grade.flat else values,
            flat=grade.flat,
            note=f"{grade.words} {explanation.note}".strip(),
            seconds=seconds,
            cells=explanation.cells,
            input_size=self.spec.size,
            support=grade.support,
            odds_ratio=grade.odds_ratio,
        )


def _share(progress: Progress | None, number: int, words: str) -> Progress:
    """One model's share, half of the whole, told to the caller."""

    def report(share: float, _detail: str) -> None:
        if progress is not None:
            progress((number + share) / len(ROLES), words)

    return report
