"""What every heat map method shares: hooks that are always released, one scale, and honesty when a map is flat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and words. What it raises ends the method, hooks released."""

FLAT = 1e-5
"""A map whose contrast is below this share of its largest value is rounding noise. The choice is ours."""


class ExplainError(ValueError):
    """A heat map was asked for that cannot be made."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """One heat map method; its file offers `build(model, layer, progress)`, a class activation map of grad-cam."""

    name: str
    title: str
    summary: str
    module: str
    """Imported when the method is first used: it brings torch along."""

    def build(self, model: nn.Module, layer: nn.Module, progress: Progress) -> Any:
        return import_module(self.module).build(model, layer, progress)


EXPLAINERS: dict[str, Explainer] = {
    "gradcam": Explainer(
        "gradcam",
        "Grad-CAM",
        "Weighs each feature by how much the class score follows it. Fast.",
        "kdlight.explain.gradcam",
    ),
    "scorecam": Explainer(
        "scorecam",
        "Score-CAM",
        "Shows the model the image through one feature at a time and weighs it by the class score. Slow, no gradients.",
        "kdlight.explain.scorecam",
    ),
}


def explainer(name: str) -> Explainer:
    """Look a method up. Raises ExplainError that names the known ones."""
    if name not in EXPLAINERS:
        raise ExplainError(f"Unknown heat map method {name!r}; one of {', '.join(EXPLAINERS)} was expected.")
    return EXPLAINERS[name]


def explain(
    model: nn.Module, x: Tensor, class_index: int, method: str = "gradcam", progress: Progress | None = None
) -> np.ndarray:
    """Where `model` looked for one class: (h, w) float32 in [0, 1] over the input, its largest value 1.

    x: one prepared image (1, C, h, w). A map without contrast, or with a value that is not finite, is all zeros.
    The model must not be used by another thread meanwhile. Raises ExplainError for an unknown method, a class that the
    model does not have, or a model that names no `cam_layer`.
    """
    import torch

    chosen = explainer(method)
    layer = _layer(model)
    with frozen(model), leaf(layer):
        cam = chosen.build(model, layer, progress or _silent)
        shield = layer.register_forward_hook(lambda _module, _inputs, output: output.clone())
        try:
            with torch.set_grad_enabled(cam.uses_gradients), np.errstate(all="ignore"):
                heat, raw = _run(cam, x, class_index)
        finally:
            shield.remove()
            cam.activations_and_grads.release()
    return np.zeros_like(heat) if _is_flat(raw) else np.clip(heat, 0.0, 1.0)


def _run(cam: Any, x: Tensor, class_index: int) -> tuple[np.ndarray, np.ndarray]:
    """The finished map (h, w), and the weighted sum (h', w') it was scaled from. No `with cam`: it hides IndexError."""
    raw: list[np.ndarray] = []
    weighted_sum = cam.get_cam_image

    def keep(*args: Any, **kwargs: Any) -> np.ndarray:
        raw.append(weighted_sum(*args, **kwargs))
        return raw[-1]

    cam.get_cam_image = keep
    heat = cam(x, [_logit(class_index)])[0]
    return heat.astype(np.float32), raw[0][0]


def _logit(class_index: int) -> Callable[[Tensor], Tensor]:
    """Picks one class out of the logits (K,) of one image."""

    def target(logits: Tensor) -> Tensor:
        if not 0 <= class_index < len(logits):
            last = len(logits) - 1
            raise ExplainError(f"Class {class_index} was asked for; the model has 0 to {last}. Pick one of them.")
        return logits[class_index]

    return target


def _is_flat(raw: np.ndarray) -> bool:
    positive = np.maximum(raw, 0)
    if not np.isfinite(positive).all():
        return True
    return bool(np.ptp(positive) <= FLAT * np.abs(raw).max())


def _layer(model: nn.Module) -> nn.Module:
    layer = getattr(model, "cam_layer", None)
    if layer is None:
        raise ExplainError(f"{type(model).__name__} names no cam_layer, so it has no heat map. Give the model one.")
    return layer  # type: ignore[no-any-return]


def _silent(_share: float, _words: str) -> None:
    """No one listens."""


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No gradient reaches a parameter inside; the flags and the training mode come back afterwards."""
    flags = [(p, p.requires_grad) for p in model.parameters()]
    training = model.training
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextmanager
def leaf(layer: nn.Module) -> Iterator[None]:
    """Gradients start at this layer's output, so that a backward pass costs only what comes after it."""

    def cut(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return output.detach().requires_grad_()

    handle = layer.register_forward_hook(cut)
    try:
        yield
    finally:
        handle.remove()
