"""Score-CAM against the grad-cam package, its fast way against the whole, and what prepares and predicts for it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import math
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from kdlight.explain import explain, explained, scorecam, scoring, similarity
from kdlight.explain.lattice import Lattice
from kdlight.explain.surrogate import NUGGET, Surrogate
from kdlight.explain.trace import lattices
from kdlight.models import create_model


class Net(nn.Module):
    """Two convolutions, pooling, one linear layer; some feature maps are always zero, some repeat others."""

    def __init__(self, channels: int = 40, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU6(inplace=True),
            nn.Conv2d(8, channels, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )
        self.linear = nn.Linear(channels, classes)
        with torch.no_grad():
            self.conv[1].running_mean.normal_(0, 0.2)
            self.conv[1].running_var.uniform_(0.2, 2)
            self.conv[3].weight[:5] = 0
            self.conv[3].bias[:5] = -1
            self.conv[3].weight[5:9] = 2 * self.conv[3].weight[9:13]
            self.conv[3].bias[5:9] = 2 * self.conv[3].bias[9:13]
            self.linear.weight.mul_(12)

    @property
    def cam_layer(self) -> nn.Module:
        return self.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).mean((2, 3)))


@pytest.fixture
def x() -> Tensor:
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")


def package(net: nn.Module, x: Tensor, index: int, method: str = "ScoreCAM") -> np.ndarray:
    """A heat map as the grad-cam package makes it."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with (
        contextlib.redirect_stderr(io.StringIO()),
        getattr(pytorch_grad_cam, method)(net.eval(), [net.cam_layer]) as cam,
    ):
        return np.asarray(cam(x, [ClassifierOutputTarget(index)])[0])


@pytest.fixture
def stretched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks and maps are stretched over the input as the package does it, so that all else can be held against it."""

    def enlarge(_self: Lattice, values: Tensor, size: torch.Size, fade: bool = False) -> Tensor:
        mode = {"mode": "bilinear", "align_corners": not fade}  # masks from corner to corner, maps from edge to edge
        large = nn.functional.interpolate(values if values.dim() == 4 else values[None, None], size=size, **mode)
        return large if values.dim() == 4 else large[0, 0]

    monkeypatch.setattr(Lattice, "enlarge", enlarge)


@contextlib.contextmanager
def threaded(count: int) -> Iterator[None]:
    """As many torch threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def silent(_share: float, _words: str) -> None:
    """No one listens."""


@pytest.mark.usefixtures("stretched")
@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_map_is_the_packages(x: Tensor, index: int) -> None:
    net = Net().eval()
    likeness = similarity(explain(net, x, index, "scorecam"), package(net, x, index))
    assert likeness is not None
    assert likeness >= 0.9999


@pytest.mark.usefixtures("stretched")
def test_the_map_of_the_smallest_student_is_the_packages() -> None:
    torch.manual_seed(0)
    net = create_model("kdlight_nano", 3).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        net.train()(torch.rand(8, 3, 96, 96))
        net.eval().classifier.weight.mul_(20)
    x = torch.rand(1, 3, 96, 96)
    likeness = similarity(explain(net, x, 1, "scorecam-exact"), package(net, x, 1))
    assert likeness is not None
    assert likeness >= 0.999


def test_maps_that_make_one_mask_are_scored_once(x: Tensor) -> None:
    maps, lattice = scorecam.feature_maps(Net().eval(), x, 0)
    first, of = scorecam.distinct(maps)
    assert len(first) <= 40 - 4 - 4  # five dead ones hide everything, four are another's double
    torch.testing.assert_close(of[5:9], of[9:13])
    assert len(set(of[:5].tolist())) == 1
    masks = scoring.masks(maps, lattice, x.shape[-2:])
    torch.testing.assert_close(masks[first][of], masks, atol=3e-3, rtol=0)


def test_the_fast_way_is_near_and_says_how_near(x: Tensor) -> None:
    net = Net(channels=200).eval()
    looks: list[int] = []
    net.register_forward_pre_hook(lambda _module, inputs: looks.append(len(inputs[0])))
    fast = explained(net, x, 1, "scorecam-fast")
    assert sum(looks) == 1 + 24
    likeness = similarity(fast.heat, explain(net, x, 1, "scorecam-exact"))
    assert likeness is not None
    assert likeness >= 0.95
    assert fast.estimate is not None
    assert fast.estimate.scored == 24
    assert 0.5 < fast.estimate.pearson <= 1
    assert fast.note.startswith(f"24 of {fast.estimate.masks} masks")
    assert f"{math.floor(fast.estimate.pearson * 1000) / 1000:.3f} or more" in fast.note


def test_masks_are_scored_until_the_map_is_as_good_as_whole(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(channels=800).eval()
    whole = explain(net, x, 1, "scorecam-exact")
    shortened = explained(net, x, 1, "scorecam")
    assert shortened.estimate is not None
    assert scorecam.SURE.least <= shortened.estimate.scored <= shortened.estimate.masks // 2
    correlation = similarity(shortened.heat, whole)
    assert correlation is not None
    assert correlation >= 0.999
    assert shortened.estimate.pearson >= 0.999
    monkeypatch.setattr(scorecam, "SURE", dataclasses.replace(scorecam.SURE, sure=2.0))
    never_sure = explained(net, x, 1, "scorecam")  # most of them picked, then the rest
    np.testing.assert_allclose(never_sure.heat, whole, atol=1e-5)
    assert (never_sure.note, never_sure.estimate) == ("", None)


def test_masks_that_are_few_are_scored_without_a_prediction(x: Tensor) -> None:
    net = Net(channels=300).eval()
    assert len(scorecam.distinct(scorecam.feature_maps(net, x, 1)[0])[0]) < scorecam.SURE.worthwhile
    assert explained(net, x, 1, "scorecam").estimate is None


@pytest.mark.parametrize("method", ["scorecam-fast", "scorecam-exact"])
def test_the_share_that_is_told_grows_to_the_end(x: Tensor, method: str) -> None:
    shares: list[float] = []
    explain(Net(channels=200).eval(), x, 0, method, lambda share, _words: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_large_network_takes_the_fast_way_unless_every_mask_is_asked_for(
    x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorecam, "HEAVY", 0)
    net = Net(channels=200).eval()
    fast = explained(net, x, 0, "scorecam").estimate
    assert fast is not None
    assert fast.scored == 24
    assert explained(net, x, 0, "scorecam-exact").estimate is None


def test_few_masks_are_all_scored(x: Tensor) -> None:
    net = Net(channels=24).eval()
    explanation = explained(net, x, 0, "scorecam-fast")
    np.testing.assert_allclose(explanation.heat, explain(net, x, 0, "scorecam-exact"), atol=1e-5)
    assert explanation.note == ""


@pytest.mark.parametrize("name", ["", "kdlight_nano", "ofa595"])
def test_a_folded_network_gives_the_same_scores(name: str) -> None:
    torch.manual_seed(0)
    net = (create_model(name, 3) if name else Net()).eval()
    x = torch.rand(2, 3, 64, 64)
    ready = scoring.folded(net)
    assert name == "ofa595" or not [m for m in ready.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.inference_mode():
        torch.testing.assert_close(ready(x), net(x), rtol=1e-3, atol=1e-4)


def test_a_batch_norm_with_an_activation_inside_keeps_it() -> None:
    """timm's, as in its DenseNet and ResNetV2: folded like a plain one it would lose its ReLU."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct2d(8), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4)).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(scoring.folded(net)(x), net(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_scores_are_the_networks_own_in_order(x: Tensor, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(scoring, "PIXELS", 10 * 32 * 32)
    net = Net().eval()
    before = copy.deepcopy(net.state_dict())
    maps, (lattice,) = torch.rand(40, 8, 8), lattices(net, [net.cam_layer], x)
    with torch.no_grad():
        expected = net(x * scoring.masks(maps, lattice, x.shape[-2:]))[:, 1]
    counts: list[int] = []
    with threaded(threads), scoring.Scorer(net, x, 1, lattice) as scorer:
        scores = scorer(maps, counts.append)
        assert torch.get_num_threads() == 1
    assert counts[-1] == 40
    assert counts == sorted(set(counts))
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_cancelling_stops_the_threads_and_gives_them_back(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PIXELS", 2 * 32 * 32)
    net, looks = Net(channels=200).eval(), []

    def look(_module: nn.Module, _inputs: object) -> None:
        looks.append(1)
        time.sleep(0.02)  # all of them take the two threads a second

    def cancel(share: float, _words: str) -> None:
        raise KeyError(share)

    net.register_forward_pre_hook(look)
    with threaded(2):
        with pytest.raises(KeyError):
            explain(net, x, 0, "scorecam-exact", cancel)
        after = len(looks)
        assert torch.get_num_threads() == 2
    assert after < 60  # of the hundred batches and the image itself, however late the caller hears of the first
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("score")]
    assert len(looks) == after


def test_predictions_are_those_of_a_gaussian_process() -> None:
    """scikit-learn's, with the kernel that was chosen."""
    points = torch.rand(30, 4, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    scores = points[:, 0].sin() + points[:, 1]
    surrogate = Surrogate(points, torch.ones(30))
    known = surrogate.pick(10)
    assert len(set(known.tolist())) == 10
    surrogate.learn(known, scores[known])
    length = float(surrogate.median.sqrt()) * surrogate.width
    kernel = RBF(length, "fixed") + WhiteKernel(NUGGET, "fixed")
    reference = GaussianProcessRegressor(kernel, optimizer=None).fit(
        points[known].numpy(), (scores[known] - scores[known].mean()).numpy()
    )
    mean, deviation = reference.predict(points.numpy(), return_std=True)
    rest = [i for i in range(30) if i not in known.tolist()]
    np.testing.assert_allclose(surrogate.mean[rest], (mean + float(scores[known].mean()))[rest], atol=1e-6)
    np.testing.assert_allclose(surrogate.variance[rest], deviation[rest] ** 2 * surrogate.scale, rtol=1e-3, atol=1e-9)
    np.testing.assert_array_equal(surrogate.mean[known], scores[known])


def test_the_first_picks_are_large_and_unlike_each_other() -> None:
    points = torch.cat([torch.zeros(5, 2), torch.ones(5, 2), torch.full((1, 2), 9.0)])
    sizes = torch.tensor([1.0] * 10 + [1e-6])
    picked = Surrogate(points, sizes).pick(2).tolist()
    assert sorted(int(i >= 5) for i in picked) == [0, 1]
    assert 10 not in picked
