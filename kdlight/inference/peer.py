"""Score-CAM by the grad-cam package, as its users call it: what kdlight's own is timed and tested against."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

BATCHES = (4, 16, 64)
FIRST = 64
"""Masks that tell which batch size suits the package here."""


def package(model: Any, batch: int) -> Callable[[Tensor, int], np.ndarray]:
    """A prepared image (1, 3, S, S) and a class to the package's map (S, S) in [0, 1]."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def run(x: Tensor, top: int) -> np.ndarray:
        with _opened(model, batch) as cam, _laid(model, x):
            heat: np.ndarray = cam(x, [ClassifierOutputTarget(top)])[0]
        return heat

    return run


def best_batch(model: Any, x: Tensor, top: int) -> dict[int, float]:
    """Milliseconds per mask of the package's own loop over FIRST masks, for each of BATCHES, after a few to warm up."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    from kdlight.explain.scorecam import feature_maps

    maps = feature_maps(model, x, top)[0][None, :FIRST].numpy()
    found: dict[int, float] = {}
    for batch in (0, *BATCHES):
        some = maps if batch else maps[:, : BATCHES[0]]
        with _opened(model, batch or BATCHES[0]) as cam:
            started = time.perf_counter()
            cam.get_cam_weights(x, model.cam_layer, [ClassifierOutputTarget(top)], some, None)
            found[batch] = (time.perf_counter() - started) * 1000 / some.shape[1]
    return {batch: found[batch] for batch in BATCHES}


@contextlib.contextmanager
def _laid(model: Any, x: Tensor) -> Iterator[None]:
    """The package's masks and maps at the centers of the cells' receptive fields, where it stretches them from edge to
    edge: so that its map is the one to be met, and every other step its own."""
    import torch
    from pytorch_grad_cam import base_cam

    from kdlight.explain.trace import lattices

    (lattice,) = lattices(model, [model.cam_layer], x)

    def scaled(cells: np.ndarray, target_size: tuple[int, int] | None = None) -> np.ndarray:
        maps: np.ndarray = stretch(cells)
        if target_size is None:
            return maps
        return np.asarray(lattice.enlarge(torch.from_numpy(maps), target_size[::-1], fade=True).numpy())

    stretch = base_cam.scale_cam_image
    with (
        mock.patch.object(torch.nn, "UpsamplingBilinear2d", lambda size: lambda maps: lattice.enlarge(maps, size)),
        mock.patch.object(base_cam, "scale_cam_image", scaled),
    ):
        yield


@contextlib.contextmanager
def _opened(model: Any, batch: int) -> Iterator[Any]:
    """The package at work; its progress bar is kept off the screen."""
    from pytorch_grad_cam import ScoreCAM

    with contextlib.redirect_stderr(io.StringIO()), ScoreCAM(model, [model.cam_layer]) as cam:
        cam.batch_size = batch
        yield cam
