"""Score-CAM: the class score of the image seen through one feature map at a time weighs that map.

Wang et al., CVPR Workshops 2020, https://arxiv.org/abs/1910.01279
    L = ReLU(sum_k a_k A_k),  a = softmax_k(logit(x * norm(upsample(A_k))))
`exact` gives the same map as the grad-cam package, which scores every map, and builds all masked inputs at once (0.8 GB
for 1280 maps at 224 px). Here maps without contrast are scored once, since they hide everything; maps that make the
same mask are scored once; one batch is held at a time; and the network is prepared for batches (`Scorer`).
`fast` scores PICKS masks and predicts the other scores from them (`kdlight.explain.surrogate`); that is ours.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdlight.explain.base import Evidence, Progress, cam_layer, logit, watched
from kdlight.explain.scoring import Scorer
from kdlight.explain.surrogate import Surrogate
from kdlight.models import macs

if TYPE_CHECKING:
    from torch import nn

HEAVY = 2e12
"""Multiply-adds of a whole Score-CAM above which `scorecam` takes the fast way: a minute or more on two cores."""
PICKS = 32
"""Masks that the fast way scores."""
ROUND = 16
"""Masks picked at a time: later rounds know the scores of the earlier ones."""
ALIKE = 1000
"""Masks count as the same if their feature maps, scaled to 0 to 1, agree to one part in this many."""
STATED = "likeness to the whole Score-CAM is estimated at "
"""Before the number, in a note."""
DRAWS = 32
"""Maps drawn from what the fast way does not know, to say how far off it may be."""


def scorecam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """Every mask, or the fast way where that would take minutes."""
    maps = feature_maps(model, x, class_index)
    if len(maps) * macs(model, max(x.shape[-2:])) > HEAVY:
        return _fast(model, x, class_index, maps, progress)
    return _exact(model, x, class_index, maps, progress)


def exact(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """Every mask, however long it takes."""
    return _exact(model, x, class_index, feature_maps(model, x, class_index), progress)


def fast(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """PICKS masks; the note says how close the map is likely to be to the whole one."""
    return _fast(model, x, class_index, feature_maps(model, x, class_index), progress)


def feature_maps(model: nn.Module, x: Tensor, class_index: int) -> Tensor:
    """What the class activation layer puts out for x (1, C, H, W): (K, h, w)."""
    with torch.no_grad(), watched(cam_layer(model)) as seen:
        logit(model(x), class_index)
    return seen[-1][0].detach()


def _exact(model: nn.Module, x: Tensor, class_index: int, maps: Tensor, progress: Progress) -> Evidence:
    if not torch.isfinite(maps).all():
        return Evidence(maps.sum(0))
    first, of = distinct(maps)
    count = len(first)
    with Scorer(model, x, class_index) as scorer:
        scores = scorer(maps[first], lambda done: progress(done / count, f"{count} masks"))
    return Evidence(_weighted(maps, scores[of]))


def _fast(model: nn.Module, x: Tensor, class_index: int, maps: Tensor, progress: Progress) -> Evidence:
    if not torch.isfinite(maps).all():
        return Evidence(maps.sum(0))
    first, of = distinct(maps)
    if len(first) <= PICKS:
        return _exact(model, x, class_index, maps, progress)
    with Scorer(model, x, class_index) as scorer:
        surrogate = Surrogate(scaled_maps(maps[first]).flatten(1), _sizes(maps, of))
        for done in range(0, PICKS, ROUND):
            picked = surrogate.pick(min(ROUND, PICKS - done))
            surrogate.learn(picked, scorer(maps[first][picked], partial(_told, progress, done, len(first))))
        heat = _weighted(maps, surrogate.mean[of].float())
        drawn = [_weighted(maps, scores[of].float()) for scores in surrogate.draw(DRAWS)]
        return Evidence(heat, _closeness(heat, drawn, len(first)))


def _told(progress: Progress, before: int, masks: int, done: int) -> None:
    progress((before + done) / PICKS, f"{PICKS} of {masks} masks")


def _sizes(maps: Tensor, of: Tensor) -> Tensor:
    """How much each mask's score weighs: the summed sizes of the maps (K, h, w) that make it."""
    return torch.zeros(int(of.max()) + 1).index_add(0, of, maps.flatten(1).norm(dim=1).float())


def _closeness(heat: Tensor, drawn: list[Tensor], distinct: int) -> str:
    """What the spread of the drawn maps says of this one: the likeness that 19 of 20 reach."""
    pairs = [torch.corrcoef(torch.stack([heat.clamp(min=0).flatten(), one.clamp(min=0).flatten()])) for one in drawn]
    low = float(torch.stack([pair[0, 1] for pair in pairs]).nan_to_num(0.0).quantile(0.05))
    return f"{PICKS} of {distinct} masks were scored; {STATED}{low:.2f} or more."


def stated(note: str) -> float | None:
    """The likeness that the note of a fast map promises; None where it promises none."""
    _, found, rest = note.partition(STATED)
    return float(rest.split()[0]) if found else None


def _weighted(maps: Tensor, scores: Tensor) -> Tensor:
    """The maps' sum (h, w), weighed by the softmax of their scores (K,)."""
    return torch.einsum("k,khw->hw", torch.softmax(scores, 0), maps)


def scaled_maps(maps: Tensor) -> Tensor:
    """Feature maps (K, h, w) each to 0 to 1; those without contrast to 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).where(high > low, 1.0)


def distinct(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (M,) of one map (K, h, w) per mask, and for each map the position of its mask among them (K,)."""
    rounded = (scaled_maps(maps) * ALIKE).round().flatten(1)
    kinds, of = torch.unique(rounded, dim=0, return_inverse=True)
    first = torch.full((len(kinds),), len(maps)).scatter_reduce(0, of, torch.arange(len(maps)), "amin")
    return first, of
