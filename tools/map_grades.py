"""How often heat maps pass, of bundles and of random weights: `python -m tools.map_grades DATA BUNDLE [BUNDLE ...]`.

DATA holds a folder for each set, named as its bundle, with a val part: half of its images set the limits, as at the
end of a training, and the others are counted. Random weights are of six kinds, of which the limits know the first:
drawn (`kdlight.explain.randomized`), with other seeds; drawn and made as sure as the model; drawn in the later half of
the layers; in the last layer; as torch makes them; and so with batch norm that has seen training images. Where outlines
lie beside the set (<set>_masks/val), also how well gain and stability predict the share of a map in its outline:
Spearman's correlation with a 95 % bootstrap interval.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from kdlight.bundle import Bundle, load
from kdlight.contracts.reading import ROLES, Role
from kdlight.explain import explain
from kdlight.explain.randomized import randomized
from kdlight.explain.registry import DEFAULT
from kdlight.explain.scoring import folded
from kdlight.images import read
from kdlight.inference.map_limits import NETWORKS, chosen, scored
from kdlight.metrics.localization import overlap
from kdlight.models import create_model

COUNT = 16
"""Images of each half."""
OUTLINED = 60


class Surer(nn.Module):
    """A network whose logits are spread over images as those of another."""

    def __init__(self, model: nn.Module, like: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.model, self.cam_layer, self.fine_layers = model, model.cam_layer, model.fine_layers
        with torch.no_grad():
            here, there = model(x), like(x)
        self.center, self.scale = here.mean(0), _spread(there) / _spread(here)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = (self.model(x) - self.center) * self.scale
        return logits


def _spread(logits: Tensor) -> Tensor:
    relative = logits - logits.mean(1, keepdim=True)
    return (relative - relative.mean(0)).std()


def made(bundle: Bundle, role: Role, x: Tensor | None) -> nn.Module:
    """The architecture as torch makes it; x: what batch norm is to see."""
    torch.manual_seed(5)
    model = create_model(bundle.card.network(role).architecture, len(bundle.classes))
    if x is not None:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        with torch.no_grad():
            model.train()(x)
    return folded(model.eval()).requires_grad_(False)


def kinds(bundle: Bundle, role: Role, model: nn.Module, x: Tensor) -> dict[str, Callable[[], nn.Module]]:
    side = bundle.spec.size
    return {
        "own": lambda: model,
        "drawn": lambda: randomized(model, 1.0, side, 7),
        "drawn, sure": lambda: Surer(randomized(model, 1.0, side, 7), model, x),
        "later half": lambda: randomized(model, 0.5, side, 7),
        "last layer": lambda: randomized(model, 0.0, side, 7),
        "as made": lambda: made(bundle, role, None),
        "batch norm": lambda: made(bundle, role, x),
    }


def files(folder: Path, count: int) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return [paths[i] for i in np.random.default_rng(1).permutation(len(paths))[:count]]


def images(bundle: Bundle, folder: Path, count: int) -> Tensor:
    return torch.stack([bundle.spec.prepare(read(path)) for path in files(folder, count)])


def shares(data: Path, path: Path) -> dict[str, dict[str, float]]:
    """Of each model, by kind of weights: the share of maps that pass."""
    bundle = load(path)
    x, train = (
        images(bundle, data / bundle.card.id / "val", 2 * COUNT),
        images(bundle, data / bundle.card.id / "train", 32),
    )
    models = {role: folded(bundle.model(role)).requires_grad_(False) for role in ROLES}

    def values(role: Role, model: nn.Module, part: Tensor) -> np.ndarray:
        return np.array([scored(model, one[None], bundle.card.temperature(role), DEFAULT) for one in part])

    drawn = [(role, randomized(models[role], 1.0, bundle.spec.size, n + 1)) for role in ROLES for n in range(NETWORKS)]
    limits = chosen(
        np.concatenate([values(role, models[role], x[:COUNT]) for role in ROLES]),
        np.concatenate([values(role, model, x[:COUNT]) for role, model in drawn]),
    )
    return {
        role: {
            name: float((values(role, make(), x[COUNT:]) >= (limits.gain, limits.shift)).all(axis=1).mean())
            for name, make in kinds(bundle, role, models[role], train).items()
        }
        for role in ROLES
    }


def outlined(data: Path, path: Path) -> dict[str, str]:
    """Of each model, whether gain and stability predict where its map lies."""
    bundle, told, rng = load(path), {}, np.random.default_rng(0)
    for role in ROLES:
        model, rows = folded(bundle.model(role)).requires_grad_(False), []
        for mask in files(data / f"{bundle.card.id}_masks" / "val", OUTLINED):
            x = bundle.spec.prepare(read(data / bundle.card.id / mask.relative_to(data / f"{bundle.card.id}_masks")))[
                None
            ]
            outline = bundle.spec.render(read(mask))[..., 0] > 127
            heat = explain(model, x, int(model(x).argmax()), DEFAULT)
            if outline.any() and heat.any():
                rows.append((*scored(model, x, bundle.card.temperature(role), DEFAULT), overlap(heat, outline).share))
        values = np.array(rows)
        draws = [values[rng.integers(0, len(values), len(values))] for _ in range(1000)]
        for column, name in enumerate(("gain", "stability")):
            low, high = np.quantile([spearmanr(draw[:, column], draw[:, 2])[0] for draw in draws], (0.025, 0.975))
            value = spearmanr(values[:, column], values[:, 2])[0]
            told[f"{role}, {name}"] = f"{value:.2f} [{low:.2f}, {high:.2f}], n = {len(values)}"
    return told


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    for name in sys.argv[2:]:
        if (Path(sys.argv[1]) / f"{load(Path(name)).card.id}_masks").is_dir():
            for what, value in outlined(Path(sys.argv[1]), Path(name)).items():
                sys.stdout.write(f"share in the outline by {what}: {value}\n")
        for role, row in shares(Path(sys.argv[1]), Path(name)).items():
            rates = ", ".join(f"{kind} {share:.2f}" for kind, share in row.items())
            sys.stdout.write(f"{Path(name).name} {role}, n = {COUNT}: {rates}\n")
            sys.stdout.flush()
