"""Score-CAM: the class score of the image seen through one feature map at a time weighs that map.

Wang et al., CVPR Workshops 2020, https://arxiv.org/abs/1910.01279
    L = ReLU(sum_k a_k A_k),  a = softmax_k(logit(x * norm(upsample(A_k))))
Masks and map are laid on the input by the centers of the cells' receptive fields (`kdlight.explain.lattice`); the paper
and the package stretch them from edge to edge.
The grad-cam package builds all masked inputs at once (0.8 GB for 1280 maps at 224 px) and scores every map. Here maps
without contrast are scored once, since they hide everything; maps that make the same mask are scored once; one batch is
held at a time; and the network is prepared for batches (`Scorer`).
`exact` scores every mask. `scorecam` predicts the scores of masks from those of their likes
(`kdlight.explain.surrogate`) and scores masks until the map is likely to be the whole one's to SURE; `fast` scores
PICKS of them. The prediction is ours, as is what the notes say of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from kdlight.explain.base import Estimate, Evidence, Progress
from kdlight.explain.lattice import Lattice
from kdlight.explain.scoring import Scorer
from kdlight.explain.surrogate import Surrogate
from kdlight.explain.watch import forward, stacked
from kdlight.models import macs

HEAVY = 2e12
"""Multiply-adds of a whole Score-CAM above which `scorecam` takes the fast way: a minute or more on two cores."""


@dataclass(frozen=True, slots=True)
class Effort:
    """When enough masks were scored."""

    step: int
    """Masks picked at a time: later ones know the scores of the earlier."""
    least: int
    """Masks scored before the correlation with the whole map is estimated: with fewer it comes out too high."""
    sure: float
    """Correlation that ends it."""
    most: float
    """Share of the masks beyond which all are scored instead."""
    worthwhile: int
    """Distinct masks below which all are scored from the start."""


FAST = Effort(12, 24, -1.0, 1.0, 24)
SURE = Effort(32, 128, 0.9995, 0.7, 384)
"""On 35 images of seven sets, with two networks, the maps that ended so were 0.9992 or more like the whole one.
MobileNetV2's 450 to 840 masks take 1.7 to 4.7 times less time so; kdlight_nano's 200 would take longer
(docs/heatmaps.md)."""
ALIKE = 1000
"""Masks count as the same if their feature maps, scaled to 0 to 1, agree to one part in this many."""
DRAWS = 32
"""Maps drawn from what is not known, to say how far off a map may be."""


def scorecam(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """Masks until the map is as good as whole; or the fast way where that would take minutes."""
    return _map(model, x, class_index, progress, SURE)


def exact(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """Every mask, however long it takes."""
    return _map(model, x, class_index, progress, None)


def fast(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    """A few masks; the note says how close the map is likely to be to the whole one."""
    return _map(model, x, class_index, progress, FAST)


def feature_maps(model: nn.Module, x: Tensor, class_index: int) -> tuple[Tensor, Lattice]:
    """What the class activation layers put out for x (1, C, H, W): (K, h, w), and where its cells lie on the input."""
    watch, _ = forward(model, x, class_index)
    return stacked([maps[0] for maps in watch.maps], watch.lattices)


def _map(model: nn.Module, x: Tensor, class_index: int, progress: Progress, effort: Effort | None) -> Evidence:
    """As many masks as the effort asks for; every one without an effort, or where its share of them does not do."""
    maps, lattice = feature_maps(model, x, class_index)
    if effort is SURE and len(maps) * macs(model, max(x.shape[-2:])) > HEAVY:
        effort = FAST
    if not torch.isfinite(maps).all():
        return Evidence(maps.sum(0), lattice)
    first, mask_of = distinct(maps)
    count = len(first)
    most = int(effort.most * count) if effort and count >= effort.worthwhile else 0
    scores, known = torch.zeros(count), torch.empty(0, dtype=torch.long)
    with Scorer(model, x, class_index, lattice) as scorer:

        def score(masks: Tensor, before: int) -> Tensor:
            total = effort.least if effort is FAST and most else count
            return scorer(maps[first][masks], partial(_report, progress, total, before))

        def weighted(scores: Tensor) -> Tensor:
            return torch.einsum("k,khw->hw", torch.softmax(scores[mask_of].float(), 0), maps)

        if effort and most:
            surrogate = Surrogate(scaled_maps(maps[first]).flatten(1), _sizes(maps, mask_of))
            pearson = _some(surrogate, effort, most, score, weighted)
            scores, known = surrogate.mean.float(), surrogate.known
            if pearson is not None:
                return Evidence(weighted(scores), lattice, estimate=Estimate(len(known), count, pearson))
        rest = torch.tensor(sorted(set(range(count)) - set(known.tolist())))
        scores[rest] = score(rest, len(known))
    return Evidence(weighted(scores), lattice)


def _some(
    surrogate: Surrogate,
    effort: Effort,
    most: int,
    score: Callable[[Tensor, int], Tensor],
    weighted: Callable[[Tensor], Tensor],
) -> float | None:
    """Scores masks until the map is near enough to the whole one: the correlation; None if `most` do not do."""
    while (known := len(surrogate.known)) + effort.step <= most:
        picked = surrogate.pick(effort.step)
        surrogate.learn(picked, score(picked, known))
        if known + effort.step >= effort.least:
            pearson = _pearson(weighted(surrogate.mean), [weighted(scores) for scores in surrogate.draw(DRAWS)])
            if pearson >= effort.sure:
                return pearson
    return None


def _report(progress: Progress, most: int, before: int, done: int) -> None:
    progress((before + done) / most, f"{before + done} masks, {most} at most")


def _sizes(maps: Tensor, mask_of: Tensor) -> Tensor:
    """How much each mask's score weighs: the summed sizes of the maps (K, h, w) that make it."""
    return torch.zeros(int(mask_of.max()) + 1).index_add(0, mask_of, maps.flatten(1).norm(dim=1).float())


def _pearson(heat: Tensor, drawn: list[Tensor]) -> float:
    """What the spread of the drawn maps says of this one: the correlation that 19 of 20 reach."""
    pairs = [torch.corrcoef(torch.stack([heat.clamp(min=0).flatten(), one.clamp(min=0).flatten()])) for one in drawn]
    return float(torch.stack([pair[0, 1] for pair in pairs]).nan_to_num(0.0).quantile(0.05))


def scaled_maps(maps: Tensor) -> Tensor:
    """Feature maps (K, h, w) each to 0 to 1; those without contrast to 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).where(high > low, 1.0)


def distinct(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (M,) of one map (K, h, w) per mask, and for each map the position of its mask among them (K,)."""
    rounded = (scaled_maps(maps) * ALIKE).round().flatten(1)
    kinds, mask_of = torch.unique(rounded, dim=0, return_inverse=True)
    first = torch.full((len(kinds),), len(maps)).scatter_reduce(0, mask_of, torch.arange(len(maps)), "amin")
    return first, mask_of
