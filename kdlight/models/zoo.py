"""Any timm classifier by the name `timm:<name>` (Apache-2.0, https://github.com/huggingface/pytorch-image-models).

`timm:<name>@<side>` builds it for square inputs of another side, for networks that fix their size as they are built.
Plain ViTs, DeiT, EVA and Swin read any size without that: positions are interpolated, windows padded.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN as IMAGENET_MEAN
from timm.data.constants import IMAGENET_DEFAULT_STD as IMAGENET_STD
from timm.models import model_entrypoint
from torch import Tensor, nn

from kdlight.models.base import Classifier
from kdlight.models.tokens import declared_format, fold, layout_of, unfold

ANY_SIZE: dict[str, dict[str, Any]] = {
    "vision_transformer": {"dynamic_img_size": True, "dynamic_img_pad": True},
    "deit": {"dynamic_img_size": True, "dynamic_img_pad": True},
    "eva": {"dynamic_img_size": True, "dynamic_img_pad": True},
    "swin_transformer": {"strict_img_size": False},
    "swin_transformer_v2": {"strict_img_size": False},
}
"""timm's file -> the options with which its networks read other sizes than the one they are built for."""


class TimmClassifier(Classifier):
    """A timm network behind this package's contract: maps are (B, C, h, w), whatever it makes inside.

    The map of a network that reads its answer from a class token is the normalized input of its last block: after that
    block nothing flows from the other tokens to the answer, and a heat map of them would be flat. Every other network
    gives its last map before pooling.
    """

    def __init__(self, name: str, num_classes: int, pretrained: bool = False, **options: Any) -> None:
        """Raises ValueError for a name or an option that timm does not know, and for a network without maps."""
        super().__init__()
        self.num_classes = num_classes
        self.net: Any = build(name, num_classes, pretrained, **options)
        self.size = fixed_size(self.net)
        self.adapt = Restandardize(self.net)
        self.final = nn.Identity()
        self._seen: list[Tensor] = []
        self._sides = (0, 0)
        norm = last_norm_before_class_token(self.net)
        self._taps = norm is not None  # the module itself would be registered, and saved, under a second name
        if norm is not None:
            norm.register_forward_hook(self._tap)

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        check_size(x, self.size)
        self._sides = (x.shape[-2], x.shape[-1])
        features = self.net.forward_features(self.adapt(x))
        if not self._taps:
            features = self._show(features)
        seen, self._seen = self._seen, []
        return self.net.forward_head(features), seen

    @property
    def cam_layer(self) -> nn.Module:
        return self.final

    @property
    def fine_layers(self) -> tuple[nn.Module, ...]:
        """Where timm takes features at a stride of 8 and of 16; none for networks of tokens or channels-last maps."""
        if declared_format(self.net) == "NHWC" or hasattr(self.net, "num_prefix_tokens"):
            return ()
        strides = {int(entry["reduction"]): str(entry["module"]) for entry in getattr(self.net, "feature_info", [])}
        return tuple(self.net.get_submodule(strides[stride]) for stride in (8, 16) if stride in strides)

    def at(self, size: int) -> Classifier:
        positions, net = getattr(self.net, "pos_embed", None), self.net
        if positions is None or not getattr(net, "dynamic_img_size", False):
            return self
        sized = copy.deepcopy(self)
        patch = net.patch_embed.patch_size[0]
        sized.net.set_input_size(img_size=math.ceil(size / patch) * patch)  # what is missing to a patch is padded
        return sized

    def from_elsewhere(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict as timm publishes it, under the names that it has here; one of kdlight passes through."""
        return state if any(k.startswith("net.") for k in state) else {f"net.{k}": v for k, v in state.items()}

    def _tap(self, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return self._show(output)

    def _show(self, features: Tensor) -> Tensor:
        """Features pass through `final` as maps (B, C, h, w) and go on in the layout they came in."""
        layout = layout_of(self.net, features, self._sides)
        maps = self.final(fold(features, layout))
        self._seen = [maps]
        return unfold(maps, features, layout)


class Restandardize(nn.Module):
    """x (B, 3, H, W) standardized as kdlight does, to the mean and deviation that a timm network was trained with."""

    scale: Tensor
    shift: Tensor

    def __init__(self, net: Any) -> None:
        super().__init__()
        trained = tuple(net.pretrained_cfg["mean"]), tuple(net.pretrained_cfg["std"])
        self.same = trained == (IMAGENET_MEAN, IMAGENET_STD)
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        net_mean, net_std = torch.tensor(trained[0]), torch.tensor(trained[1])
        self.register_buffer("scale", (std / net_std)[:, None, None], persistent=False)
        self.register_buffer("shift", ((mean - net_mean) / net_std)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.same else x * self.scale + self.shift


def build(name: str, num_classes: int, pretrained: bool = False, **options: Any) -> Any:
    """The timm network itself; `name` may end in .tag (which weights) and @side (pixels)."""
    name, _, side = name.partition("@")
    base = name.partition(".")[0]
    if base not in timm.list_models():
        close = ", ".join(timm.list_models(f"*{base.split('_')[0]}*")[:5]) or "see timm.list_models()"
        raise ValueError(f"timm has no model {name!r}. Known and near: {close}.")
    if side:
        options["img_size"] = _side(name, side)
    family = model_entrypoint(base).__module__.rpartition(".")[2]
    options = {**ANY_SIZE.get(family, {}), **options}
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **options)
    except RuntimeError as error:
        if "tag" not in str(error):
            raise
        raise ValueError(
            f"timm:{name} names weights that timm does not have ({error}). Leave the part after the dot out."
        ) from error
    except TypeError as error:
        raise ValueError(f"timm:{name} does not take {', '.join(options)} ({error}). Leave it out.") from error


def _side(name: str, side: str) -> int:
    if not side.isdecimal() or not 32 <= int(side) <= 1024:
        raise ValueError(f"timm:{name}@{side} has no size; 32 to 1024 px was expected, as in timm:{name}@160.")
    return int(side)


def fixed_size(net: Any) -> tuple[int, int] | None:
    """Height and width in pixels that a network insists on, None if it reads any."""
    config = timm.models.get_model_input_config(net)
    return tuple(config["input_size"][-2:]) if config["fixed_input_size"] else None


def check_size(x: Tensor, size: tuple[int, int] | None) -> None:
    """Raises ValueError if x (B, 3, H, W) is not of the size that the network insists on."""
    side = (int(x.shape[-2]), int(x.shape[-1]))
    if size is not None and side != size:
        raise ValueError(
            f"The network reads {size[0]} x {size[1]} px only; {side[0]} x {side[1]} were given. "
            f"Set data.size to {size[0]}, or build it for another size as timm:<name>@{side[0]}."
        )


def last_norm_before_class_token(net: Any) -> nn.Module | None:
    """Where the maps of a class-token network are taken; None for a network that pools its maps."""
    blocks = getattr(net, "blocks", None)
    if getattr(net, "global_pool", None) != "token" or not blocks:
        return None
    norm = getattr(blocks[-1], "norm1", None)
    return norm if isinstance(norm, nn.Module) else None
