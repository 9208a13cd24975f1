"""What the jobs do. Everything here may import torch: it runs in a child, never in the script thread."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image

Say = Callable[[float, str], None]
"""Called with the share done and the words for it."""
FLIPS_SHOWN = 60
THUMBNAIL = 128


def catalog(say: Say) -> dict[str, Any]:
    """What the registries hold, see `kdlight.ui.catalog.Catalog`."""
    say(0.1, "Looking up models and methods")
    from kdlight.distillers import METHODS
    from kdlight.models import GENERAL, MODELS
    from kdlight.options import declared
    from kdlight.preprocessing.augment import AUGMENTATIONS
    from kdlight.ui.catalog import Catalog, License, Method, Network

    found = Catalog(
        methods={
            name: Method(summary=kind.summary, paper=kind.paper, options=declared(kind))
            for name, kind in METHODS.items()
        },
        networks={
            name: Network(role=network.role, summary=f"{network.summary} ({network.source})", family=network.family)
            for name, network in MODELS.items()
        },
        augmentations=tuple(AUGMENTATIONS),
        general={name: License(words=one.words, commercial=one.commercial) for name, one in GENERAL.items()},
    )
    return found.model_dump(mode="json")


def check(say: Say, path: str) -> dict[str, Any]:
    """`kdlight data check` of a labeled set."""
    from kdlight import data

    dataset = data.open_dataset(path)
    return data.check(dataset, lambda done, total: say(done / total, f"Reading image {done} of {total}")).to_json()


def compare(
    say: Say, path: str, data: str | None, split: str | None = None, masks: str | None = None
) -> dict[str, Any]:
    """Both models on a labeled split (report, curves, flips) and by the clock; without data only by the clock.

    Where the images have outlines, beside them or in the folder `masks`, heat maps are held against those too.

    `busy` is the sentence that says so where other work on this machine kept the clock from being used.
    """
    from kdlight import bundle as bundles
    from kdlight.benchmark import BusyError, quiet_latency

    bundle = bundles.load(path)
    found: dict[str, Any] = _measure(say, bundle, data, split, masks) if data else {}

    def report(done: int, total: int) -> None:
        say(0.8 + 0.2 * done / total, "Timing both")

    try:
        timed = quiet_latency(bundle, bundle.spec.size, progress=report)
        return {**found, "latency": timed.model_dump(mode="json")}
    except BusyError as busy:
        return {**found, "busy": str(busy)}


def _measure(say: Say, bundle: Any, data: str, split: str | None, masks: str | None) -> dict[str, Any]:
    from kdlight.inference.evaluate import evaluate
    from kdlight.reading import ROLES

    measured = evaluate(bundle, data, split, lambda share, words: say(0.8 * share, words), masks=masks or None)
    found, part = measured.to_json(), measured.part
    flips = [{**flip, **_look(part, flip["path"], measured.pixels)} for flip in found["flips"][:FLIPS_SHOWN]]
    curves = {role: _curves(measured.predictions[role].probabilities, part.labels, bundle.classes) for role in ROLES}
    return {**found, "shown": flips, "flips": len(found["flips"]), "curves": curves}


def _look(part: Any, ref: str, pixels: np.ndarray) -> dict[str, Any]:
    """A thumbnail of what the models saw, and the file behind it where there is one."""
    index = next(i for i, item in enumerate(part.items) if item.ref == ref)
    picture = PIL.Image.fromarray(pixels[index])
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "PNG")
    behind = part.source.file(ref)
    return {"thumbnail": base64.b64encode(file.getvalue()).decode(), "file": str(behind) if behind else None}


def _curves(probabilities: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """ROC per class that has both sides, thinned to 100 points, and reliability without its empty bins."""
    from kdlight.metrics import reliability_curve, roc_curve

    roc = {}
    for index, name in enumerate(classes):
        positive = labels == index
        if positive.any() and not positive.all():
            false, true, _ = roc_curve(probabilities[:, index], positive)
            keep = np.unique(np.linspace(0, len(false) - 1, 100).round().astype(int))
            roc[name] = {"false": false[keep].tolist(), "true": true[keep].tolist()}
    confidence, right, count = reliability_curve(probabilities, labels)
    full = count > 0
    return {
        "roc": roc,
        "reliability": {
            "confidence": confidence[full].tolist(),
            "accuracy": right[full].tolist(),
            "count": count[full].tolist(),
        },
    }


def estimate(say: Say, recipe: str) -> dict[str, Any]:
    """Seconds that a recipe (TOML) will take, from ten batches of each model on pixels drawn at random."""
    import tomllib

    from kdlight.config import Recipe
    from kdlight.training.effort import try_out

    plan = Recipe.from_mapping(tomllib.loads(recipe))
    trial = try_out(plan, say)
    return {"seconds": trial.seconds(plan), "images": trial.images}
