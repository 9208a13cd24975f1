"""A frozen teacher's outputs for the training images, cached on disk for later epochs, seeds and methods.

A recipe with `train.views = V` shows each image in V views, drawn once for the whole set (`RandomView.draw`), so the
teacher runs once a view. Not images are cached but logits (N, K) in float32 and pooled features (N, C) in float16: one
file per view, read whole. Its key is the sha256 of everything that decides them: the teacher's weights and precision,
pixels, input, augmentation, and the view's number.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdlight.distillers.base import View, pooled
from kdlight.models.base import Classifier
from kdlight.preprocessing import InputSpec
from kdlight.storage import ArrayCache

VERSION = 1
"""Raise it when drawing or seeing changes what comes out."""
CACHE = ArrayCache("teacher_outputs")
CACHEABLE = ("logits", "pooled")
"""What a method may need of its teacher for the cache to do."""


@dataclass(frozen=True, slots=True)
class TeacherCache:
    """A teacher's outputs for pixels uint8 (N, S, S, 3) under the views of one augmentation."""

    teacher: Classifier
    pixels: Tensor
    spec: InputSpec
    augment: Any
    """A `RandomView`: `see(pixels, draws)`."""
    bfloat16: bool
    key: str
    cache: ArrayCache = CACHE

    @classmethod
    def of(cls, teacher: Classifier, pixels: Tensor, spec: InputSpec, augment: Any, bfloat16: bool) -> TeacherCache:
        """Nothing is computed yet but the key."""
        settings = [VERSION, torch.__version__, spec.to_json(), repr(augment.policy), augment.size, bfloat16]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for tensor in (*teacher.state_dict().values(), pixels):
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return cls(teacher, pixels, spec, augment, bfloat16, digest.hexdigest(), CACHE)

    def view(self, number: int, draws: Any) -> View:
        """The outputs for view `number`, whose draws are given: logits (N, K), one feature map (N, C, 1, 1).

        Read from the cache where they are whole, else computed and cached.
        """
        key = f"{self.key}-{number}"
        arrays = self.cache.get(key)
        if arrays is None:
            arrays = self.forward(draws)
            self.cache.put(key, arrays)
        features = torch.from_numpy(arrays["pooled"]).float()
        return View(torch.from_numpy(arrays["logits"]), [features[:, :, None, None]])

    @torch.no_grad()
    def forward(self, draws: Any, batch_size: int = 64) -> dict[str, np.ndarray]:
        """logits float32 (N, K) and pooled features float16 (N, C) of every image, in order."""
        device = next(self.teacher.parameters()).device
        logits, features = [], []
        for index in torch.split(torch.arange(len(self.pixels)), batch_size):
            seen = self.augment.see(self.pixels[index].permute(0, 3, 1, 2), draws[index]).permute(0, 2, 3, 1)
            x = self.spec.normalise(seen).to(device, memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
                output, maps = self.teacher.forward_with_features(x)
            logits.append(output.float().cpu())
            features.append(pooled(maps[-1].float()).half().cpu())
        return {"logits": torch.cat(logits).numpy(), "pooled": torch.cat(features).numpy()}
