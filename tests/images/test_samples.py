"""The samples open, are of the modality they say, and phantoms say plainly that they are none of a patient."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from kdlight.images import Kind, Sample, facts, read, samples
from kdlight.images.phantoms import PHANTOMS, chest_ct, chest_xray
from kdlight.modality import MODALITIES, WINDOWS


@pytest.mark.parametrize("sample", samples(), ids=lambda s: s.name)
def test_every_sample_is_read(sample: Sample) -> None:
    image = read(sample.data)
    assert image.display().std() > 20
    assert sample.modality is None or sample.modality in MODALITIES
    assert image.modality in (None, sample.modality)
    assert image.color or sample.modality is None or not MODALITIES[sample.modality].color
    assert sample.words.endswith(".")
    assert sample.synthetic == ("not a patient" in sample.words)


def test_there_are_phantoms_for_seven_modalities_and_real_files() -> None:
    names = [s.name for s in samples()]
    assert len(names) == len(set(names))
    assert {s.modality for s in samples() if s.synthetic} == {m for m, *_ in PHANTOMS.values()}
    assert sum(not s.synthetic for s in samples()) >= 3


def test_what_a_bundle_is_made_for_comes_first_and_what_none_is_made_for_last() -> None:
    kinds = [s.kind for s in samples()]
    assert kinds == sorted(kinds, key=list(Kind).index)
    assert {*kinds} == {*Kind}


@pytest.mark.slow
def test_the_first_sample_is_read_rightly_by_a_shipped_bundle() -> None:
    from kdlight import bundle as bundles
    from kdlight.inference import Predictor
    from kdlight.reading import Verdict

    first = samples()[0]
    assert first.kind is Kind.SUITED
    reading = Predictor(bundles.load(bundles.shipped_folder() / "brain_mri"), 1).read(
        read(first.data), modality=first.modality
    )
    assert reading.verdict is Verdict.AGREE
    assert reading.student.prediction == "notumor"


def test_phantoms_are_the_same_in_every_process() -> None:
    code = "import hashlib; from kdlight.images.phantoms import chest_ct; print(hashlib.sha256(chest_ct()).hexdigest())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == hashlib.sha256(chest_ct()).hexdigest()


def test_the_ct_phantom_is_in_hounsfield_units() -> None:
    image = read(chest_ct())
    assert image.units == "HU"
    assert image.pixels[5, 5] == pytest.approx(-1000, abs=60)
    assert np.median(image.pixels[200:300, 100:140]) == pytest.approx(-850, abs=60)
    assert image.display(WINDOWS["lung"]).mean() > image.display(WINDOWS["bone"]).mean()


def test_the_xray_phantom_is_monochrome1_with_dark_lungs() -> None:
    image = read(chest_xray())
    told = facts(image)
    assert told["inverted"]
    assert told["photometric"] == "MONOCHROME1"
    shown = image.display().astype(float)
    lung, spine, air = shown[200:260, 150:180].mean(), shown[200:260, 250:262].mean(), shown[200:260, 0:10].mean()
    assert air < lung < spine
