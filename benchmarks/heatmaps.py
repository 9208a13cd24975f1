"""Where the heat maps of the shipped bundles lie, and whether what they mark matters: docs/benchmarks/heatmaps.json.

    python benchmarks/heatmaps.py DATA [--images 30] [--out docs/benchmarks/heatmaps.json]

DATA holds a folder for each set, named as its bundle. Only images that no model was fitted to are used: the val part,
and for outlines the test part that the recipe carves too. Three measures, for both models of every bundle:

mirrored: the center of mass of the map of the mirrored image, against the mirror image of the map's: half their
    distance, in sides of the input, signed (down and right are positive); the mean over images for each axis.
deleted, kept: how far the answer's probability lies below that for as large a random part when the strongest 10, 20 and
    30 % of the map are replaced by a blur, and above it when only they are left; the mean over images and shares.
outlines: lift and pointing of `kdlight.inference.localization` for sets with outlines (DATA/<set>_masks).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from kdlight.benchmark.timer import machine
from kdlight.bundle import Bundle, load, shipped_folder
from kdlight.contracts.reading import ROLES, Role
from kdlight.contracts.recipe import read_recipe, shipped
from kdlight.data import Dataset, masks_in, match_classes, open_dataset
from kdlight.data.splits import parted
from kdlight.explain import explain, lattice
from kdlight.inference import Predictor
from kdlight.inference.localization import localize

METHODS = ("multilayer", "gradcam", "gradcam, half a cell further")
"""The last lays Grad-CAM's cells as an enlarged picture has them: as kdlight did, and the grad-cam package does."""
SHARES = (0.1, 0.2, 0.3)
RANDOM = 3
"""Random maps that each image's own is held against: Gaussian noise, smoothed by a sixteenth of the side."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/heatmaps.json"))
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    folders = [path for path in sorted(shipped_folder().iterdir()) if (arguments.data / path.name).is_dir()]
    sets = {path.name: measured(load(path), arguments.data, arguments.images) for path in folders}
    report = {"benchmark": "heatmaps", "machine": machine().model_dump(), "images": arguments.images, "sets": sets}
    arguments.out.write_text(json.dumps(report | {"summary": summary(sets)}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary(sets), indent=1))  # noqa: T201  the command's answer


def measured(bundle: Bundle, data: Path, count: int) -> dict[str, Any]:
    """The figures of one bundle: method -> model -> measures."""
    recipe = read_recipe(shipped()[f"kdlight-{bundle.path.name}"]).data
    dataset = parted(open_dataset(data / bundle.path.name), {"val": recipe.val, "test": recipe.test}, recipe.split_seed)
    dataset = match_classes(dataset, bundle.classes)
    masks = data / f"{bundle.path.name}_masks"
    rng = np.random.default_rng(0)
    val = dataset.split("val")
    chosen = rng.permutation(len(val))[:count]
    pictures = replace(val, items=tuple(val.items[i] for i in chosen)).images(bundle.spec)
    found: dict[str, Any] = {}
    for title in METHODS:
        method, _, moved = title.partition(", ")
        with half_a_cell_further() if moved else nullcontext():
            found[title] = {role: marks(bundle, role, method, pictures) for role in ROLES}
            if masks.is_dir():
                found[title]["outlines"] = outlines(bundle, replace(dataset, masks=masks_in(masks, dataset)), method)
    return found


@contextmanager
def half_a_cell_further() -> Iterator[None]:
    """Inside it cell i of n lies in the middle of the i-th of n equal parts, and the outer cells reach the border."""
    exact = lattice.Axis.weights

    def weights(axis: lattice.Axis, places: torch.Tensor, fade: bool = False) -> torch.Tensor:
        return exact(lattice.Axis((axis.step - 1) / 2, axis.step, axis.count), places)

    lattice._weights.cache_clear()
    lattice.Axis.weights = weights  # type: ignore[method-assign]
    try:
        yield
    finally:
        lattice.Axis.weights = exact  # type: ignore[method-assign]
        lattice._weights.cache_clear()


def marks(bundle: Bundle, role: Role, method: str, pictures: np.ndarray) -> dict[str, Any]:
    """The measures of one model on pictures uint8 (N, S, S, 3)."""
    model = bundle.model(role).requires_grad_(False)
    moved: dict[str, list[float]] = {"down": [], "right": []}
    deleted, kept = [], []
    for picture in pictures:
        x = bundle.spec.normalise(torch.from_numpy(picture[None].copy()))
        with torch.no_grad():
            top = int(model(x).argmax())
        heat = explain(model, x, top, method)
        if not heat.any():
            continue
        for axis, name in enumerate(moved):
            mirrored = explain(model, torch.flip(x, (2 + axis,)), top, method)
            if mirrored.any():
                span = (heat.shape[axis] - 1) / heat.shape[axis]
                moved[name].append((center(mirrored, axis) + center(heat, axis) - span) / 2)
        out, left = erased(bundle, model, picture, top, heat)
        deleted.append(out)
        kept.append(left)
    means = {name: float(np.mean(values)) for name, values in moved.items()}
    absolute = {name: float(np.mean(np.abs(values))) for name, values in moved.items()}
    return {
        "maps": len(deleted),
        "mirrored": means,
        "mirrored_each": absolute,
        "deleted": float(np.mean(deleted)),
        "kept": float(np.mean(kept)),
    }


def center(heat: np.ndarray, axis: int) -> float:
    """Center of mass along an axis, as a share of the side."""
    mass = heat.sum(1 - axis, dtype=np.float64)
    return float((mass * np.arange(len(mass))).sum() / mass.sum() / len(mass))


def erased(bundle: Bundle, model: Any, picture: np.ndarray, top: int, heat: np.ndarray) -> tuple[float, float]:
    """How far the answer falls without the map's strongest parts, and holds with them alone, beyond random ones."""
    rng = np.random.default_rng(1)
    side = heat.shape[0]
    blurred = gaussian_filter(picture.astype(np.float32), (side / 10, side / 10, 0))
    noise = [gaussian_filter(rng.standard_normal(heat.shape), side / 16) for _ in range(RANDOM)]
    pairs = []
    for order in (heat, *noise):
        for part in _parts(order):
            pairs += [np.where(part, blurred, picture), np.where(part, picture, blurred)]
    x = bundle.spec.normalise(torch.from_numpy(np.stack(pairs).astype(np.uint8)))
    with torch.inference_mode():
        p = model(x).softmax(1)[:, top].double().numpy().reshape(1 + RANDOM, len(SHARES), 2).mean(1)
    random = p[1:].mean(0)
    return float(random[0] - p[0, 0]), float(p[0, 1] - random[1])


def _parts(order: np.ndarray) -> Iterator[np.ndarray]:
    """The strongest SHARES of the pixels, bool (S, S, 1)."""
    ranks = np.argsort(np.argsort(-order, axis=None, kind="stable")).reshape(order.shape)
    for share in SHARES:
        yield (ranks < share * order.size)[..., None]


def outlines(bundle: Bundle, dataset: Dataset, method: str) -> dict[str, Any]:
    """Both models' maps against the outlines of the val and test parts."""
    items = tuple(item for item in dataset.items if item.split in ("val", "test"))
    part = replace(dataset, items=items)
    predictor = Predictor(bundle)
    x = bundle.spec.normalise(torch.from_numpy(part.images(bundle.spec).copy()))
    answers = {role: predictor.logits(role, x).argmax(1).tolist() for role in ROLES}
    return localize(predictor, part, answers, method) or {}


def summary(sets: dict[str, Any]) -> dict[str, Any]:
    """Over all sets, models and axes: the mean and the worst displacement, and the mean of the others."""
    found = {}
    for method in METHODS:
        rows = [one[method][role] for one in sets.values() for role in ROLES]
        moves = np.abs([value for row in rows for value in row["mirrored"].values()])
        found[method] = {
            "mirrored_mean": float(moves.mean()),
            "mirrored_worst": float(moves.max()),
            "mirrored_each": float(np.mean([value for row in rows for value in row["mirrored_each"].values()])),
            "deleted": float(np.mean([row["deleted"] for row in rows])),
            "kept": float(np.mean([row["kept"] for row in rows])),
        }
    return found


if __name__ == "__main__":
    main()
