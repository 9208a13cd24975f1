"""Score-CAM: the class score of the image seen through one feature map at a time weighs that map.

Wang et al., CVPR Workshops 2020, https://arxiv.org/abs/1910.01279
    L = ReLU(sum_k a_k A_k),  a = softmax_k(logit(x * norm(upsample(A_k))))
grad-cam's own loop builds every masked input at once (0.8 GB for 1280 maps at 224 px) and prints a progress bar; this
one holds one batch, reports, and scores the maps that hide everything once: their masked input is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pytorch_grad_cam import ScoreCAM
from torch import Tensor
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from torch import nn

    from kdlight.explain.base import Progress

BATCH = 32
"""Masked inputs held at once."""


def build(model: nn.Module, layer: nn.Module, progress: Progress) -> Any:
    return BoundedScoreCAM(model, layer, progress)


class BoundedScoreCAM(ScoreCAM):  # type: ignore[misc]
    """grad-cam's Score-CAM with the same weights, in bounded memory."""

    def __init__(self, model: nn.Module, layer: nn.Module, progress: Progress) -> None:
        super().__init__(model, [layer])
        self.progress = progress

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: Any, targets: Any, activations: np.ndarray, grads: Any
    ) -> np.ndarray:
        """Weights (1, C) that sum to 1, from activations (1, C, h, w)."""
        self.activations_and_grads.release()
        maps = torch.from_numpy(activations)[0]  # (C, h, w)
        spread = maps.flatten(1).amax(1) > maps.flatten(1).amin(1)
        scores = self._score(torch.zeros_like(input_tensor), targets[0]).repeat(len(maps))
        live = spread.nonzero().flatten()
        for start in range(0, len(live), BATCH):
            some = live[start : start + BATCH]
            scores[some] = self._score(input_tensor * masks(maps[some], input_tensor.shape[-2:]), targets[0])
            self.progress(min(start + BATCH, len(live)) / len(live), f"{len(live)} feature maps")
        return torch.softmax(scores, -1)[None].numpy()

    def _score(self, batch: Tensor, target: Any) -> Tensor:
        """Class score (B,) of each masked image."""
        with torch.inference_mode():
            logits = self.model(batch)
        return torch.stack([target(one) for one in logits])


def masks(maps: Tensor, size: torch.Size) -> Tensor:
    """Feature maps (B, h, w) to masks (B, 1, H, W) in [0, 1] over the input."""
    large = interpolate(maps[:, None], size=size, mode="bilinear", align_corners=True)  # (B, 1, H, W)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return (large - low) / (high - low + 1e-8)
