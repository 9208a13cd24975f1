"""The samples open, are of the modality they say, and phantoms say plainly that they are none of a patient."""

from __future__ import annotations

import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from kdlight.contracts.modality import MODALITIES, WINDOWS
from kdlight.images import Kind, Sample, read, samples

SHOWN = {"xray", "ct", "ultrasound", "dermatoscopy", "histopathology", "surface", "mri"}
ROOT = Path(__file__).resolve().parents[2]
DATA = {sample.path.stem: sample.data for sample in samples()}


@pytest.mark.parametrize("sample", samples(), ids=lambda s: s.name)
def test_every_sample_is_read(sample: Sample) -> None:
    image = read(sample.data)
    assert image.display().std() > 20
    assert sample.modality is None or sample.modality in MODALITIES
    assert image.modality in (None, sample.modality)
    assert image.color or sample.modality is None or not MODALITIES[sample.modality].color
    assert sample.words.endswith(".")
    assert (sample.kind is Kind.PHANTOM) == ("not a patient" in sample.words)


def test_there_are_phantoms_for_seven_modalities_and_real_files() -> None:
    names = [s.name for s in samples()]
    assert len(names) == len(set(names))
    assert {s.modality for s in samples() if s.kind is Kind.PHANTOM} == SHOWN
    assert sum(s.kind is not Kind.PHANTOM for s in samples()) >= 3


def test_what_a_bundle_is_made_for_comes_first_and_what_none_is_made_for_last() -> None:
    kinds = [s.kind for s in samples()]
    assert kinds == sorted(kinds, key=list(Kind).index)
    assert {*kinds} == {*Kind}


@pytest.mark.slow
def test_the_first_sample_is_read_rightly_by_a_shipped_bundle() -> None:
    from kdlight import bundle as bundles
    from kdlight.contracts.reading import Verdict
    from kdlight.inference import Predictor

    first = samples()[0]
    assert first.kind is Kind.SUITED
    reading = Predictor(bundles.load(bundles.shipped_folder() / "brain_mri"), 1).read(
        read(first.data), modality=first.modality
    )
    assert reading.verdict is Verdict.AGREE
    assert reading.student.prediction == "notumor"


def test_the_shipped_phantoms_are_those_that_the_tool_draws() -> None:
    path = ROOT / "tools" / "draw_samples.py"
    spec = spec_from_file_location("draw_samples", path)
    assert spec is not None
    assert spec.loader is not None
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    for sample in (s for s in samples() if s.kind is Kind.PHANTOM):
        drawn, shipped = read(getattr(tool, sample.path.stem)()), read(sample.data)
        assert np.abs(drawn.pixels.astype(float) - shipped.pixels).mean() < 0.01  # FFTs may differ in a last bit
        assert drawn.windows == shipped.windows


def test_phantoms_are_installed_with_the_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["kdlight"]
    files = {path for pattern in listed for path in (ROOT / "kdlight").glob(pattern)}
    phantoms = [s.path for s in samples() if s.kind is Kind.PHANTOM]
    assert len(phantoms) == 7
    assert {*phantoms} <= files


def test_the_ct_phantom_is_in_hounsfield_units() -> None:
    image = read(DATA["chest_ct"])
    assert image.units == "HU"
    assert image.pixels[5, 5] == pytest.approx(-1000, abs=60)
    assert np.median(image.pixels[200:300, 100:140]) == pytest.approx(-850, abs=60)
    assert image.display(WINDOWS["lung"]).mean() > image.display(WINDOWS["bone"]).mean()


def test_the_xray_phantom_is_monochrome1_with_dark_lungs() -> None:
    image = read(DATA["chest_xray"])
    assert image.facts.inverted
    assert image.facts.photometric == "MONOCHROME1"
    shown = image.display().astype(float)
    lung, spine, air = shown[200:260, 150:180].mean(), shown[200:260, 250:262].mean(), shown[200:260, 0:10].mean()
    assert air < lung < spine
