"""The benchmark of batches: the files it draws and what it reports. Never how fast."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from kdlight.benchmark import batch as benchmark
from kdlight.benchmark import throughput
from kdlight.bundle import Bundle
from kdlight.images import read


def test_the_files_are_whole_mixed_and_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SIDE", 64)
    monkeypatch.setattr(benchmark, "DIFFERENT", 1)
    files = benchmark.generate(tmp_path, 8)
    images = [read(file) for file in files]
    syntaxes = [str(pydicom.dcmread(file).file_meta.TransferSyntaxUID) for file in files]
    assert syntaxes == [*benchmark.SYNTAXES.values()] * 2
    assert len({image.sha256 for image in images}) == 8
    for number, (file, image) in enumerate(zip(files, images, strict=True)):
        assert image.shape == (64, 64)
        np.testing.assert_array_equal(image.pixels, images[number % 4].pixels)
        np.testing.assert_array_equal(image.pixels, pydicom.dcmread(file).pixel_array)
        assert np.ptp(image.pixels) > 500


def test_the_report_fits_what_was_timed(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SIDE", 64)
    monkeypatch.setattr(benchmark, "CHUNK", 4)
    seen: list[tuple[int, int]] = []
    report = throughput(tiny_bundle, 9, progress=lambda done, total: seen.append((done, total)))
    json.dumps(report.model_dump(mode="json"), allow_nan=False)
    assert (report.files, report.runs, seen) == (8, 2, [(4, 8), (8, 8)])
    rows = {row.name: row for row in report.rows}
    assert report.ratio == pytest.approx(rows[report.baseline].p50_ms / rows[report.candidate].p50_ms)
    assert set(rows) == {benchmark.BASELINE, benchmark.CANDIDATE}
    for row in rows.values():
        assert row.p50_ms == pytest.approx(1000 / row.files_per_second)  # of two chunks the median is the mean
    assert (report.memory_mb[8] > 0, report.alone) == (True, None)


def test_files_beyond_the_race_are_read_by_the_candidate_alone(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "SIDE", 64)
    monkeypatch.setattr(benchmark, "CHUNK", 4)
    monkeypatch.setattr(benchmark, "RACED", 4)
    read_one_by_one: list[int] = []
    plain = benchmark.one_by_one
    monkeypatch.setattr(benchmark, "one_by_one", lambda p, files: (read_one_by_one.append(len(files)), plain(p, files)))
    seen: list[tuple[int, int]] = []
    report = throughput(tiny_bundle, 24, progress=lambda done, total: seen.append((done, total)))
    assert report.alone is not None
    assert (report.files, report.alone.files, read_one_by_one) == (4, 20, [4, 4])
    assert (seen, list(report.memory_mb)) == ([(4, 24), (20, 24), (24, 24)], [24])


def test_too_few_files_are_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="at least 50"):
        throughput(tiny_bundle, 49)
