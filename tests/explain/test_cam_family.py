"""The grad-cam package's methods: its cells where it is right, and the cases where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlight.explain import ExplainError, explain, explained, similarity
from kdlight.explain.cam_family import BATCH, ablationcam, eigencam
from kdlight.explain.lattice import Lattice
from kdlight.models import create_model
from kdlight.models.fusion import Fusion
from tests.explain.test_scorecam import Net, package

METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
}


@pytest.fixture
def x() -> Tensor:
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, size=(32, 32), mode="bilinear")


@pytest.fixture
def stretched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps are stretched over the input from edge to edge, as the package does it."""

    def enlarge(_self: Lattice, values: Tensor, size: torch.Size, fade: bool = False) -> Tensor:
        return F.interpolate(values[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]

    monkeypatch.setattr(Lattice, "enlarge", enlarge)


class Deep(nn.Module):
    """Signed maps of ten features, and two linear layers behind them: no class map, no ReLU."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 10, 3, stride=4, padding=1)
        self.head = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 3))

    @property
    def cam_layer(self) -> nn.Module:
        return self.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).mean((2, 3)))


def silent(_share: float, _words: str) -> None:
    """No one listens."""


@pytest.mark.usefixtures("stretched")
@pytest.mark.parametrize("method", METHODS)
def test_the_map_is_the_packages_but_for_where_it_lies(x: Tensor, method: str) -> None:
    net = Net().eval()
    pairs = [(explain(net, x, index, method), package(net, x, index, METHODS[method])) for index in range(3)]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert any(ours.max() == 1 for ours, _ in pairs)


@pytest.mark.usefixtures("stretched")
def test_eigencam_is_the_packages_map_or_that_turned_the_right_way_up(x: Tensor) -> None:
    upside_down = 0
    for seed in range(8):
        net = Net().eval()
        torch.manual_seed(seed)
        nn.init.normal_(net.conv[3].weight)
        maps = net.conv(x)[0].detach()
        ours, theirs = explain(net, x, 0, "eigencam"), package(net, x, 0, "EigenCAM")
        strength = F.interpolate(maps.norm(dim=0)[None, None], size=(32, 32), mode="bilinear")[0, 0].numpy()
        assert np.corrcoef(ours.ravel(), strength.ravel())[0, 1] > 0
        turned = np.corrcoef(theirs.ravel(), strength.ravel())[0, 1] < 0
        upside_down += turned
        if not turned:
            np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert 0 < upside_down < 8


def test_the_first_component_is_that_of_a_decomposition(x: Tensor) -> None:
    net = Net().eval()
    maps = net.conv(x)[0].detach().flatten(1)  # (C, h w)
    centered = (maps - maps.mean(1, keepdim=True)).numpy()
    expected = np.linalg.eigh(centered.T @ centered)[1][:, -1]
    cells = eigencam(net, x, 0, silent).values.flatten().numpy()
    assert abs(np.corrcoef(cells, expected)[0, 1]) == pytest.approx(1, abs=1e-5)


def test_ablation_is_the_drop_without_each_feature(x: Tensor) -> None:
    """Behind two linear layers, with maps that have negative values: each feature set to zero by hand."""
    net = Deep().eval().requires_grad_(False)
    maps, total = net.conv(x), float(net(x)[0, 1])
    drops = []
    for k in range(10):
        without = maps.clone()
        without[:, k] = 0
        drops.append(total - net.head(without.mean((2, 3)))[0, 1])
    expected = (torch.stack(drops)[:, None, None] * maps[0].clamp(min=0)).sum(0)
    torch.testing.assert_close(ablationcam(net, x, 1, silent).values, expected, rtol=1e-4, atol=1e-5)
    layers = dict(net.named_modules())
    assert layers["conv"] is net.conv
    assert isinstance(net.conv, nn.Conv2d)


def test_ablation_behind_one_linear_layer_needs_no_pass_and_gives_the_same(
    x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, passes = Net().eval().requires_grad_(False), []
    handle = net.register_forward_hook(lambda *_: passes.append(1))
    exact = ablationcam(net, x, 2, silent)
    assert len(passes) == 1
    handle.remove()
    monkeypatch.setattr("kdlight.explain.cam_family.linear_head", lambda *_: None)
    torch.testing.assert_close(ablationcam(net, x, 2, silent).values, exact.values, rtol=1e-3, atol=1e-4)


def test_ablation_turns_no_map_around_where_the_score_is_negative(x: Tensor) -> None:
    """The package divides the drops by the score: below zero it marks what speaks against the class."""
    net = Net().eval()
    before = [explain(net, x, index, "ablationcam") for index in range(3)]
    with torch.no_grad():
        net.linear.bias -= 100
    for index in range(3):
        np.testing.assert_allclose(explain(net, x, index, "ablationcam"), before[index], atol=1e-4)
    shown = int(np.argmax([heat.max() for heat in before]))
    theirs = []
    for bias in (100, -100):
        with torch.no_grad():
            net.linear.bias.fill_(bias)
        theirs.append(package(net, x, shown, "AblationCAM"))
    assert theirs[0].max() == pytest.approx(1, abs=1e-3)
    assert (similarity(*theirs) or -1) < 0


def test_ablation_reports_and_can_be_stopped_with_the_network_whole(x: Tensor) -> None:
    net = Deep().eval()
    conv, shares = net.conv, []
    explain(net, x, 0, "ablationcam", lambda share, _words: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1

    def stop(_share: float, _words: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        explain(net, x, 0, "ablationcam", stop)
    assert net.conv is conv


NETWORKS = {
    "ensemble": lambda: create_model("ensemble:kdlight_nano+timm:vit_tiny_patch16_224", 3),
    "fused": lambda: Fusion(("resnet18", "vit_tiny_patch16_224"), 3),
    "tokens": lambda: create_model("timm:vit_tiny_patch16_224", 3),
    "channels last": lambda: create_model("autoformerv2_t", 3),
    "visformer": lambda: create_model("visformer_s", 3),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("method", ["gradcam++", "xgradcam", "hirescam", "layercam", "eigencam"])
def test_transformers_ensembles_and_fused_networks_have_such_maps(kind: str, method: str) -> None:
    torch.manual_seed(2)
    net = NETWORKS[kind]().eval()
    side = 224 if kind == "channels last" else 64
    x = torch.rand(1, 3, side, side)
    explanations = [explained(net, x, index, method) for index in range(3)]  # of some, all may speak against
    assert all(explanation.heat.shape == (side, side) and explanation.cells for explanation in explanations)
    assert max(explanation.heat.max() for explanation in explanations) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ensemble", "fused", "tokens"])
def test_ablation_of_such_a_network_is_the_drop_without_a_feature(kind: str) -> None:
    torch.manual_seed(0)
    net = NETWORKS[kind]().eval().requires_grad_(False)
    x, layer = torch.rand(1, 3, 64, 64), net.cam_layers[-1]
    from kdlight.explain import cam_family

    maps = cam_family.forward(net, x, 1)[0].maps
    total = float(net(x)[0, 1])
    drops = cam_family._drops(net, x, 1, total, maps, silent)[-1]
    for k in (0, BATCH, maps[-1].shape[1] - 1):

        def without(_module: nn.Module, _inputs: object, output: Tensor, k: int = k) -> Tensor:
            output = output.clone()
            output[:, k] = 0
            return output

        handle = layer.register_forward_hook(without)
        assert float(drops[0, k]) == pytest.approx(total - float(net(x)[0, 1]), abs=1e-4)
        handle.remove()


def test_a_network_that_names_no_layer_is_told_so(x: Tensor) -> None:
    with pytest.raises(ExplainError, match="names no cam_layer"):
        explain(nn.Sequential(nn.Conv2d(3, 2, 32), nn.Flatten()), x, 0, "layercam")
