"""The bounds of a training, against numbers reckoned by hand."""

import pytest
import torch
from torch import nn

from kdlight import bounds
from kdlight.bounds import peaks, traffic, training_bound
from kdlight.models import create_model, macs


def test_traffic_counts_every_layers_maps() -> None:
    """Convolution: 3 x 8 x 8 in, 4 x 8 x 8 out; activation: 4 x 8 x 8 in and out."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.ReLU()))
    assert traffic(net, 8) == 4 * 64 * ((3 * 3 + 2 * 4) + (3 * 4 + 2 * 4))
    assert not any(module._forward_hooks for module in net.modules())


def test_a_bound_is_work_over_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = create_model("kdlight_nano", 3), create_model("kdlight_small", 3)
    monkeypatch.setattr(bounds, "peaks", lambda: (50.0, 10.0))
    found = training_bound(student, teacher, images=100, size=64)
    assert found["student_arithmetic_ms"] == pytest.approx(1000 * 3 * 100 * macs(student, 64) / 50e9)
    assert found["teacher_arithmetic_ms"] == pytest.approx(1000 * 100 * macs(teacher, 64) / 50e9)
    assert found["student_memory_ms"] == pytest.approx(1000 * 100 * traffic(student, 64) / 10e9)


def test_peaks_are_rates_of_this_processor() -> None:
    """Between what no processor is as slow as and what none reaches: units are right."""
    before = torch.get_num_threads()
    gmacs, gigabytes = peaks(side=256)
    assert 0.1 < gmacs < 1e5
    assert 0.05 < gigabytes < 1e4
    assert torch.get_num_threads() == before
