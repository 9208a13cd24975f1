"""A bundle at work: one image in, a Reading with two opinions out.

A Predictor belongs to one thread; the app reaches it through `kdlight.workers` only.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from kdlight import explain as explaining
from kdlight.bundle import Bundle
from kdlight.explain import ExplainError, Progress
from kdlight.images import Image, facts
from kdlight.inference import choice
from kdlight.inference.eligibility import IneligibleError, eligibility
from kdlight.inference.engines import METHODS, Answer, Engine, flushed_denormals, torch_engine
from kdlight.inference.margin import level, margin, must_not_miss
from kdlight.metrics import prediction_sets, softmax
from kdlight.reading import ROLES, Eligibility, HeatMap, Opinion, Reading, Role

if TYPE_CHECKING:
    from torch import Tensor

    from kdlight.models import Classifier

MAP_SIDE = 512
"""Heat maps are given at most this large on their longer side: their true grain is a few cells."""


class Predictor:
    """Teacher on torch, student on ONNX Runtime or the engine that `choice` kept, both loaded and warm.

    threads: of both; None is as many as torch has now.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        import torch

        self.bundle = bundle
        self.spec = bundle.spec
        self.models = {role: bundle.model(role).requires_grad_(False) for role in ROLES}
        self.models["teacher"].to(memory_format=torch.channels_last)
        self._explained: dict[Role, Classifier] = {}
        self._engines: dict[Role, Engine] = {
            "teacher": torch_engine(self.models["teacher"]),
            "student": choice.engine(bundle.onnx, choice.chosen(bundle, threads or torch.get_num_threads())),
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
    ) -> Reading:
        """Both opinions of one image, and with `explain` (a heat map method) their maps.

        class_name: whose map; None is each model's own top class. modality: what the person chose, None if nothing.
        Raises IneligibleError with the reasons if the bundle does not cover the image and it is not `confirmed`,
        ValueError for an unknown method or class.
        """
        allowed = self._allow(image, modality, confirmed)
        self._check(explain, class_name)
        started = time.perf_counter()
        x = self.spec.prepare(image)[None]
        seconds = {"prepare": time.perf_counter() - started}
        answers = self._answer(x, explain)
        logits = {role: answer[0] for role, answer in answers.items()}
        tops = {role: class_name or self._top(logits[role]) for role in ROLES}
        maps = self._maps(x, image, explain, tops, answers, progress) if explain else {}
        opinions = {role: self._opinion(role, logits[role], maps.get(role)) for role in ROLES}
        seconds |= {f"{role}_map": heat.seconds for role, heat in maps.items()}
        return Reading(
            bundle=self.bundle.card.id,
            bundle_version=self.bundle.card.version,
            bundle_sha256=self.bundle.sha256,
            image=facts(image),
            eligibility=allowed,
            teacher=opinions["teacher"],
            student=opinions["student"],
            must_not_miss=must_not_miss(self.bundle.card),
            level=level(self.bundle.card),
            map_similarity=explaining.similarity(*(maps[role].values for role in ROLES)) if maps else None,
            seconds=seconds | {"total": time.perf_counter() - started},
        )

    def heat_maps(
        self,
        image: Image,
        method: str = explaining.DEFAULT,
        class_name: str | None = None,
        confirmed: bool = False,
        modality: str | None = None,
        progress: Progress | None = None,
    ) -> dict[Role, HeatMap]:
        """Both maps of one image; arguments and errors as in `read`."""
        self._allow(image, modality, confirmed)
        self._check(method, class_name)
        x = self.spec.prepare(image)[None]
        answers = {role: _first(engine, x, method) for role, engine in self._engines.items()}
        tops = {role: class_name or self._top(answers[role][0]) for role in ROLES}
        return self._maps(x, image, method, tops, answers, progress)

    def logits(self, role: Role, x: Tensor) -> np.ndarray:
        """Logits (B, K) of prepared inputs x (B, 3, S, S), on the engine that ships."""
        return self._engines[role](x)

    def probabilities(self, role: Role, x: Tensor) -> np.ndarray:
        """Calibrated probabilities (B, K) of prepared inputs x (B, 3, S, S), on the engine that ships."""
        return self._calibrated(role, self.logits(role, x))

    def parity(self, x: Tensor) -> float:
        """Largest difference in calibrated probability between the student on ONNX Runtime and on torch, on x."""
        on_torch = self._calibrated("student", torch_engine(self.models["student"])(x))
        return float(np.abs(self.probabilities("student", x) - on_torch).max())

    def _allow(self, image: Image, modality: str | None, confirmed: bool) -> Eligibility:
        found = eligibility(self.bundle.card, image, modality, confirmed)
        if not found.eligible and not confirmed:
            raise IneligibleError(found.reasons)
        return found

    def _check(self, method: str | None, class_name: str | None) -> None:
        if method is not None:
            explaining.explainer(method)
        if class_name is not None and class_name not in self.bundle.classes:
            raise ExplainError(f"Unknown class {class_name!r}; one of {', '.join(self.bundle.classes)} was expected.")

    def _answer(self, x: Tensor, method: str | None = None) -> dict[Role, Answer]:
        """Logits (1, K) of both models, with class maps where `method` is made from them."""
        return {role: _first(engine, x, method) for role, engine in self._engines.items()}

    def _calibrated(self, role: Role, logits: np.ndarray) -> np.ndarray:
        return softmax(logits, self.bundle.card.temperature(role))

    def _top(self, logits: np.ndarray) -> str:
        return self.bundle.classes[int(logits[0].argmax())]

    def _opinion(self, role: Role, logits: np.ndarray, heat_map: HeatMap | None) -> Opinion:
        card, classes = self.bundle.card, self.bundle.classes
        network = card.network(role)
        probabilities = self._calibrated(role, logits)
        chosen = prediction_sets(probabilities, card.qhat(role))[0]
        return Opinion(
            role=role,
            architecture=network.architecture,
            probabilities=dict(zip(classes, probabilities[0].tolist(), strict=True)),
            prediction=self._top(logits),
            prediction_set=tuple(name for name, inside in zip(classes, chosen, strict=True) if inside),
            margin=margin(card, role),
            parameters=network.parameters,
            bytes=self.bundle.weights(role).stat().st_size,
            heat_map=heat_map,
        )

    def _maps(
        self,
        x: Tensor,
        image: Image,
        method: str,
        classes: dict[Role, str],
        answers: dict[Role, Answer],
        progress: Progress | None,
    ) -> dict[Role, HeatMap]:
        found = {}
        for index, role in enumerate(ROLES):
            report = _part(progress, index, f"{explaining.explainer(method).title} of the {role}")
            report(0.0, "")
            started, index = time.perf_counter(), self.bundle.classes.index(classes[role])
            maps = answers[role][1] if method in METHODS else None
            with flushed_denormals():
                if maps is not None:
                    explanation = self._class_map(role, x, maps[0, index])
                else:
                    explanation = explaining.explained(self._to_explain(role), x, index, method, report)
            found[role] = self._graded(explanation, image.shape, method, classes[role], started)
            report(1.0, "")
        return found

    def _to_explain(self, role: Role) -> Classifier:
        """A model's copy for gradients: batch norms folded, a fifth faster."""
        from kdlight.explain.scoring import folded

        if role not in self._explained:
            self._explained[role] = folded(self.models[role])
        return self._explained[role]

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
        self, explanation: explaining.Explanation, shape: tuple[int, int], method: str, name: str, started: float
    ) -> HeatMap:
        """A map over the model's input as one over the image, and how far it can be trusted."""
        scale = min(1.0, MAP_SIDE / max(shape))
        rows, columns = (max(1, round(side * scale)) for side in shape)
        values = self.spec.to_image_plane(explanation.heat, (rows, columns))
        grade = explaining.grade(values)
        return HeatMap(
            method=method,
            class_name=name,
            values=np.zeros_like(values) if grade.flat else values,
            flat=grade.flat,
            note=f"{grade.words} {explanation.note}".strip(),
            seconds=time.perf_counter() - started,
            cells=explanation.cells,
            input_size=self.spec.size,
        )


def _first(engine: Engine, x: Tensor, method: str | None) -> Answer:
    """The first answer: with class maps where they are what `method` shows, so that no second pass is needed."""
    return engine.with_maps(x) if method in METHODS else (engine(x), None)


def _part(progress: Progress | None, index: int, words: str) -> Progress:
    """One model's share, half of the whole, told to the caller."""

    def report(share: float, _detail: str) -> None:
        if progress is not None:
            progress((index + share) / len(ROLES), words)

    return report
