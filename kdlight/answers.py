"""What a frozen teacher says of the training images, kept on disk for later epochs, seeds and methods.

A recipe with `train.views = V` sees each image in V views, drawn once for the whole set (`RandomView.draw`), so the
teacher answers each view once. Not images are kept but logits (N, K) in float32 and pooled features (N, C) in float16:
one file per view, read whole. The folder's name is the sha256 of everything that decides them: the teacher's weights
and precision, pixels, input, augmentation. So a changed teacher or set has another name, and a damaged file is seen by
its digest; neither is ever used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdlight.distillers.base import View, pooled
from kdlight.models.base import Classifier
from kdlight.preprocessing import InputSpec
from kdlight.storage import cache_folder

VERSION = 1
"""Raise it when drawing or seeing changes what comes out."""
MOST_BYTES = 8 * 2**30
"""All answers together take at most this much: the teacher used longest ago goes first."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """A teacher's answers to pixels uint8 (N, S, S, 3) under the views of one augmentation."""

    teacher: Classifier
    pixels: Tensor
    spec: InputSpec
    augment: Any
    """A `RandomView`: `see(pixels, draws)`."""
    bfloat16: bool
    folder: Path

    @classmethod
    def of(cls, teacher: Classifier, pixels: Tensor, spec: InputSpec, augment: Any, bfloat16: bool) -> Answers:
        """The answers' place under `cache_folder()`; nothing is computed yet."""
        settings = [VERSION, torch.__version__, spec.to_json(), repr(augment.policy), augment.size, bfloat16]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for tensor in (*teacher.state_dict().values(), pixels):
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return cls(teacher, pixels, spec, augment, bfloat16, cache_folder() / "answers" / digest.hexdigest())

    def view(self, number: int, draws: Any) -> View:
        """The answers to view `number`, whose draws are given: logits (N, K), one feature map (N, C, 1, 1).

        Taken from disk where they are whole, else asked of the teacher and kept.
        """
        path = self.folder / f"{number}.safetensors"
        kept = _load(path, len(self.pixels))
        if kept is None:
            kept = self.ask(draws)
            _store(path, kept)
        return View(kept["logits"], [kept["pooled"].float()[:, :, None, None]])

    @torch.no_grad()
    def ask(self, draws: Any, batch_size: int = 64) -> dict[str, Tensor]:
        """Logits float32 (N, K) and pooled features float16 (N, C) of every image, on the CPU, in order."""
        device = next(self.teacher.parameters()).device
        logits, features = [], []
        for index in torch.split(torch.arange(len(self.pixels)), batch_size):
            seen = self.augment.see(self.pixels[index].permute(0, 3, 1, 2), draws[index]).permute(0, 2, 3, 1)
            x = self.spec.normalise(seen).to(device, memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
                answer, maps = self.teacher.forward_with_features(x)
            logits.append(answer.float().cpu())
            features.append(pooled(maps[-1].float()).half().cpu())
        return {"logits": torch.cat(logits), "pooled": torch.cat(features)}


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _load(path: Path, count: int) -> dict[str, Tensor] | None:
    """What is kept at `path`; None where there is nothing or it is not what was written."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            found = {name: file.get_tensor(name) for name in ("logits", "pooled")}
            whole = (file.metadata() or {}).get("sha256") == _digest(found.values())
        if whole and all(len(tensor) == count for tensor in found.values()):
            os.utime(path.parent)
            return found
    except (SafetensorError, OSError):
        pass
    log.warning("The teacher's answers in %s are damaged; it is asked anew.", path.name)
    return None


def _store(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write beside, rename. Answers that cannot be written cost time, not the run, so it is only said."""
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, beside = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(descriptor)
        save_file(tensors, beside, metadata={"sha256": _digest(tensors.values())})
        Path(beside).replace(path)
        _prune(path.parent)
    except (OSError, SafetensorError) as error:
        log.warning("The teacher's answers could not be kept in %s: %s.", path.parent, error)
        if beside:
            Path(beside).unlink(missing_ok=True)


def _prune(newest: Path) -> None:
    """Remove the teachers' folders used longest ago until the rest fits MOST_BYTES; `newest` always stays."""
    folders = [found for found in newest.parent.iterdir() if found.is_dir() and found != newest]
    total = _bytes(newest)
    for folder in sorted(folders, key=lambda found: -found.stat().st_mtime_ns):
        total += _bytes(folder)
        if total > MOST_BYTES:
            shutil.rmtree(folder, ignore_errors=True)


def _bytes(folder: Path) -> int:
    return sum(found.stat().st_size for found in folder.iterdir())
