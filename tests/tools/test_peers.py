"""The peers train what they are said to train, and losses are told. Never how fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlight.benchmark import batch
from kdlight.benchmark.training import Bench
from kdlight.bundle import Bundle
from kdlight.images import read
from kdlight.inference import Predictor
from tools import peers

SIZE = 32


def test_a_picture_keeps_its_label_and_is_standardized(bench: Bench) -> None:
    pictures = peers.Pictures(bench.train, bench.spec)
    pictures.transform.transforms = pictures.transform.transforms[-2:]  # without the random part
    x, y = pictures[5]
    torch.testing.assert_close(x, bench.spec.normalise(bench.train.pixels[5:6])[0], rtol=1e-4, atol=1e-4)
    assert y == bench.train.labels[5]
    assert len(pictures) == 36


def test_the_loop_by_hand_learns_by_hintons_loss(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step's loss, against the formula written out; the teacher stays as it was."""
    student, teacher = bench.model("kdlight_nano"), bench.model("kdlight_small")
    pictures = peers.Pictures(bench.train, bench.spec)
    pictures.transform.transforms = pictures.transform.transforms[-2:]
    hand = peers.ByHand(student, teacher, pictures, workers=0)
    monkeypatch.setattr(student.hidden, "p", 0.0)
    hand.loader = [next(iter(hand.loader))]  # type: ignore[assignment]
    x, y = hand.loader[0]  # type: ignore[index]
    with torch.no_grad():
        p, q = (F.softmax(model(x) / 4, dim=1) for model in (student.train(), teacher))
        soft = 16 * (q * (q.log() - p.log())).sum(1).mean()
        expected = 0.3 * F.cross_entropy(student(x), y) + 0.7 * soft
    seen = []
    whole = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: (seen.append(loss.item()), whole(loss))[1])
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    hand.epoch()
    assert seen == pytest.approx([float(expected)], rel=1e-4)
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    assert list(peers.loops()) == [peers.BY_HAND]
    row = {"name": "x", "p50_ms": 1.0, "p95_ms": 2.0}
    part = {"rows": [row], "ratios": {}, "missing": [peers.TORCHDISTILL]}
    said = peers.words({"training": part, "latency": part, "losses": []}).renderables
    assert "torchdistill is not installed and was not timed: pip install torchdistill." in said
    assert "Score-CAM and a folder were not timed: give --bundle." in said


def test_losses_are_told() -> None:
    found = {
        "training": {"ratios": {"a": 2.0, "b": 0.8}},
        "latency": {"ratios": {"c": 0.9}},
        "scorecam": {"ratios": {"ours": 5.0, "slow": 0.5}, "baseline": "package"},
    }
    assert peers.losses(found) == [
        "training: b takes 0.80 of kdlight's time.",
        "latency: c takes 0.90 of kdlight's time.",
        "scorecam: slow is slower than package.",
    ]


def test_the_loop_by_hand_asks_both_networks_what_the_bundle_asks(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same image to about the same pixels: its window and resizing differ by little from the bundle's."""
    monkeypatch.setattr(batch, "SIDE", 64)
    predictor = Predictor(tiny_bundle, 1)
    seen: list[np.ndarray] = []
    predictor.models["teacher"].register_forward_pre_hook(lambda _module, given: seen.append(given[0].numpy()))
    files = batch.generate(tmp_path, 2)
    peers.by_hand(predictor, files)
    prepared = [predictor.spec.prepare(read(file)).numpy() for file in files]
    assert len(seen) == 2
    assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99 for a, b in zip(seen, prepared, strict=True))


def test_the_package_gives_the_map_of_every_mask(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """kdlight's Score-CAM that tries every mask is held to the grad-cam package's own."""
    monkeypatch.setattr(peers, "FIRST", 8)
    report = peers.scorecam(tiny_bundle.path, threads=1, rounds=1)
    assert [row["name"] for row in report["rows"]] == [*peers.OURS, peers.PACKAGE]
    assert report["pearson"][peers.EVERY_MASK] > 0.99
    assert set(report["ratios"]) == set(peers.OURS)
