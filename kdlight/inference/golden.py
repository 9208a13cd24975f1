"""Golden cases: inputs with the answers and heat maps that a bundle gave when it was made, to be given again anywhere.

The inputs are drawn from a seed, so no person's scan is in a bundle: soft blobs over a gradient, gray or in color. The
record also binds digests of both models, of the ONNX file and of all that the card says about what an answer means:
what is exchanged afterwards is found. Who can write the record anew can bind anything; only a signature tells that.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import PIL.Image
import torch
from pydantic import ConfigDict, computed_field
from safetensors.numpy import load_file

from kdlight import storage
from kdlight.bundle import Bundle, BundleError, Card, digest, guarded
from kdlight.bundle.part import Part
from kdlight.contracts.reading import ROLES, Role
from kdlight.explain import DEFAULT, Progress, explain
from kdlight.inference import Predictor

CASES = 4
FRESH = 4
"""Inputs that nobody can have foreseen, on which the student's two files must agree as well."""
METHOD = DEFAULT
MAPS = 2
"""Version of how maps are laid on the input: 2 puts each cell at the center of its receptive field."""
PROBABILITY_TOLERANCE = 1e-4
"""Largest difference of a probability between ONNX Runtime and torch, and to what was recorded on the same engine."""
OTHER_MACHINE_TOLERANCE = 1e-3
"""Largest difference to what was recorded on another machine, whose kernels sum in another order."""
MAP_TOLERANCE = 0.02
"""Largest mean difference of a heat map on its 0 to 1 scale."""
File = Literal["teacher.safetensors", "student.safetensors", "student.onnx", "belonging.safetensors"]
Bound = Literal["classes", "card"] | File
"""What golden cases hold fast; "card" stands for all of it that `meaning` gathers."""


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
    bound: dict[Bound, str] | None = None
    """Digests; None in a record from before they were kept."""


class GoldenCheck(Part):
    """The largest differences of a bundle's answers to those that it was made with."""

    cases: int
    probability_change: dict[Role, float]
    map_change: dict[Role, float] | None
    """Mean difference of a map; None where the maps are of an older kind, which cannot come out again."""
    onnx_torch_difference: float
    """In the student's probabilities, and relative to the largest in its class maps; on fresh inputs too."""
    bound: bool
    """Whether card and files are bound; False of a bundle that was made before that."""
    changed: tuple[Bound, ...] = ()
    """What is not what the golden cases were recorded with."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        return (
            not self.changed
            and all(change <= OTHER_MACHINE_TOLERANCE for change in self.probability_change.values())
            and all(change <= MAP_TOLERANCE for change in (self.map_change or {}).values())
            and self.onnx_torch_difference <= PROBABILITY_TOLERANCE
        )

    @property
    def fault(self) -> str | None:
        """What is wrong, as a sentence; None where nothing is."""
        if self.changed:
            return f"What its golden cases were recorded with was exchanged: {', '.join(self.changed)}."
        return None if self.ok else "The golden cases came out differently."


def meaning(card: Card) -> str:
    """Digest of what a card says about what an answer means: classes, flags, input, thresholds, what it reads.

    Not its scores, limits, license, name and intended use: only a signature binds those.
    """
    decisive: dict[str, object] = {
        "classes": [[entry.name, entry.words, entry.must_not_miss] for entry in card.classes],
        "input": asdict(card.input),
        "modality": card.modality,
        "eligibility": card.eligibility.model_dump(mode="json"),
        "alpha": card.conformal.alpha,
        "at_chance": card.at_chance,
    }
    if card.operating:
        decisive["operating"] = [card.sensitivities(), *([role, card.thresholds(role)] for role in ROLES)]
    if card.belonging is not None:
        decisive["belonging"] = [card.belonging.copies, card.belonging.distance, card.belonging.odds]
    for role in ROLES:
        ece = card.metrics.of(role).ece  # the margin below which an answer is undecided
        sets = card.conformal.of(role)
        decisive[role] = [card.network(role).architecture, card.temperature(role), sets.qhat, ece and ece.value]
        if by_class := sets.model_dump(mode="json", exclude={"qhat"}, exclude_unset=True):
            decisive[f"{role} sets"] = by_class
    if card.triage is not None:
        decisive["triage"] = card.triage.to_json()
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def digests(bundle: Bundle) -> dict[Bound, str]:
    """Of a bundle as it lies there."""
    files: dict[Bound, str] = {n: digest(bundle.path / n) for n in get_args(File) if (bundle.path / n).is_file()}
    classes = hashlib.sha256("\n".join(bundle.classes).encode()).hexdigest()
    return {"classes": classes, "card": meaning(bundle.card), **files}


def bind(bundle: Bundle) -> None:
    """Bind the golden cases to a bundle's card and files as they are now; it must be sealed afterwards."""
    file = bundle.path / "golden" / "expected.json"
    expected = Expected.model_validate(storage.read_json(file))
    storage.write_json(file, expected.replace(classes=bundle.classes, bound=digests(bundle)).to_json())


def record(path: Path, bundle: Bundle) -> None:
    """Write `golden/`: inputs as PNG, both models' calibrated probabilities, the heat map of each one's top class."""
    folder = path / "golden"
    folder.mkdir(exist_ok=True)
    for index, picture in enumerate(_pictures(bundle, range(CASES))):
        PIL.Image.fromarray(picture).save(folder / f"case_{index}.png", optimize=True)
    probabilities, maps = run(Predictor(bundle), inputs(bundle))
    named = {f"{role}_{i}": maps[role][i].astype(np.float16) for role in ROLES for i in range(CASES)}
    storage.write_arrays(folder / "maps.safetensors", named)
    lists = {role: probabilities[role].tolist() for role in ROLES}
    expected = Expected(classes=bundle.classes, method=METHOD, maps=MAPS, probabilities=lists, bound=digests(bundle))
    storage.write_json(folder / "expected.json", expected.to_json())


def check(bundle: Bundle, progress: Progress = lambda share, words: None) -> GoldenCheck:
    """Run the golden cases again. Raises BundleError if they are damaged, or a model cannot answer them."""
    with guarded(bundle.path, "golden", "the golden cases"):
        expected, recorded = _recorded(bundle), load_file(bundle.path / "golden" / "maps.safetensors")
        x = inputs(bundle)
        progress(0.0, "Loading both models")
        predictor = Predictor(bundle)
        probabilities, maps = run(predictor, x, progress)
        differences = {r: max(_mean(maps[r][i], recorded[f"{r}_{i}"]) for i in range(CASES)) for r in ROLES}
        fresh = inputs(bundle, [secrets.randbelow(2**62) for _ in range(FRESH)])
        apart = predictor.parity(torch.cat([x, fresh]))
        return _checked(bundle, expected, probabilities, apart, differences)


def require(predictor: Predictor) -> None:
    """The fast part of `check`: what is bound, both models' answers, both engines; no heat maps, no fresh inputs.

    Raises BundleError where the bundle does not answer as it did when it was made, OverLimitError where a network
    fails.
    """
    bundle = predictor.bundle
    x = inputs(bundle)
    probabilities = {role: predictor.probabilities(role, x) for role in ROLES}
    with guarded(bundle.path, "golden", "the golden cases"):
        found = _checked(bundle, _recorded(bundle), probabilities, predictor.parity(x), None)
    if found.fault:
        what = f"it does not reproduce what it was made with. {found.fault.rstrip('.')}"
        raise BundleError.of(bundle.path, what, "golden")


def _checked(
    bundle: Bundle,
    expected: Expected,
    probabilities: dict[Role, np.ndarray],
    apart: float,
    maps: dict[Role, float] | None,
) -> GoldenCheck:
    """Raises ValueError for answers that cannot be compared with those that were recorded."""
    change = {r: _largest(probabilities[r], expected.probabilities[r]) for r in ROLES}
    if not np.isfinite([apart, *change.values(), *(maps or {}).values()]).all():
        raise ValueError("an answer is no finite number")
    now, bound = digests(bundle), expected.bound or {}
    changed = [name for name, value in now.items() if bound.get(name, value) != value]
    if expected.classes not in ((), bundle.classes) and "classes" not in changed:
        changed.append("classes")
    return GoldenCheck(
        cases=CASES,
        probability_change=change,
        map_change=maps if expected.maps == MAPS else None,
        onnx_torch_difference=apart,
        bound=bound.keys() == now.keys(),
        changed=tuple(changed),
    )


def _recorded(bundle: Bundle) -> Expected:
    return Expected.model_validate(storage.read_json(bundle.path / "golden" / "expected.json"))


def _largest(found: np.ndarray, expected: list[list[float]]) -> float:
    """Largest difference. Raises ValueError for another shape: NumPy would stretch a smaller one."""
    wanted = np.array(expected)
    if wanted.shape != found.shape:
        raise ValueError(f"{wanted.shape} was recorded for {found.shape}")
    return float(np.abs(found - wanted).max())


def _mean(found: np.ndarray, recorded: np.ndarray) -> float:
    if recorded.shape != found.shape:
        raise ValueError(f"{recorded.shape} was recorded for {found.shape}")
    return float(np.abs(found - recorded.astype(np.float32)).mean())


def run(
    predictor: Predictor, x: torch.Tensor, progress: Progress = lambda share, words: None
) -> tuple[dict[Role, np.ndarray], dict[Role, np.ndarray]]:
    """Of both models on x (B, 3, S, S): calibrated probabilities (B, K), the heat maps (B, h, w) of the top class."""
    probabilities = {role: predictor.probabilities(role, x) for role in ROLES}
    maps = {}
    for role, model in predictor.models.items():
        found = []
        for index, top in enumerate(probabilities[role].argmax(axis=1).tolist()):
            progress(0.5, f"Asking the {role} its golden cases")
            found.append(explain(model, x[index : index + 1], top, METHOD))
        maps[role] = np.stack(found)
    return probabilities, maps


def _pictures(bundle: Bundle, numbers: Sequence[int]) -> list[np.ndarray]:
    """Drawn, not read: a bundle's own pictures could be anything."""
    return [draw(number, bundle.spec.size, bool(bundle.card.eligibility.color)) for number in numbers]


def inputs(bundle: Bundle, numbers: Sequence[int] = range(CASES)) -> torch.Tensor:
    """What both models are asked, prepared: (cases, 3, S, S)."""
    return bundle.spec.normalise(torch.from_numpy(np.stack(_pictures(bundle, numbers))))
