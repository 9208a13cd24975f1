"""What every classifier here offers beyond logits."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Classifier(nn.Module, ABC):
    """`model(x)` takes x (B, 3, H, W), standardized as its InputSpec says, and returns logits (B, K), nothing else."""

    num_classes: int

    @abstractmethod
    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (B, K) and the feature maps (B, C, h, w) of each stage, the last being what the pooling sees."""

    @property
    @abstractmethod
    def cam_layer(self) -> nn.Module:
        """The module whose output a class activation map weighs: the last feature map before pooling."""

    @property
    def cam_layers(self) -> tuple[nn.Module, ...]:
        """The modules whose outputs a class activation map weighs together; several where streams have own grids."""
        return (self.cam_layer,)

    @property
    def fine_layers(self) -> tuple[nn.Module, ...]:
        """Modules with finer maps (B, C, h, w) than the last, from fine to coarse, that a heat map may take part of."""
        return ()

    def at(self, size: int) -> Classifier:
        """The same network for inputs of `size` x `size` only, made so that it can be traced: positions that are
        interpolated for each input are interpolated once."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_features(x)[0]


class StagedNetwork(Classifier):
    """Stem, stages, a last 1 x 1 convolution, pooling, what is hidden, classifier: x (B, 3, H, W), H, W at least 32."""

    stem: nn.Module
    stages: nn.ModuleList
    head: nn.Module
    hidden: nn.Module
    """Layers over the pooled vector (B, C)."""
    classifier: nn.Linear

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = self.stem(x), []
        for stage in (*self.stages, self.head):
            x = stage(x)  # at last (B, C, H / 32, W / 32)
            features.append(x)
        return self.classifier(self.hidden(x.mean(dim=(2, 3)))), features

    @property
    def cam_layer(self) -> nn.Module:
        return self.head

    @property
    def fine_layers(self) -> tuple[nn.Module, ...]:
        """The stages that reach a stride of 8 and of 16."""
        return (self.stages[2], self.stages[3])


def parameters(model: nn.Module) -> int:
    """Number of trainable and frozen parameters, batch-norm statistics not counted."""
    return sum(p.numel() for p in model.parameters())


def macs(model: nn.Module, size: int) -> int:
    """Multiply-adds of one image (1, 3, size, size): convolutions and linear layers, as the literature counts them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    was_training, aten = model.training, torch.ops.aten
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.eval()(torch.zeros(1, 3, size, size))
    finally:
        model.train(was_training)
    counts = counter.get_flop_counts()["Global"]
    return int(sum(counts.get(operation, 0) for operation in (aten.convolution, aten.addmm, aten.mm))) // 2
