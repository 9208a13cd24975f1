"""What a bundle's images look like to its student, and what its heat maps must reach: learned once it is trained.

From its training images, limits set on validation, measured on test, and kept in the bundle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kdlight import bundle as bundles
from kdlight import storage
from kdlight.bundle import Bundle, Card
from kdlight.bundle.looks import KindWithheld
from kdlight.inference.engines import OnnxEngine
from kdlight.inference.map_limits import at_most, map_figures
from kdlight.metrics.drift import drift
from kdlight.metrics.intervals import wilson
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import AUGMENTATIONS
from kdlight.trust import belonging
from kdlight.trust.drift import MOST, REFERENCE, one_of_each, summaries
from kdlight.trust.planted import TURNS, Change, misleading, planted

TRAIN, COPIES, TEST = 1500, 400, 200
"""Images that are taken at most: of training as they are and of each kind of copy, and of test for each kind."""
STAGES = 3
"""The distance is taken over: what scanner, noise and build of an image are is lost in later ones."""
BATCH = 32


def learn(bundle: Bundle, splits: Mapping[str, np.ndarray], groups: Mapping[str, np.ndarray] | None = None) -> Card:
    """Write what the images of a bundle look like into its folder, and its card anew; both must be sealed afterwards.

    splits: train, val and test as its models see them, uint8 (N, S, S, 3). groups: of their images, (N,) each. Some
    hundred images a second.
    """
    card, engine = bundle.card, OnnxEngine.of(bundle, 1, stages=True)
    policy, train = AUGMENTATIONS[card.modality], at_most(splits["train"], TRAIN)
    tinted = belonging.tints(train) > belonging.TINT
    color, gray = bool(tinted.mean() > 0.5), bool(tinted.mean() < 0.01)
    faults = misleading(policy, color)
    fine = [change for name, (_, change) in TURNS.items() if name != "channels swapped" and name not in faults]
    few = at_most(train, COPIES)
    own = stages(engine, bundle.spec, train)
    looks = belonging.fit(
        np.concatenate(own, axis=1),
        [features(engine, bundle.spec, change(few)) for _, change in faults.values()],
        [features(engine, bundle.spec, change(few)) for change in fine],
        early=sum(stage.shape[1] for stage in own[:STAGES]),
    )
    held = features(engine, bundle.spec, splits["val"])
    reference, tested = (
        summary(looks, engine, bundle.spec, splits[name], (groups or {}).get(name)) for name in ("val", "test")
    )
    storage.write_arrays(bundle.path / bundles.LOOKS, looks | {REFERENCE: reference[:MOST].astype(np.float32)})
    known = belonging.limits(looks, held, [kind for kind, _ in faults.values()], gray)
    card = bundles.write_card(bundle.path, card.replace(belonging=known))
    judge = belonging.Judge(looks, known)
    kinds = withheld(judge, engine, bundle.spec, splits["test"], planted(policy, color))
    known = known.replace(kinds=kinds, drift=drift(reference[:MOST], tested))
    return bundles.write_card(bundle.path, card.replace(belonging=known, maps=map_figures(bundle, splits)))


def kinds_withheld(bundle: Bundle, pixels: np.ndarray) -> tuple[KindWithheld, ...]:
    """Of the images (N, S, S, 3) of a set, and of each kind planted in copies of them.

    Raises ValueError where the bundle does not know what its images look like.
    """
    judge = belonging.Judge.of(bundle)
    if judge is None:
        raise ValueError(
            f"{bundle.card.name} does not know what its images look like: it was made before that was learned. "
            "Train it anew, or give it that with python -m tools.fit_belonging."
        )
    changes = planted(AUGMENTATIONS[bundle.card.modality], "swapped_channels" in judge.known.copies)
    return withheld(judge, OnnxEngine.of(bundle, 1, stages=True), bundle.spec, pixels, changes)


def withheld(
    judge: belonging.Judge,
    engine: OnnxEngine,
    spec: InputSpec,
    own: np.ndarray,
    changes: Mapping[str, Change],
) -> tuple[KindWithheld, ...]:
    """How often a bundle's own images (N, S, S, 3) are withheld, and copies of up to TEST of them of each kind."""
    some = at_most(own, TEST)
    shown = {"own": own, **{name: change(some) for name, change in changes.items()}}
    return tuple(share(name, judge, features(engine, spec, pixels), pixels) for name, pixels in shown.items())


def share(kind: str, judge: belonging.Judge, rows: np.ndarray, pixels: np.ndarray) -> KindWithheld:
    """How many of images with these features (N, D) and pixels (N, S, S, 3) are withheld, for any reason."""
    colored = (belonging.tints(pixels) > belonging.TINT) & judge.known.gray
    found = [bool(one.misfits) or bool(color) for one, color in zip(judge.judge(rows), colored, strict=True)]
    return KindWithheld(kind=kind, n=len(found), share=wilson(float(np.mean(found)), len(found)))


def summary(
    looks: belonging.Looks, engine: OnnxEngine, spec: InputSpec, pixels: np.ndarray, groups: np.ndarray | None
) -> np.ndarray:
    """See `kdlight.trust.drift.summaries`, of one image of each group, in an order of chance."""
    rows = np.arange(len(pixels)) if groups is None else one_of_each(groups)
    rows = np.random.default_rng(0).permutation(rows)
    return summaries(looks, stages(engine, spec, pixels[rows]))


def features(engine: OnnxEngine, spec: InputSpec, pixels: np.ndarray) -> np.ndarray:
    """(N, D) of pixels uint8 (N, S, S, 3)."""
    return np.concatenate(stages(engine, spec, pixels), axis=1)


def stages(engine: OnnxEngine, spec: InputSpec, pixels: np.ndarray) -> list[np.ndarray]:
    """The same by stage, (N, C) each."""
    import torch

    parts = []
    for start in range(0, len(pixels), BATCH):
        part = torch.from_numpy(np.ascontiguousarray(pixels[start : start + BATCH]))
        parts.append(engine.answer(spec.normalise(part)).stages)
    return [np.concatenate(stage) for stage in zip(*parts, strict=True)]
