"""How the grade of heat maps was chosen: docs/benchmarks/map_support.json.

    python benchmarks/map_support.py DATA [--images 40] [--road 8] [--out docs/benchmarks/map_support.json]

DATA holds a folder for each set, named as its bundle; images are of its val part, which no model was fitted to. For the
top class of both models of every bundle: the odds ratio (`kdlight.explain.odds_ratio`) of the network's map, of the map
of the same architecture with random weights, and of smoothed noise. And for the first `--road` images of a set, how
well two ways of removal tell the network's maps from the others (area under the ROC curve): the blur of `odds_ratio`,
and ROAD's imputation (`pytorch_grad_cam.metrics.road`) of the same parts; with milliseconds per map.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from kdlight.bundle import Bundle, load, shipped_folder
from kdlight.contracts.reading import ROLES
from kdlight.explain import explain, odds_ratio
from kdlight.explain.grade import STRONG
from kdlight.images import read
from kdlight.models import create_model

METHODS = ("multilayer", "gradcam", "layercam")
KINDS = ("network", "random weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--road", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/map_support.json"))
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    folders = [path for path in sorted(shipped_folder().iterdir()) if (arguments.data / path.name).is_dir()]
    rows = [row for path in folders for row in measured(load(path), arguments.data, arguments.images, arguments.road)]
    report = {"benchmark": "map_support", "images": arguments.images, "sets": len(folders), **summary(rows)}
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))  # noqa: T201  the command's answer


def measured(bundle: Bundle, data: Path, count: int, road: int) -> Iterator[dict[str, Any]]:
    """One row per image, model, method and kind of map."""
    paths = sorted(
        path
        for path in (data / bundle.path.name / "val").rglob("*")
        if path.suffix.lower() in (".png", ".jpg", ".jpeg")
    )
    chosen = [paths[i] for i in np.random.default_rng(1).permutation(len(paths))[:count]]
    for role in ROLES:
        model = bundle.model(role).eval().requires_grad_(False)
        torch.manual_seed(1)
        untrained = create_model(getattr(bundle.card, role).architecture, len(bundle.classes)).eval()
        for number, path in enumerate(chosen):
            x = bundle.spec.prepare(read(path))[None]
            top = int(logits(model)(x).argmax())
            noise = np.random.default_rng(100 + number).standard_normal(x.shape[-2:])
            maps = {(method, "network"): explain(model, x, top, method) for method in METHODS}
            maps |= {(method, "random weights"): explain(untrained, x, top, method) for method in METHODS}
            maps["", "noise"] = ndimage.gaussian_filter(noise, x.shape[-1] / 16)
            for (method, kind), heat in maps.items():
                if np.ptp(heat):
                    yield {"method": method, "kind": kind, **ratios(heat, x, logits(model), top, number < road)}


def ratios(
    heat: np.ndarray, x: torch.Tensor, answer: Callable[[torch.Tensor], np.ndarray], top: int, road: bool
) -> dict[str, float | None]:
    """Log odds ratios by blur and, where asked for, by ROAD's imputation; seconds of each."""
    started = time.perf_counter()
    blurred = odds_ratio(heat, x, answer, top) or 1.0
    found: dict[str, float | None] = {"blur": float(np.log(blurred)), "blur_s": time.perf_counter() - started}
    if road:
        started = time.perf_counter()
        imputed = odds_ratio(heat, x, lambda pictures: answer(filled(pictures, x)), top) or 1.0
        found |= {"road": float(np.log(imputed)), "road_s": time.perf_counter() - started}
    return found


def filled(pictures: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Pictures (B, C, h, w) of which parts were changed, those parts filled by ROAD instead."""
    imputer, generator = NoisyLinearImputer(), torch.random.get_rng_state()
    torch.manual_seed(0)
    kept = ((pictures - x).abs().amax(1) == 0).float()
    imputed = torch.stack([imputer(x[0], mask) for mask in kept])
    torch.random.set_rng_state(generator)
    return imputed


def logits(model: Any) -> Callable[[torch.Tensor], np.ndarray]:
    def answer(x: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            values: np.ndarray = model(x).numpy()
        return values

    return answer


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of maps by grade, and how well each way of removal tells the network's from the others."""
    shares, areas = {}, {}
    for method in METHODS:
        for kind in KINDS:
            values = [row["blur"] for row in rows if (row["method"], row["kind"]) == (method, kind)]
            shares[f"{method}, {kind}"] = graded(values)
        for way in ("blur", "road"):
            known = [row for row in rows if row["method"] in (method, "") and "road" in row]
            areas[f"{method}, {way}"] = roc_auc_score(
                [row["kind"] == "network" for row in known], [r[way] for r in known]
            )
    shares["noise"] = graded([row["blur"] for row in rows if row["kind"] == "noise"])
    milliseconds = {w: 1000 * float(np.median([r[f"{w}_s"] for r in rows if f"{w}_s" in r])) for w in ("blur", "road")}
    return {"strong": STRONG, "shares": shares, "area_under_roc": areas, "milliseconds": milliseconds}


def graded(values: list[float]) -> dict[str, float]:
    ratio = np.exp(values)
    strong, none = float(np.mean(ratio >= STRONG)), float(np.mean(ratio <= 1))
    return {"maps": len(values), "strong": strong, "weak": 1 - strong - none, "none": none}


if __name__ == "__main__":
    main()
