"""Every network by its name. A new family is one file here and one line in MODELS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kdlight.config import UNTRAINED
from kdlight.models import ensemble, fusion, mobilenet, ofa, published, vgg, vision_transformers
from kdlight.models.base import Classifier, macs, parameters
from kdlight.models.zoo import TimmClassifier
from kdlight.runs.origin import PUBLISHED, Origin

__all__ = ["MODELS", "Classifier", "create_model", "load_state", "macs", "parameters", "start_from", "start_student"]

SHIPPED = Path(__file__).parent / "weights"
"""Students that were distilled on all of kdlight's sets at once: <name>.safetensors, float16, without a classifier."""

MODELS: dict[str, tuple[Callable[..., Classifier], str]] = {
    "mobilenetv2": (mobilenet.build, "teacher: MobileNetV2, 2.2M parameters (Sandler et al., CVPR 2018)"),
    "kdlight_nano": (mobilenet.build, "student: 0.20M parameters, 0.45 MB in fp16, inherits from MobileNetV2"),
    "kdlight_small": (mobilenet.build, "student: 0.58M parameters, inherits from MobileNetV2"),
    "kdlight_base": (mobilenet.build, "student: 1.35M parameters, inherits from MobileNetV2"),
    "ofa595": (ofa.build, "student: OFA-595, 7.6M parameters, 595M multiply-adds at 236 px (Cai et al., ICLR 2020)"),
    "vgg19": (vgg.build, "teacher: VGG19, 139.6M parameters, 120M of them dense (Simonyan and Zisserman, ICLR 2015)"),
    "visformer_s": (vision_transformers.build, "teacher: Visformer-S, 39.5M parameters (Chen et al., ICCV 2021)"),
    "autoformerv2_t": (
        vision_transformers.build,
        "teacher: AutoFormerV2-T, 27.6M parameters (Chen et al., NeurIPS 2021)",
    ),
    "fusion_skin": (fusion.build, "teacher: ResNet152V2, ConvNeXt-B and ViT-B in one, 232M parameters"),
    "dual_stream": (fusion.build, "teacher: Swin-T (global) and ViT-S (local) in one, 49M parameters"),
    "ensemble:mobilenetv2+timm:resnet18": (
        lambda name, num_classes: create_model(name, num_classes),
        "teacher: the mean of several networks, ensemble:<name>+<name> for any two or more",
    ),
}
"""Name -> (builder, summary). `timm:<name>` and `ensemble:<name>+<name>` are understood besides."""


def create_model(name: str, num_classes: int, pretrained: bool = False) -> Classifier:
    """Build a network with `num_classes` logits.

    pretrained loads ImageNet weights through timm, which downloads them once. Raises ValueError for an unknown name or
    where no pretrained weights exist, OSError where they cannot be downloaded.
    """
    if num_classes < 2:
        raise ValueError(f"A classifier of {num_classes} classes was asked for; at least 2 were expected.")
    if name.startswith(ensemble.PREFIX):
        return ensemble.Ensemble([create_model(one, num_classes, pretrained) for one in ensemble.members(name)])
    if name.startswith("timm:"):
        return TimmClassifier(name.removeprefix("timm:"), num_classes, pretrained)
    if name not in MODELS:
        raise ValueError(
            f"Unknown model {name!r}; one of {', '.join(MODELS)}, timm:<name> or ensemble:<name>+<name> was expected."
        )
    build = MODELS[name][0]
    if pretrained and build is not mobilenet.build:
        return build(name, num_classes, pretrained)
    model = build(name, num_classes)
    if pretrained:
        if not isinstance(model, mobilenet.MobileNet) or name != "mobilenetv2":
            raise ValueError(f"No pretrained weights are published for {name}; use weight selection from mobilenetv2.")
        mobilenet.load_backbone(model, TimmClassifier("mobilenetv2_100", num_classes, True).net.state_dict())
    return model


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
        return Origin("file", Path(weights).name)
    if reason := published.lacking(name):
        return Origin("random", f"{UNTRAINED}: {reason}")
    try:
        pretrained = create_model(name, model.num_classes, pretrained=True)
    except Exception as error:  # noqa: BLE001  hubs fail in many ways; each of them means: not available here
        return Origin("random", f"{UNTRAINED}: the download of its published weights failed ({type(error).__name__})")
    _load_matching(model, pretrained.state_dict())
    return Origin("published", f"{PUBLISHED} (ImageNet)")


def start_student(model: Classifier, name: str, init: str, weights: str) -> None:
    """Give a student starting weights of its own: `general`, distilled by kdlight on all its sets, or `published`.

    weights: a state dict of this network; empty takes the general ones that kdlight ships, or asks timm for the
    published ones. A classifier of other classes is left out. Raises ValueError where there are none for this network,
    or none can be had now, OSError where a download fails.
    """
    shipped = SHIPPED / f"{name}.safetensors"
    if init == "general" and not weights and not shipped.is_file():
        known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.safetensors"))) or "no network"
        raise ValueError(
            f"No general weights are shipped for {name}, only for {known}. Set student.weights or another init."
        )
    if weights or init == "general":
        start_from(model, name, weights or str(shipped))
        return
    if published.networks(name) and (reason := published.lacking(name)):
        raise ValueError(
            f"The student {name} cannot start from published weights: {reason}. Go online, name a file in "
            f"student.weights, or take another student.init."
        )
    _load_matching(model, create_model(name, model.num_classes, pretrained=True).state_dict())


def _load_matching(model: Classifier, state: dict[str, Tensor]) -> None:
    if isinstance(model, TimmClassifier):
        state = model.from_elsewhere(state)
    own = model.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    if len(fitting) < len(own) // 2:
        raise ValueError(f"Only {len(fitting)} of {len(own)} tensors fit the model. Give the weights of this network.")
    model.load_state_dict(fitting, strict=False)
