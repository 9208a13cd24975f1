"""Networks by their names, and the weights that they start from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from kdlight.contracts.origin import PUBLISHED, Origin
from kdlight.contracts.recipe import UNTRAINED
from kdlight.models import mobilenet, published
from kdlight.models.base import Classifier, macs, parameters
from kdlight.models.registry import MODELS, License, Network, create_model, published_networks
from kdlight.models.weight_selection import classifier_of
from kdlight.models.zoo import TimmClassifier

__all__ = ["MODELS", "Classifier", "Network", "create_model", "load_state", "macs", "parameters", "start_from"]
__all__ += ["start_student"]

SHIPPED = Path(__file__).parent / "weights"
"""Students that were distilled on six of kdlight's sets at once, without HAM10000: float16, without a classifier."""
_FREE = License("Apache-2.0 (its teacher's starting weights; the student first learned from six sets)", commercial=True)
GENERAL = {"kdlight_nano": ("kdlight_nano.safetensors", _FREE), "kdlight_nano16": ("kdlight_nano.safetensors", _FREE)}
"""Each one's file, and the license that it passes on to what is trained from it. Both have the same tensors."""


def load_state(path: str | Path) -> dict[str, Tensor]:
    """A state dict from .safetensors, or from .pth / .pt holding tensors only (nothing else is ever unpickled)."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No weights at {path}. Give the path of a .safetensors or .pth state dict.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path.name} is not a readable state dict. Give a .safetensors or a tensors-only .pth."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{path.name} does not hold a plain dict of tensors. Save model.state_dict() and give that.")
    return state


def start_from(model: Classifier, name: str, weights: str) -> Origin:
    """Give a teacher its starting weights; returns where they came from.

    A given file is loaded (backbone only); without one timm's pretrained weights are asked for, and where there is no
    network the model keeps its random weights, which is known within 3 s.
    """
    if weights:
        state = load_state(weights)
        if isinstance(model, mobilenet.MobileNet):
            mobilenet.load_backbone(model, state)
        else:
            _load_matching(model, state)
        return Origin(kind="file", words=Path(weights).name, license=_license_of(Path(weights)))
    if reason := published.lacking(name):
        return Origin(kind="random", words=f"{UNTRAINED}: {reason}")
    try:
        pretrained = create_model(name, model.num_classes, pretrained=True)
    except Exception as error:  # noqa: BLE001  hubs fail in many ways; each of them means: not available here
        return Origin(
            kind="random", words=f"{UNTRAINED}: the download of its published weights failed ({type(error).__name__})"
        )
    _load_matching(model, _backbone(pretrained))
    return Origin(kind="published", words=f"{PUBLISHED} (ImageNet)")


def _license_of(path: Path) -> str | None:
    """What a safetensors file says of its own license."""
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("license")


def start_student(model: Classifier, name: str, init: str, weights: str) -> None:
    """Give a student starting weights of its own: `general`, distilled by kdlight on all its sets, or `published`.

    weights: a state dict of this network; empty takes the general ones that kdlight ships, or asks timm for the
    published ones. A classifier of other classes is left out. Raises ValueError where there are none for this network,
    or none can be had now, OSError where a download fails.
    """
    if init == "general" and not weights:
        if name not in GENERAL:
            known = ", ".join(GENERAL)
            raise ValueError(
                f"No general weights are shipped for {name}, only for {known}. Set student.weights or another init."
            )
        weights = str(SHIPPED / GENERAL[name][0])
    if weights:
        start_from(model, name, weights)
        return
    if published_networks(name) and (reason := published.lacking(name)):
        raise ValueError(
            f"The student {name} cannot start from published weights: {reason}. Go online, name a file in "
            f"student.weights, or take another student.init."
        )
    _load_matching(model, _backbone(create_model(name, model.num_classes, pretrained=True)))


def _load_matching(model: Classifier, state: dict[str, Tensor]) -> None:
    if isinstance(model, TimmClassifier):
        state = model.from_elsewhere(state)
    expected = model.state_dict()
    fitting = {k: v for k, v in state.items() if k in expected and expected[k].shape == v.shape}
    if len(fitting) < len(expected) // 2:
        raise ValueError(
            f"Only {len(fitting)} of {len(expected)} tensors fit the model. Give the weights of this network."
        )
    model.load_state_dict(fitting, strict=False)
    _begin_small(model, fitting)


def _backbone(model: Classifier) -> dict[str, Tensor]:
    """Its tensors but the classifier's, which timm drew anew for these classes."""
    head = classifier_of(model)
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(head)}


@torch.no_grad()
def _begin_small(model: Classifier, loaded: Collection[str]) -> None:
    """A classifier that was not loaded begins near 0, as MobileNetV2's does, and does not tear at what was loaded.

    timm draws that of an EfficientNet so large that its first logits deviate by 6; see docs/studies/notes.md.
    """
    head = classifier_of(model)
    for name, tensor in model.named_parameters():
        if name.startswith(head) and name not in loaded:
            torch.nn.init.normal_(tensor, 0, 0.01) if tensor.dim() > 1 else torch.nn.init.zeros_(tensor)
