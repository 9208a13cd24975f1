"""The report on heat maps: what it times and compares, and what it refuses. Never how fast."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from kdlight.benchmark import explain_speed
from kdlight.benchmark.explain import EVERY_MASK, FAST, SCORE_CAM
from kdlight.bundle import Bundle
from kdlight.explain import Explanation
from kdlight.explain.base import Estimate

module = importlib.import_module("kdlight.benchmark.explain")


def test_the_report_compares_each_run_on_its_own_image(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the methods: all give the image itself, the fast one its negative."""
    seen: list[float] = []

    def of_top(_model: object, x: torch.Tensor, method: str) -> Explanation:
        heat = x[0, 0].numpy()
        if method == "scorecam-exact":
            seen.append(float(x.sum()))
        return Explanation(-heat if method == "scorecam-fast" else heat, (), "", estimate=Estimate(1, 2, 0.5))

    monkeypatch.setattr(module, "of_top", of_top)
    steps: list[tuple[int, int]] = []
    golden = sorted((tiny_bundle.path / "golden").glob("case_*.png"))[:3]
    report = explain_speed(tiny_bundle, golden, 32, 7, progress=lambda done, total: steps.append((done, total)))
    rows = {row.name: row for row in report.rows}
    assert (rows[SCORE_CAM].pearson, rows[FAST].pearson) == pytest.approx((1.0, -1.0))
    assert rows["class map of the student"].pearson is None
    assert {row.runs for row in report.rows} == {7}
    assert len(seen) == 1 + 7  # a warm-up, the runs
    assert len(set(seen)) == 3
    assert steps == [(done, 8) for done in range(1, 9)]
    assert (report.candidate, report.baseline) == (SCORE_CAM, EVERY_MASK)
    assert report.ratios[FAST] == pytest.approx(rows[EVERY_MASK].p50_ms / rows[FAST].p50_ms)
    assert report.ratio == report.ratios[SCORE_CAM]
    near = report.likeness
    assert [one.images for one in near.values()] == [3, 3]
    assert (near[SCORE_CAM].median, near[FAST].least) == pytest.approx((1.0, -1.0))
    assert (near[SCORE_CAM].as_near_as_stated, near[FAST].as_near_as_stated) == (1.0, 0.0)


def test_flat_maps_have_no_correlation(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "of_top", lambda *_, **__: Explanation(np.zeros((32, 32), np.float32), (), ""))
    golden = sorted((tiny_bundle.path / "golden").glob("case_*.png"))[:2]
    report = explain_speed(tiny_bundle, golden, 32, 2)
    assert {row.pearson for row in report.rows} == {None}
    assert [(near.images, near.flat, near.median) for near in report.likeness.values()] == [(2, 2, None)] * 2


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"threads": 0}, {"size": 16}])
def test_what_cannot_be_timed_is_refused(tiny_bundle: Bundle, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        explain_speed(tiny_bundle, **wrong)  # type: ignore[arg-type]
