"""Whether an image is like those a bundle was trained on, by its student's features at every stage.

Distance: Mahalanobis to one Gaussian over the pooled features of the first stages (Lee et al., NeurIPS 2018,
https://arxiv.org/abs/1807.03888, who take classes apart and weigh stages), each feature's signed square root, with the
covariance shrunk as Ledoit and Wolf (2004) have it. The roots and the choice of stages are ours.
Turned, mirrored, inverted: a linear discriminant over all stages that tells images as they should be from such copies.
Limits are quantiles on images held out of both. Chosen by measurement: see docs/trust.md.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdlight.bundle import LOOKS, Bundle, BundleError, guarded
from kdlight.bundle.looks import Belonging
from kdlight.contracts.reading import Misfit, MisfitKind

Floats = NDArray[np.float64]
Looks = dict[str, np.ndarray]
"""center (E,), factor (E, E): of the first E features; mean, deviation (D,), head (1 + C, D), bias (1 + C,): of all;
in newer files reference (R, S), see `kdlight.trust.drift`."""
LEVEL, ODDS_LEVEL = 0.97, 0.98
"""Of held-out images that the limits of distance and of odds let pass: together they are to withhold at most 5 %."""
TINT = 2.0
"""Mean difference between channels, of 255, below which an RGB image counts as gray. The limit is ours."""
SMALLEST = 1e-6
"""Added to a deviation, so that a feature that never changes does not divide by zero."""


def fit(own: np.ndarray, copies: Sequence[np.ndarray], as_well: Sequence[np.ndarray] = (), early: int = 0) -> Looks:
    """What images with features `own` (N, D) look like, and how to tell each kind of copy (n, D) from them.

    as_well: features of copies that are as good as the images themselves, such as mirrored ones where sides mean
    nothing. early: how many of the features, from the first on, the distance is taken over; 0 is all.
    """
    from sklearn.covariance import ledoit_wolf

    first = roots(own[:, : early or None])
    scale = first.std(axis=0) + SMALLEST
    covariance, _ = ledoit_wolf((first - first.mean(axis=0)) / scale, assume_centered=True)
    mean, deviation = own.mean(axis=0), own.std(axis=0) + SMALLEST
    groups = [np.concatenate([own, *as_well]), *copies]
    centers = np.stack([(group.mean(axis=0) - mean) / deviation for group in groups])
    spread = np.concatenate([(g - mean) / deviation - c for g, c in zip(groups, centers, strict=True)])
    shared, _ = ledoit_wolf(spread, assume_centered=True)
    head = np.linalg.solve(shared, centers.T).T
    looks = {
        "center": first.mean(axis=0),
        "factor": np.linalg.cholesky(np.linalg.inv(covariance)) / scale[:, None],
        "mean": mean,
        "deviation": deviation,
        "head": head,
        "bias": -0.5 * (head * centers).sum(axis=1),
    }
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in looks.items()}


def roots(features: np.ndarray) -> np.ndarray:
    """Signed square roots: pooled activations are skewed, and a Gaussian is not."""
    return np.asarray(np.sign(features) * np.sqrt(np.abs(features)))


def distances(looks: Looks, features: np.ndarray) -> Floats:
    """(N,) of features (N, D): per feature, so about 1 for images like those it was fitted to."""
    center = looks["center"]
    z = (roots(features[:, : len(center)]) - center) @ looks["factor"]
    return np.asarray(np.sqrt((z.astype(np.float64) ** 2).mean(axis=1)))


def probabilities(looks: Looks, features: np.ndarray) -> Floats:
    """(N, 1 + C) of features (N, D): as it should be, then each kind of copy, all equally likely beforehand."""
    z = (features - looks["mean"]) / looks["deviation"]
    logits = (z @ looks["head"].T + looks["bias"]).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def odds(looks: Looks, features: np.ndarray) -> Floats:
    """(N,) -log probability of being as it should be."""
    return np.asarray(-np.log(np.maximum(probabilities(looks, features)[:, 0], 1e-300)))


def limit(values: Floats, level: float) -> float:
    """The smallest value that lets `level` of new images pass, as split conformal prediction has it.

    Vovk et al. 2005. The largest where they are too few for that.
    """
    ranked = np.sort(values)
    return float(ranked[min(len(ranked), math.ceil((len(ranked) + 1) * level)) - 1])


def limits(looks: Looks, held: np.ndarray, copies: Sequence[MisfitKind], gray: bool) -> Belonging:
    """Both limits, from the features (N, D) of held-out images."""
    distance, odd = limit(distances(looks, held), LEVEL), limit(odds(looks, held), ODDS_LEVEL)
    return Belonging(copies=tuple(copies), distance=distance, odds=odd, gray=gray, level=LEVEL, n=len(held))


def tints(pixels: np.ndarray) -> Floats:
    """(N,) mean difference between the channels of images uint8 (N, H, W, 3)."""
    return np.asarray((pixels.max(axis=3) - pixels.min(axis=3)).mean(axis=(1, 2)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Judgment:
    """Of one image: its distance over the limit, and what keeps it from the bundle."""

    distance: float
    misfits: tuple[Misfit, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """What a bundle knows of its images, with the limits of its card."""

    looks: Looks
    known: Belonging

    @classmethod
    def of(cls, bundle: Bundle) -> Judge | None:
        """None where the bundle does not know what its images look like. Raises BundleError for a damaged file."""
        known = bundle.card.belonging
        if known is None:
            return None
        looks = read(bundle.path / LOOKS)
        if looks is None or looks["head"].shape[0] != 1 + len(known.copies):
            raise BundleError.of(bundle.path, f"{LOOKS} is not what the card says of it", "models")
        return cls(looks, known)

    def judge(self, features: np.ndarray) -> list[Judgment]:
        """Each row of features (N, D). Raises ValueError for features of another network."""
        wanted = self.looks["mean"].shape[0]
        if features.shape[1] != wanted:
            raise ValueError(f"{features.shape[1]} features were given; {wanted} were expected. Fit the bundle anew.")
        far, odd = distances(self.looks, features), odds(self.looks, features)
        shares = probabilities(self.looks, features)[:, 1:]
        return [self._judgment(*row) for row in zip(far.tolist(), odd.tolist(), shares, strict=True)]

    def _judgment(self, distance: float, odd: float, shares: Floats) -> Judgment:
        misfits = []
        if odd > self.known.odds:
            by_kind: dict[MisfitKind, float] = defaultdict(float)
            for kind, share in zip(self.known.copies, shares.tolist(), strict=True):
                by_kind[kind] += share
            likeliest = max(by_kind, key=lambda kind: by_kind[kind])
            misfits.append(Misfit(likeliest, min(1.0, by_kind[likeliest])))
        if not distance <= self.known.distance:  # NaN is unlike anything
            misfits.append(Misfit("unlike", distance, self.known.distance))
        return Judgment(distance / self.known.distance, tuple(misfits))


def read(path: Path) -> Looks | None:
    """A bundle's file; None where it is not what `fit` makes. Raises BundleError for one that cannot be read."""
    from safetensors.numpy import load_file

    with guarded(path.parent, "models", LOOKS):
        looks = load_file(path)
    if looks.keys() - {"reference"} != {"center", "factor", "mean", "deviation", "head", "bias"}:
        return None
    first, features, rows = looks["center"].size, looks["mean"].size, looks["bias"].size
    shapes = {"center": (first,), "factor": (first, first), "mean": (features,), "deviation": (features,)}
    shapes |= {"head": (rows, features), "bias": (rows,)}
    if "reference" in looks:
        shapes["reference"] = (looks["reference"].shape[0], looks["reference"].shape[-1])
    fits = all(looks[name].shape == shape and np.isfinite(looks[name]).all() for name, shape in shapes.items())
    return looks if fits and first <= features and (looks["deviation"] > 0).all() else None
