"""Where cells lie: against their gradients, against known networks, and on a net that was taught to find a square."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.explain import explain, explained
from kdlight.explain.lattice import Axis
from kdlight.explain.trace import lattices, located
from kdlight.explain.watch import cam_layers
from kdlight.models import create_model

SIDE = 128
CONVOLUTIONAL = [
    "mobilenetv2",
    "kdlight_nano",
    "kdlight_nano16",
    "kdlight_small",
    "kdlight_base",
    "ofa595",
    "timm:efficientnet_lite0",
]


def network(name: str) -> nn.Module:
    """A network whose convolutions average: the gradient of a cell is then its receptive field and nothing else."""
    torch.manual_seed(0)
    model = create_model(name, 3).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.fill_(1 / module.weight[0].numel())
            if module.bias is not None:
                module.bias.zero_()
    return model


def measured(model: nn.Module, layer: nn.Module, x: Tensor, cell: int, mixed: bool = False) -> tuple[float, float]:
    """Center of mass (row, column) of the gradient of cell (cell, cell) of a layer with respect to the input.

    mixed: of a random combination of its features rather than of their sum.
    """
    outputs: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    x = x.clone().requires_grad_()
    model(x)
    handle.remove()
    features = outputs[-1][:, :, cell, cell]
    weights = torch.randn(features.shape[1]) if mixed else 1
    (gradient,) = torch.autograd.grad((features * weights).sum(), x)
    mass, places = gradient.abs().sum((0, 1)), torch.arange(x.shape[-1])
    return float((mass.sum(1) * places).sum() / mass.sum()), float((mass.sum(0) * places).sum() / mass.sum())


def drawn(axis: Axis, cell: int) -> float:
    """Where the middle of the mass of one cell is drawn on the input."""
    column = axis.weights(torch.arange(4 * SIDE), fade=True)[:, cell]
    return float((column * torch.arange(4 * SIDE)).sum() / column.sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_an_inner_cell_is_drawn_where_its_gradient_is(name: str) -> None:
    """At 320 px, where the receptive field of the middle cell is nearly whole: zeros beyond the border cut it askew."""
    model = network(name)
    x = torch.rand(1, 3, 320, 320) * 0.01
    for layer in (*cam_layers(model), *model.fine_layers):
        (lattice,) = lattices(model, [layer], x)
        cell = lattice.rows.count // 2
        for axis, center in zip(lattice.axes, measured(model, layer, x, cell), strict=True):
            assert drawn(axis, cell) == pytest.approx(center, abs=2)
        (small,) = lattices(model, [layer], x[..., :SIDE, :SIDE])
        assert (small.rows.first, small.rows.step) == (lattice.rows.first, lattice.rows.step)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2", "kdlight_nano", "kdlight_small", "kdlight_base"])
def test_an_inner_cell_at_128_px_is_drawn_where_random_networks_look(name: str) -> None:
    """The mean over a dozen first weights: those of one network lean to a side by several pixels."""
    centers = []
    for seed in range(12):
        torch.manual_seed(seed)
        model = create_model(name, 3).eval().requires_grad_(False)
        x = torch.randn(2, 3, SIDE, SIDE)
        centers.append(measured(model, model.cam_layer, x, 2, mixed=True))
    (lattice,) = lattices(model, cam_layers(model), x)
    for axis, center in zip(lattice.axes, np.mean(centers, axis=0), strict=True):
        assert drawn(axis, 2) == pytest.approx(center, abs=2)


@pytest.mark.parametrize(
    ("name", "first", "step"),
    [
        ("mobilenetv2", 0, 32),
        ("kdlight_nano", 0, 32),
        ("kdlight_nano16", 0, 16),
        ("ofa595", 0, 32),
        ("vgg19", 7.5, 16),  # four poolings of 2 x 2
        ("visformer_s", 15, 32),
        ("autoformerv2_t", 15.5, 32),  # patches of 4, merged by twos three times
        ("timm:vit_tiny_patch16_224", 7.5, 16),
        ("timm:convnext_atto", 15.5, 32),
        ("timm:tf_efficientnet_lite0", 31, 32),  # pads on the right only
        ("ensemble:kdlight_nano+timm:resnet18", 0, 32),
    ],
)
def test_the_cells_of_known_networks(name: str, first: float, step: float) -> None:
    model = create_model(name, 2).eval()
    (lattice,) = lattices(model, cam_layers(model), torch.zeros(1, 3, SIDE, SIDE))
    assert lattice.rows == lattice.columns == Axis(first, step, SIDE // int(step))


@pytest.mark.parametrize("name", ["autoformerv2_t", "timm:vit_tiny_patch16_224"])
def test_tokens_lie_where_their_gradient_is(name: str) -> None:
    """Attention reaches everywhere and alike; what a cell has beyond the mean of all cells is its own patch."""
    torch.manual_seed(0)
    model = create_model(name, 3).eval().requires_grad_(False)
    x = torch.rand(1, 3, 224, 224, requires_grad=True)
    (layer,) = cam_layers(model)
    outputs: list[Tensor] = []
    layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    model(x)
    (lattice,) = lattices(model, [layer], x)
    maps = (outputs[0] * torch.randn(outputs[0].shape[1], 1, 1)).sum(1)[0]
    cell = lattice.rows.count // 2
    (gradient,) = torch.autograd.grad(maps[cell, cell], x)
    mass, places = gradient.square().sum((0, 1)), torch.arange(224)
    assert float((mass.sum(1) * places).sum() / mass.sum()) == pytest.approx(drawn(lattice.rows, cell), abs=2)
    assert float((mass.sum(0) * places).sum() / mass.sum()) == pytest.approx(drawn(lattice.columns, cell), abs=2)


def test_streams_of_a_fused_network_keep_grids_of_their_own() -> None:
    from kdlight.models.fusion import Fusion

    model = Fusion(("resnet18", "vit_tiny_patch16_224"), 3).eval()
    convolutional, tokens = lattices(model, cam_layers(model), torch.zeros(1, 3, 64, 64))
    assert convolutional.rows == Axis(0, 32, 2)
    assert tokens.rows == Axis(7.5, 16, 4)
    assert explain(model, torch.rand(1, 3, 64, 64), 1, "gradcam").shape == (64, 64)
    assert explained(model, torch.rand(1, 3, 64, 64), 1, "scorecam").cells == (16,)


def test_later_passes_cost_no_trace_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model("kdlight_nano", 2).eval()
    x = torch.rand(1, 3, 64, 64)
    first = lattices(model, cam_layers(model), x)
    monkeypatch.setattr("kdlight.explain.trace.Trace", None)
    with located(model, cam_layers(model), x) as places:
        assert places == first


def test_a_layer_that_does_not_come_from_the_input_is_refused() -> None:
    class Constant(nn.Module):
        def forward(self, _x: Tensor) -> Tensor:
            return torch.ones(1, 2, 4, 4)

    model = nn.Sequential(Constant())
    with pytest.raises(ValueError, match="no place on the image"):
        lattices(model, [model[0]], torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("fade", [False, True])
def test_an_even_map_stays_even_but_for_what_no_cell_covers(fade: bool) -> None:
    row = Axis(0, 32, 4).weights(torch.arange(128), fade).sum(1)
    assert torch.allclose(row[:113], torch.ones(113))
    assert bool((row[113:] < 1).all()) == fade


SQUARE = 8


@pytest.fixture(scope="module")
def finder() -> nn.Module:
    """A small net of padded stride-2 convolutions that was taught whether a bright square is in the picture.

    It saw none beyond the last cell, which lies 16 px before the border: to find those, a net learns to look to the
    lower right of each cell, and its coarse maps then lie to the upper left.
    """

    class Finder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (3, 8, 12, 16, 24)
            self.stages = nn.Sequential(
                *(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(widths))
            )
            self.linear = nn.Linear(24, 2)

        @property
        def cam_layer(self) -> nn.Module:
            return self.stages[3]

        @property
        def fine_layers(self) -> tuple[nn.Module, ...]:
            return (self.stages[2],)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.stages(x).mean((2, 3)))

    torch.manual_seed(0)
    net = Finder()
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    rng = np.random.default_rng(0)
    for _ in range(150):
        labels = torch.from_numpy(rng.integers(0, 2, 32))
        x = torch.stack([pictured(rng.integers(4, 108, 2) if one else None, rng) for one in labels.tolist()])
        loss = F.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    return net.eval()


def pictured(corner: np.ndarray | None, rng: np.random.Generator) -> Tensor:
    """Noise (3, 128, 128), with a bright square whose upper left corner is given."""
    picture = rng.normal(0, 0.3, (1, SIDE, SIDE)).astype(np.float32)
    if corner is not None:
        row, column = corner
        picture[:, row : row + SQUARE, column : column + SQUARE] += 1.5
    return torch.from_numpy(np.repeat(picture, 3, axis=0))


def misses(finder: nn.Module, method: str, corners: list[tuple[int, int]]) -> np.ndarray:
    """Peak of the map minus center of the square (N, 2), in pixels."""
    rng = np.random.default_rng(1)
    distances = []
    for corner in corners:
        heat = explain(finder, pictured(np.array(corner), rng)[None], 1, method)
        peak = np.unravel_index(int(heat.argmax()), heat.shape)
        distances.append(np.array(peak) - corner - (SQUARE - 1) / 2)
    return np.array(distances)


def test_the_peak_is_within_half_a_cell_of_the_bright_square_wherever_it_is(finder: nn.Module) -> None:
    corners = [(row, column) for row in (4, 21, 37, 60, 97, 107) for column in (5, 33, 52, 84, 93, 107)]
    assert np.abs(misses(finder, "multilayer", corners)).max() <= 16 / 2 + 0.5  # a square's center is between pixels


@pytest.mark.parametrize("method", ["gradcam", "scorecam-exact", "cam"])
def test_coarse_maps_lie_to_no_side_of_the_bright_square(finder: nn.Module, method: str) -> None:
    """Each cell sees its neighbors' squares, so the nearest need not win; half a cell off would be a bias of 7.5."""
    rng = np.random.default_rng(2)
    corners = [tuple(corner) for corner in rng.integers(12, 100, (60, 2)).tolist()]
    assert np.abs(misses(finder, method, corners).mean(0)).max() < 4
