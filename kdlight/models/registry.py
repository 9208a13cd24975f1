"""Every network by its name. A new family is one file here and one line in MODELS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kdlight.models import ensemble, fusion, mobilenet, ofa, vgg, vision_transformers
from kdlight.models.base import Classifier
from kdlight.models.zoo import TimmClassifier

Role = Literal["teacher", "student"]


@dataclass(frozen=True, slots=True)
class License:
    """What weights may be used under, and whether that allows commercial use."""

    words: str
    commercial: bool


@dataclass(frozen=True, slots=True)
class Network:
    """An architecture that goes by a name of ours."""

    role: Role
    """What it is meant to be in a pair; either can be both."""
    summary: str
    source: str
    """The paper, or the network it is cut from."""
    build: Callable[..., Classifier]
    """(name, num_classes, pretrained) -> Classifier."""
    family: str = ""
    """Networks of one family can be cut from each other by weight selection; of an empty one nothing can."""
    weights: tuple[str, ...] = ()
    """timm's networks whose published weights it takes, which timm knows the license of; empty where there are none."""


def _fused(name: str, summary: str) -> Network:
    weights = tuple(fusion.SHALLOWER.get(one, one) for one in fusion.TEAMS[name])
    return Network("teacher", summary, "fusion of several networks (ours)", fusion.build, weights=weights)


def _ensemble(name: str, num_classes: int, pretrained: bool = False) -> Classifier:
    return ensemble.Ensemble([create_model(one, num_classes, pretrained) for one in ensemble.members(name)])


FAMILY = "mobilenet"
CUT = "cut from MobileNetV2, which it can take weights of"
# fmt: off
MODELS: dict[str, Network] = {
    "mobilenetv2": Network("teacher", "MobileNetV2, 2.2M parameters", "Sandler et al., CVPR 2018",
                           mobilenet.build, FAMILY, ("mobilenetv2_100",)),
    "kdlight_nano": Network("student", "0.20M parameters, 0.45 MB in fp16", CUT, mobilenet.build, FAMILY),
    "kdlight_nano16": Network("student", "kdlight_nano with twice the cells in each direction, 8 x 8 at 128 px", CUT,
                              mobilenet.build, FAMILY),
    "kdlight_small": Network("student", "0.58M parameters", CUT, mobilenet.build, FAMILY),
    "kdlight_base": Network("student", "1.35M parameters", CUT, mobilenet.build, FAMILY),
    "ofa595": Network("student", "OFA-595, 7.6M parameters, 595M multiply-adds at 236 px", "Cai et al., ICLR 2020",
                      ofa.build),
    "vgg19": Network("teacher", "VGG19, 139.6M parameters, 120M of them dense", "Simonyan and Zisserman, ICLR 2015",
                     vgg.build, weights=("vgg19",)),
    "visformer_s": Network("teacher", "Visformer-S, 39.5M parameters", "Chen et al., ICCV 2021",
                           vision_transformers.build, weights=("visformer_small",)),
    "autoformerv2_t": Network("teacher", "AutoFormerV2-T, 27.6M parameters", "Chen et al., NeurIPS 2021",
                              vision_transformers.build, weights=("swin_s3_tiny_224",)),
    "fusion_skin": _fused("fusion_skin", "ResNet152V2, ConvNeXt-B and ViT-B in one, 232M parameters"),
    "dual_stream": _fused("dual_stream", "Swin-T (global) and ViT-S (local) in one, 49M parameters"),
    "ensemble:mobilenetv2+timm:resnet18": Network(
        "teacher", "the mean of several networks, ensemble:NAME+NAME for any two or more",
        "Hinton, Vinyals & Dean 2015", _ensemble),
}
# fmt: on
"""By name; `timm:NAME` and `ensemble:NAME+NAME` are understood besides."""


def create_model(name: str, num_classes: int, pretrained: bool = False) -> Classifier:
    """Build a network with `num_classes` logits.

    pretrained loads ImageNet weights through timm, which downloads them once. Raises ValueError for an unknown name or
    where no pretrained weights exist, OSError where they cannot be downloaded.
    """
    if num_classes < 2:
        raise ValueError(f"A classifier of {num_classes} classes was asked for; at least 2 were expected.")
    if name.startswith(ensemble.PREFIX):
        return _ensemble(name, num_classes, pretrained)
    if name.startswith("timm:"):
        return TimmClassifier(name.removeprefix("timm:"), num_classes, pretrained)
    if name not in MODELS:
        raise ValueError(
            f"Unknown model {name!r}; one of {', '.join(MODELS)}, timm:<name> or ensemble:<name>+<name> was expected."
        )
    return MODELS[name].build(name, num_classes, pretrained)


def published_networks(name: str) -> tuple[str, ...]:
    """The timm networks whose weights a network takes; none where nothing is published for it."""
    if name.startswith(ensemble.PREFIX):
        parts = [published_networks(one) for one in ensemble.members(name)]
        return tuple(one for part in parts for one in part) if all(parts) else ()
    if name.startswith("timm:"):
        return (name.removeprefix("timm:").partition("@")[0],)
    return MODELS[name].weights if name in MODELS else ()
