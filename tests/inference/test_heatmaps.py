"""The report on heat maps: what it times and compares, and what it refuses. Never how fast."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdlight.bundle import Bundle
from kdlight.inference import explain_speed, heatmaps


def test_the_report_compares_each_run_on_its_own_image(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the methods: the whole one gives the package's map, the fast one its negative."""
    seen: dict[str, list[float]] = {}

    def stand_in(name: str, sign: float) -> heatmaps.Call:
        def run(x: torch.Tensor, _top: int) -> np.ndarray:
            seen.setdefault(name, []).append(float(x.sum()))
            return sign * x[0, 0].numpy()

        return run

    names = [heatmaps.PACKAGE.format(16), heatmaps.PACKAGE.format(64), heatmaps.EXACT, heatmaps.FAST]
    calls = {name: stand_in(name, -1.0 if name == heatmaps.FAST else 1.0) for name in names}
    monkeypatch.setattr(heatmaps, "_calls", lambda _models: calls)
    monkeypatch.setattr(heatmaps, "_bound", lambda *_: {})
    steps: list[tuple[int, int]] = []
    found = explain_speed(tiny_bundle, size=32, runs=2, progress=lambda done, total: steps.append((done, total)))
    likeness = {row["name"]: row["pearson"] for row in found["rows"]}
    assert (likeness[heatmaps.EXACT], likeness[heatmaps.FAST]) == pytest.approx((1.0, -1.0))
    assert likeness[names[0]] is None
    assert seen[heatmaps.EXACT][1:] == seen[names[0]] == seen[names[1]]  # one more before, without the package
    assert len(set(seen[names[0]])) == 2
    assert steps == [(1, 3), (2, 3), (3, 3)]
    p50 = {row["name"]: row["p50_ms"] for row in found["rows"]}
    assert p50[found["baseline"]] == min(p50[name] for name in names[:2])
    assert found["ratios"][heatmaps.FAST] == pytest.approx(p50[found["baseline"]] / p50[heatmaps.FAST])


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"threads": 0}, {"size": 16}])
def test_what_cannot_be_timed_is_refused(tiny_bundle: Bundle, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        explain_speed(tiny_bundle, **wrong)  # type: ignore[arg-type]
