"""Golden cases: inputs with the answers and heat maps that a bundle gave when it was made, to be given again anywhere.

The inputs are drawn from a seed, so no person's scan is in a bundle: soft blobs over a gradient, gray or in color.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from safetensors.numpy import load_file, save_file

from kdlight.bundle import Bundle, BundleError
from kdlight.explain import DEFAULT, explain
from kdlight.inference import Predictor
from kdlight.reading import ROLES, Role

CASES = 4
METHOD = DEFAULT
MAPS = 2
"""Version of how maps are laid on the input: 2 puts each cell at the center of its receptive field."""
PROBABILITY_TOLERANCE = 1e-4
"""Largest difference of a probability between ONNX Runtime and torch, and to what was recorded on the same engine."""
OTHER_MACHINE_TOLERANCE = 1e-3
"""Largest difference to what was recorded on another machine, whose kernels sum in another order."""
MAP_TOLERANCE = 0.02
"""Largest mean difference of a heat map on its 0 to 1 scale."""


def draw(index: int, side: int, color: bool) -> np.ndarray:
    """Golden input number `index`: uint8 (side, side, 3), the same on every platform."""
    rng = np.random.Generator(np.random.PCG64(index))
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float64) / side
    picture = np.stack([rows * a + columns * (1 - a) for a in rng.uniform(0, 1, 3)], axis=2) * rng.uniform(20, 120)
    for _ in range(6):
        y, x, radius = rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.85), rng.uniform(0.04, 0.25)
        blob = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / radius**2)[:, :, None]
        picture += blob * rng.uniform(-90, 150, 3)
    if not color:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def record(path: Path, bundle: Bundle) -> None:
    """Write `golden/`: inputs as PNG, both models' calibrated probabilities, the heat map of each one's top class."""
    folder = path / "golden"
    folder.mkdir(exist_ok=True)
    color = bool(bundle.card.eligibility.color)
    for index in range(CASES):
        PIL.Image.fromarray(draw(index, bundle.spec.size, color)).save(folder / f"case_{index}.png", optimize=True)
    answers = run(bundle, _inputs(path, bundle))
    maps = {f"{r}_{i}": answers[r]["maps"][i].astype(np.float16) for r in ROLES for i in range(CASES)}
    save_file(maps, folder / "maps.safetensors")
    expected = {role: answers[role]["probabilities"].tolist() for role in ROLES}
    text = json.dumps(
        {"classes": list(bundle.classes), "method": METHOD, "maps": MAPS, "probabilities": expected}, indent=1
    )
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


def check(bundle: Bundle) -> dict[str, Any]:
    """Run the golden cases again: the largest differences, and `ok`. Raises BundleError if they are damaged.

    `map_change` is None for a bundle whose maps were recorded before they were laid at their cells' receptive fields:
    those maps cannot come out again, and only the probabilities count.
    """
    try:
        expected = json.loads((bundle.path / "golden" / "expected.json").read_text(encoding="utf-8"))
        stored = expected["probabilities"]
        maps = load_file(bundle.path / "golden" / "maps.safetensors")
        answers = run(bundle, _inputs(bundle.path, bundle))
        change = {r: float(np.abs(answers[r]["probabilities"] - np.array(stored[r])).max()) for r in ROLES}
        heat = _map_change(answers, maps) if expected.get("maps") == MAPS else None
    except (OSError, KeyError, ValueError) as error:
        raise BundleError(f"{bundle.path.name}: the golden cases cannot be read ({type(error).__name__}).") from error
    parity = Predictor(bundle).parity(_inputs(bundle.path, bundle))
    ok = (
        max(change.values()) <= OTHER_MACHINE_TOLERANCE
        and (heat is None or max(heat.values()) <= MAP_TOLERANCE)
        and parity <= PROBABILITY_TOLERANCE
    )
    return {"ok": ok, "cases": CASES, "probability_change": change, "map_change": heat, "onnx_torch_difference": parity}


def _map_change(answers: dict[Role, dict[str, np.ndarray]], maps: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest mean difference of a map, by model."""
    return {
        role: max(float(np.abs(answers[role]["maps"][i] - maps[f"{role}_{i}"]).mean()) for i in range(CASES))
        for role in ROLES
    }


def run(bundle: Bundle, x: torch.Tensor) -> dict[Role, dict[str, np.ndarray]]:
    """Both models on x (B, 3, S, S): calibrated probabilities (B, K), the heat map (B, h, w) of the top class."""
    predictor = Predictor(bundle)
    answers: dict[Role, dict[str, np.ndarray]] = {}
    for role in ROLES:
        probabilities = predictor.probabilities(role, x)
        tops = probabilities.argmax(axis=1)
        maps = [explain(predictor.models[role], x[i : i + 1], int(tops[i]), METHOD) for i in range(len(x))]
        answers[role] = {"probabilities": probabilities, "maps": np.stack(maps)}
    return answers


def _inputs(path: Path, bundle: Bundle) -> torch.Tensor:
    pictures = [np.asarray(PIL.Image.open(path / "golden" / f"case_{i}.png").convert("RGB")) for i in range(CASES)]
    return bundle.spec.normalise(torch.from_numpy(np.stack(pictures)))
