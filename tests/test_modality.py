"""Windows against DICOM PS3.3 C.11.2.1.2 written out, and the table of modalities."""

from pathlib import Path

import numpy as np
import pytest

from kdlight import images
from kdlight.contracts.modality import BLOCK, MODALITIES, WINDOWS, Window, modality, propose


def test_linear_exact_window_maps_its_ends_and_its_middle() -> None:
    shown = Window(40, 80).apply(np.array([[-5.0, 0, 20, 40, 60, 80, 500]]))
    assert shown.tolist() == [[0, 0, 64, 128, 191, 255, 255]]


@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (50, 400), (-600, 1500), (40, 1), (0, 100)])
def test_linear_window_is_the_formula_of_the_standard(center: int, width: int) -> None:
    values = np.arange(-1500, 4500, dtype=np.float32)[None]
    expected = []
    for x in values[0].tolist():  # the pseudo code of C.11.2.1.2.1, ymin 0, ymax 255
        if x <= center - 0.5 - (width - 1) / 2:
            expected.append(0.0)
        elif x > center - 0.5 + (width - 1) / 2:
            expected.append(255.0)
        else:
            expected.append(((x - (center - 0.5)) / (width - 1) + 0.5) * 255)
    shown = Window(center, width, function="linear").apply(values)[0]
    assert np.abs(shown - np.array(expected)).max() <= 0.51


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_a_large_picture_is_shown_as_pixel_by_pixel(kind: type) -> None:
    """A window is applied a block at a time; the ends of the blocks, a part left over and strides must not show."""
    pixels = np.random.default_rng(0).uniform(-300, 400, (301, 2 * 307)).astype(kind)[:, ::2]
    assert pixels.size > BLOCK
    expected = np.clip(np.rint((pixels.astype(np.float32) - np.float32(0)) * np.float32(255 / 80)), 0, 255)
    np.testing.assert_array_equal(Window(40, 80).apply(pixels), expected.astype(np.uint8))


def test_sigmoid_window_is_the_formula_of_the_standard() -> None:
    values = np.linspace(-3000, 3000, 601, dtype=np.float32)[None]
    shown = Window(50, 400, function="sigmoid").apply(values)[0]
    expected = 255 / (1 + np.exp(-4 * (values[0].astype(float) - 50) / 400))
    assert np.abs(shown - expected).max() <= 0.51
    assert shown[0] == 0
    assert shown[-1] == 255


@pytest.mark.parametrize("width", [0, -1, float("nan")])
def test_a_window_without_width_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Window(0, width)


def test_an_unknown_function_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="linear_exact, linear, sigmoid"):
        Window(0, 1, function="cubic")


def test_the_presets_of_the_radiologists() -> None:
    known = {"brain": (40, 80), "soft tissue": (50, 400), "lung": (-600, 1500), "bone": (500, 2000)}
    assert {n: (WINDOWS[n].center, WINDOWS[n].width) for n in known} == known


def test_codes_propose_one_modality_each() -> None:
    codes = [code for m in MODALITIES.values() for code in m.codes]
    assert len(codes) == len(set(codes))
    assert (propose("MR"), propose("cr"), propose("SR"), propose(None), propose("")) == (
        "mri",
        "xray",
        None,
        None,
        None,
    )


def test_a_color_frame_of_an_endoscope_is_proposed_as_endoscopy(tmp_path: Path) -> None:
    import pydicom
    from pydicom.data import get_testdata_file

    header = pydicom.dcmread(str(get_testdata_file("SC_rgb_small_odd.dcm", download=False)))
    header.Modality = "ES"
    header.save_as(tmp_path / "frame.dcm")
    found = images.read(tmp_path / "frame.dcm")
    assert found.modality == "endoscopy"
    assert found.pixels.shape[2] == 3
    assert (MODALITIES["endoscopy"].words, MODALITIES["endoscopy"].color) == ("Endoscopy", True)


def test_an_unknown_modality_answers_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="xray, ct, mri"):
        modality("sonar")
