"""One InputSpec for all."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms import v2

from kdlight.contracts.modality import WINDOWS, Window
from kdlight.images import Image
from kdlight.preprocessing import InputSpec


def gray(pixels: np.ndarray, units: str = "", inverted: bool = False) -> Image:
    shared = {"sha256": "", "format": "dicom", "bits": 16, "windows": (Window(127.5, 255),)}
    return Image(pixels=pixels.astype(np.float32), units=units, inverted=inverted, **shared)


def color(pixels: np.ndarray) -> Image:
    return Image(pixels=pixels, sha256="", format="png", bits=8, windows=())


@pytest.fixture
def ramp() -> np.ndarray:
    """uint8 (64, 128): dark left, bright right."""
    return np.tile(np.arange(0, 256, 2, dtype=np.uint8), (64, 1))


def test_stretch_scales_both_sides_as_pillow_does(ramp: np.ndarray) -> None:
    found = InputSpec(32).render(gray(ramp))
    expected = np.asarray(PIL.Image.fromarray(ramp).resize((32, 32), PIL.Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(found, np.repeat(expected[..., None], 3, axis=2))


def test_pad_keeps_the_aspect_and_fills_with_black(ramp: np.ndarray) -> None:
    found = InputSpec(64, fit="pad").render(color(np.full((20, 80, 3), 90, dtype=np.uint8)))
    np.testing.assert_array_equal(found[24:40], 90)
    assert found[:24].max() == found[40:].max() == 0


def test_the_window_preset_is_for_hounsfield_units_only(ramp: np.ndarray) -> None:
    spec = InputSpec(64, window="brain")  # 0 to 80
    calibrated = spec.render(gray(np.full((9, 9), 60), units="HU"))
    assert set(np.unique(calibrated)) == {round(60 / 80 * 255)}
    assert set(np.unique(spec.render(gray(np.full((9, 9), 60))))) == {60}


def test_monochrome1_is_inverted_once(ramp: np.ndarray) -> None:
    spec = InputSpec(32)
    np.testing.assert_array_equal(spec.render(gray(ramp, inverted=True)), 255 - spec.render(gray(ramp)))


def test_normalization_equals_torchvision(ramp: np.ndarray) -> None:
    spec = InputSpec(32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1))
    image = color(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    rendered = torch.from_numpy(spec.render(image).copy()).permute(2, 0, 1)
    chain = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(spec.mean, spec.std)])
    torch.testing.assert_close(spec.prepare(image), chain(rendered), atol=1e-5, rtol=1e-5)
    assert spec.normalise(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).is_contiguous()


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("kind", ["gray", "inverted", "calibrated", "color"])
def test_what_is_rendered_is_pillow_in_rgb_to_the_byte(fit: str, kind: str) -> None:
    """Gray is resized as gray: the same bytes as turning it to RGB first, and the same floats out of one image."""
    pixels = np.random.default_rng(1).uniform(-300, 700, (150, 230, 3))
    shown = np.clip(pixels, 0, 255).astype(np.uint8)
    whole = {"gray": shown[..., 0], "inverted": shown[..., 0], "calibrated": pixels[..., 0], "color": shown}[kind]
    image = color(whole) if kind == "color" else gray(whole, "HU" * (kind == "calibrated"), kind == "inverted")
    spec = InputSpec(64, window="liver", fit=fit)
    picture = PIL.Image.fromarray(image.display(WINDOWS["liver"] if kind == "calibrated" else None)).convert("RGB")
    width, height = (64, 64) if fit == "stretch" else (64, round(150 / 230 * 64))
    expected = np.zeros((64, 64, 3), dtype=np.uint8)
    top = (64 - height) // 2
    expected[top : top + height] = np.asarray(picture.resize((width, height), PIL.Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(spec.render(image), expected)
    plain = (torch.from_numpy(expected).float() - torch.tensor(spec.mean) * 255) / (torch.tensor(spec.std) * 255)
    assert torch.equal(spec.prepare(image), plain.permute(2, 0, 1))
    assert torch.equal(spec.normalise(torch.from_numpy(expected)[None])[0], plain.permute(2, 0, 1))


def test_normalising_leaves_what_it_was_given() -> None:
    pixels = torch.rand(2, 3, 32, 32) * 255
    given = pixels.clone()
    InputSpec(32).normalise(pixels.permute(0, 2, 3, 1))
    assert torch.equal(pixels, given)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("shape", [(40, 120), (120, 40), (77, 77)])
def test_a_spot_comes_back_to_where_it_was(fit: str, shape: tuple[int, int]) -> None:
    """A bright square, rendered and then brought back as a map, lies on itself."""
    spec = InputSpec(64, fit=fit)
    rows, columns = shape[0] // 4, shape[1] // 4
    pixels = np.zeros(shape)
    pixels[rows : 2 * rows, columns : 2 * columns] = 255
    heat = spec.render(gray(pixels))[..., 0] / 255.0
    found = spec.to_image_plane(heat, shape)
    assert found.shape == shape
    assert found.dtype == np.float32
    overlap = np.minimum(found, pixels / 255).sum() / np.maximum(found, pixels / 255).sum()
    assert overlap > 0.75
    y, x = (found * np.indices(shape)).sum(axis=(1, 2)) / found.sum()
    assert (y, x) == pytest.approx((1.5 * rows - 0.5, 1.5 * columns - 0.5), abs=0.6)


def test_json_there_and_back() -> None:
    spec = InputSpec(224, mean=(0.1, 0.2, 0.3), window="lung", fit="pad")
    assert InputSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.to_json()["channels"] == 3


@pytest.mark.parametrize("values", [{"size": 64, "sise": 1}, {"size": "64"}, {"mean": [0.5]}, {"std": [0, 1, 1]}])
def test_a_card_with_another_description_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"(was|were) expected"):
        InputSpec.from_json(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"size": 8}, "32 to 1024"), ({"fit": "crop"}, "stretch, pad"), ({"window": "moon"}, "brain")],
)
def test_what_no_model_can_see_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        InputSpec(**values)  # type: ignore[arg-type]
