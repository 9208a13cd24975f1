"""Golden cases: inputs with the answers and heat maps that a bundle gave when it was made, to be given again anywhere.

The inputs are drawn from a seed, so no person's scan is in a bundle: soft blobs over a gradient, gray or in color.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import torch
from pydantic import ConfigDict, computed_field
from safetensors.numpy import load_file

from kdlight import storage
from kdlight.bundle import Bundle, BundleError
from kdlight.bundle.part import Part
from kdlight.contracts.reading import ROLES, Role
from kdlight.explain import DEFAULT, explain
from kdlight.inference import Predictor

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


class Expected(Part):
    """golden/expected.json."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    classes: tuple[str, ...] = ()
    method: str = METHOD
    maps: int = 1
    probabilities: dict[Role, list[list[float]]]
    """By model (cases, K), calibrated."""


class GoldenCheck(Part):
    """The largest differences of a bundle's answers to those that it was made with."""

    cases: int
    probability_change: dict[Role, float]
    map_change: dict[Role, float] | None
    """Mean difference of a map; None where the maps are of an older kind, which cannot come out again."""
    onnx_torch_difference: float
    """In the student's probabilities."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        return (
            max(self.probability_change.values()) <= OTHER_MACHINE_TOLERANCE
            and max((self.map_change or {}).values(), default=0.0) <= MAP_TOLERANCE
            and self.onnx_torch_difference <= PROBABILITY_TOLERANCE
        )


def record(path: Path, bundle: Bundle) -> None:
    """Write `golden/`: inputs as PNG, both models' calibrated probabilities, the heat map of each one's top class."""
    folder = path / "golden"
    folder.mkdir(exist_ok=True)
    color = bool(bundle.card.eligibility.color)
    for index in range(CASES):
        PIL.Image.fromarray(draw(index, bundle.spec.size, color)).save(folder / f"case_{index}.png", optimize=True)
    probabilities, maps = run(bundle, _inputs(path, bundle))
    named = {f"{role}_{i}": maps[role][i].astype(np.float16) for role in ROLES for i in range(CASES)}
    storage.write_arrays(folder / "maps.safetensors", named)
    lists = {role: probabilities[role].tolist() for role in ROLES}
    expected = Expected(classes=bundle.classes, method=METHOD, maps=MAPS, probabilities=lists)
    storage.write_json(folder / "expected.json", expected.to_json())


def check(bundle: Bundle) -> GoldenCheck:
    """Run the golden cases again. Raises BundleError if they are damaged."""
    folder = bundle.path / "golden"
    try:
        expected = Expected.model_validate_json((folder / "expected.json").read_bytes())
        recorded = load_file(folder / "maps.safetensors")
        inputs = _inputs(bundle.path, bundle)
        probabilities, maps = run(bundle, inputs)
        change = {r: float(np.abs(probabilities[r] - np.array(expected.probabilities[r])).max()) for r in ROLES}
        differences = {r: [np.abs(maps[r][i] - recorded[f"{r}_{i}"]).mean() for i in range(CASES)] for r in ROLES}
    except (OSError, KeyError, ValueError) as error:
        raise BundleError(f"{bundle.path.name}: the golden cases cannot be read ({type(error).__name__}).") from error
    return GoldenCheck(
        cases=CASES,
        probability_change=change,
        map_change={r: float(max(of)) for r, of in differences.items()} if expected.maps == MAPS else None,
        onnx_torch_difference=Predictor(bundle).parity(inputs),
    )


def run(bundle: Bundle, x: torch.Tensor) -> tuple[dict[Role, np.ndarray], dict[Role, np.ndarray]]:
    """Of both models on x (B, 3, S, S): calibrated probabilities (B, K), the heat maps (B, h, w) of the top class."""
    predictor = Predictor(bundle)
    probabilities = {role: predictor.probabilities(role, x) for role in ROLES}
    maps = {}
    for role, model in predictor.models.items():
        tops = probabilities[role].argmax(axis=1).tolist()
        maps[role] = np.stack([explain(model, x[i : i + 1], top, METHOD) for i, top in enumerate(tops)])
    return probabilities, maps


def _inputs(path: Path, bundle: Bundle) -> torch.Tensor:
    pictures = [np.asarray(PIL.Image.open(path / "golden" / f"case_{i}.png").convert("RGB")) for i in range(CASES)]
    return bundle.spec.normalise(torch.from_numpy(np.stack(pictures)))
