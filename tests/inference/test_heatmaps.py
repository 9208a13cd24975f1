"""The report on heat maps: what it times and compares, and what it refuses. Never how fast."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdlight.bundle import Bundle
from kdlight.inference import explain_speed, heatmaps


def test_the_report_compares_each_run_on_its_own_image(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the methods: the whole one gives the package's map, the fast one its negative."""
    seen: list[tuple[int, float]] = []

    def package(_model: object, batch: int) -> heatmaps.Call:
        def run(x: torch.Tensor, _top: int) -> np.ndarray:
            seen.append((batch, float(x.sum())))
            return x[0, 0].numpy()

        return run

    def explain(_model: object, x: torch.Tensor, _top: int, method: str = "gradcam") -> np.ndarray:
        return -x[0, 0].numpy() if method == "scorecam-fast" else x[0, 0].numpy()

    monkeypatch.setattr(heatmaps, "package", package)
    monkeypatch.setattr(heatmaps, "explain", explain)
    monkeypatch.setattr(heatmaps, "best_batch", lambda *_: {4: 2.0, 16: 1.0, 64: 3.0})
    monkeypatch.setattr(heatmaps, "_bound", lambda *_: {})
    steps: list[tuple[int, int]] = []
    found = explain_speed(tiny_bundle, size=32, runs=2, progress=lambda done, total: steps.append((done, total)))
    rows = {row["name"]: row for row in found["rows"]}
    assert (rows[heatmaps.EXACT]["pearson"], rows[heatmaps.FAST]["pearson"]) == pytest.approx((1.0, -1.0))
    assert [batch for batch, _ in seen] == [16, 16]
    assert len({image for _, image in seen}) == 2
    assert (rows[heatmaps.PACKAGE]["runs"], rows[heatmaps.EXACT]["runs"]) == (2, 2 * heatmaps.MORE)
    assert steps == [(done, 13) for done in range(2, 14)]
    fast = rows[found["baseline"]]["p50_ms"] / rows[heatmaps.FAST]["p50_ms"]
    assert found["ratios"][heatmaps.FAST] == pytest.approx(fast)


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"threads": 0}, {"size": 16}])
def test_what_cannot_be_timed_is_refused(tiny_bundle: Bundle, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        explain_speed(tiny_bundle, **wrong)  # type: ignore[arg-type]
