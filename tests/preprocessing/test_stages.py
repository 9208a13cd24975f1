"""The stages of skin preprocessing: each takes away its own problem and leaves the rest alone."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest
from scipy import ndimage

from kdlight.contracts.modality import Window
from kdlight.images import Image
from kdlight.preprocessing import STAGES, InputSpec
from kdlight.preprocessing.stages import apply_stages, clahe, hair_mask

SIDES = (128, 224)


def skin(side: int, seed: int = 0) -> np.ndarray:
    """A brown, round lesion with a sharp edge on pink skin with a little grain: uint8 (side, side, 3)."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    inside = 1 / (1 + np.exp((np.hypot(x - 0.5, y - 0.5) - 0.22) * side / 1.5))
    picture = np.array([205.0, 160, 150]) * (1 - inside[..., None]) + np.array([120.0, 75, 60]) * inside[..., None]
    return np.clip(picture + np.random.default_rng(seed).normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8)


def haired(picture: np.ndarray, count: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Straight and bent dark hairs drawn by OpenCV, half of them over the lesion; the picture, and where they are."""
    rng, side = np.random.default_rng(1), len(picture)
    drawn = np.zeros(picture.shape[:2], dtype=np.uint8)
    for number in range(count):
        start, end = rng.uniform(0, side, (2, 2))
        middle = (start + end) / 2 + rng.normal(0, side / 25, 2)
        t = np.linspace(0, 1, 30)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
        cv2.polylines(drawn, [np.rint(curve).astype(np.int32)], False, 255, 1 + number % 2 * (side // 112))
    where = drawn > 0
    hairy = picture.copy()
    hairy[where] = (45, 30, 25)
    return hairy, where


def error(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in gray levels."""
    return float(np.abs(one.astype(np.int64) - other).mean())


@pytest.mark.parametrize("side", SIDES)
def test_hair_disappears_and_the_edge_of_the_lesion_stays(side: int) -> None:
    clean = skin(side)
    hairy, where = haired(clean)
    found = STAGES["hair"].apply(hairy)
    assert error(found, clean) < error(hairy, clean) / 3.5
    near = cv2.dilate(where.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    np.testing.assert_array_equal(found[~near], clean[~near])
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    ring = np.abs(np.hypot(x - 0.5, y - 0.5) - 0.22) < 0.03
    assert error(found[ring], clean[ring]) < error(hairy[ring], clean[ring]) / 2.5


@pytest.mark.parametrize("side", SIDES)
def test_a_net_of_pigment_and_dots_are_no_hair(side: int) -> None:
    picture = skin(side)
    step = side // 16
    y, x = np.mgrid[:side, :side]
    wave = np.sin(x * 2 * np.pi / step) + np.sin((y + (x // step % 2) * step / 2) * 2 * np.pi / step)
    net = picture.copy()
    net[(wave < -1.2) & (np.hypot(x - side / 2, y - side / 2) < side / 4)] //= 2
    assert (hair_mask(net) > 0).mean() < 0.005
    assert hair_mask(picture).max() == 0


def test_specks_are_flattened_and_the_edge_stays() -> None:
    clean = skin(128)
    specked = clean.copy()
    spots = np.random.default_rng(2).integers(0, 128, (60, 2))
    specked[spots[:30, 0], spots[:30, 1]], specked[spots[30:, 0], spots[30:, 1]] = 255, 0
    found = STAGES["morphology"].apply(specked)
    at = spots[:, 0], spots[:, 1]
    assert error(found[at], clean[at]) < error(specked[at], clean[at]) / 20
    assert error(found, STAGES["morphology"].apply(clean)) < error(specked, clean) / 4


def test_opening_and_closing_are_what_their_definition_says() -> None:
    """Minimum, twice maximum, minimum over a cross of 3 x 3, in plain NumPy."""
    picture = np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)

    def over_cross(values: np.ndarray, choose: np.ufunc, fill: int) -> np.ndarray:
        wide = np.pad(values, ((1, 1), (1, 1), (0, 0)), constant_values=fill)
        parts = [wide[1 + a : 41 + a, 1 + b : 51 + b] for a, b in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))]
        return np.asarray(choose.reduce(parts))

    expected = over_cross(picture, np.minimum, 255)
    expected = over_cross(over_cross(expected, np.maximum, 0), np.maximum, 0)
    expected = over_cross(expected, np.minimum, 255)
    np.testing.assert_array_equal(STAGES["morphology"].apply(picture), expected)


def by_hand(lightness: np.ndarray, clip: float, tile: int) -> np.ndarray:
    """CLAHE after Zuiderveld (Graphics Gems IV, 1994), one pixel after the other, for sides that tiles fill exactly."""
    tiles = len(lightness) // tile
    curves = np.zeros((tiles, tiles, 256))
    limit = max(int(clip * tile * tile / 256), 1)
    for row in range(tiles):
        for column in range(tiles):
            part = lightness[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
            counts = np.bincount(part.ravel(), minlength=256)
            over = int(np.maximum(counts - limit, 0).sum())
            counts = np.minimum(counts, limit) + over // 256
            if over % 256:
                counts[: over % 256 * max(256 // (over % 256), 1) : max(256 // (over % 256), 1)] += 1
            curves[row, column] = np.clip(np.rint(np.cumsum(counts) * 255 / tile**2), 0, 255)
    out = np.zeros_like(lightness)
    for y, x in np.ndindex(lightness.shape):
        v, u = (y / tile - 0.5), (x / tile - 0.5)
        r, c = int(np.floor(v)), int(np.floor(u))
        rows, columns = (max(r, 0), min(r + 1, tiles - 1)), (max(c, 0), min(c + 1, tiles - 1))
        a, b = v - r, u - c
        of = curves[:, :, lightness[y, x]]
        top = (1 - b) * of[rows[0], columns[0]] + b * of[rows[0], columns[1]]
        low = (1 - b) * of[rows[1], columns[0]] + b * of[rows[1], columns[1]]
        out[y, x] = np.rint((1 - a) * top + a * low)
    return out


def test_clahe_equals_a_reference_implementation_on_the_lightness_alone() -> None:
    picture = skin(96)
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = by_hand(lab[:, :, 0], 2.0, 32)
    expected = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    found = STAGES["clahe"].apply(picture)
    assert np.abs(found.astype(int) - expected).max() <= 2
    assert error(found, picture) > 3


def test_clahe_lifts_the_contrast_of_a_pale_picture() -> None:
    pale = (skin(128) // 6 + 120).astype(np.uint8)
    assert STAGES["clahe"].apply(pale).std() > 1.5 * pale.std()


def test_noise_falls_and_the_edge_stays() -> None:
    clean = skin(128)
    noisy = np.clip(clean + np.random.default_rng(4).normal(0, 10, clean.shape), 0, 255).astype(np.uint8)
    found = STAGES["denoise"].apply(noisy)
    assert error(found, clean) < error(noisy, clean) / 1.8
    smooth = cv2.GaussianBlur(clean, (0, 0), 2.0)
    ring = np.abs(np.hypot(*(np.mgrid[:128, :128] - 63.5)) / 128 - 0.22) < 0.02
    assert error(STAGES["denoise"].apply(clean)[ring], clean[ring]) < error(smooth[ring], clean[ring]) / 2


@pytest.mark.parametrize("level", [80, 170])
def test_gamma_brings_the_mean_to_the_middle(level: int) -> None:
    flat = np.full((32, 32, 3), level, dtype=np.uint8)
    assert STAGES["gamma"].apply(flat).mean() == pytest.approx(127.5, abs=1)
    assert STAGES["gamma"].apply(np.zeros_like(flat)).max() == 0
    assert STAGES["gamma"].apply(np.full_like(flat, 255)).min() == 255


@pytest.mark.parametrize("name", STAGES)
def test_a_picture_without_the_problem_is_nearly_unchanged(name: str) -> None:
    """For clahe that is a picture whose every tile already uses all levels alike; for gamma, a mean of one half."""
    picture = skin(128)
    if name == "clahe":
        levels = np.random.default_rng(5).permuted(np.tile(np.arange(256), (16, 4)), axis=1).reshape(4, 4, 32, 32)
        picture = np.repeat(levels.transpose(0, 2, 1, 3).reshape(128, 128, 1), 3, axis=2).astype(np.uint8)
    if name == "gamma":
        picture = np.clip(picture.astype(float) - picture.mean() + 127.5, 0, 255).astype(np.uint8)
    limit = {"hair": 0, "morphology": 1.5, "clahe": 10, "denoise": 1.5, "gamma": 1}[name]
    assert error(STAGES[name].apply(picture), picture) <= limit


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("shape", [(64, 64), (48, 160), (32, 3)])
def test_a_stage_is_pure_and_keeps_the_form(name: str, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(6).integers(0, 256, (*shape, 3), dtype=np.uint8)
    picture.setflags(write=False)
    once, again = STAGES[name].apply(picture), STAGES[name].apply(picture.copy())
    assert once.dtype == np.uint8
    assert once.shape == picture.shape
    np.testing.assert_array_equal(once, again)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    np.testing.assert_array_equal(STAGES[name].apply(picture), once)
    cv2.setNumThreads(threads)


def image(picture: np.ndarray) -> Image:
    return Image(pixels=picture, sha256="", format="png", bits=8, windows=())


def test_a_spec_applies_its_stages_in_order_between_resizing_and_normalization() -> None:
    names = ("hair", "morphology", "clahe", "denoise")
    picture = haired(skin(224))[0]
    plain = InputSpec(128).render(image(picture))
    found = InputSpec(128, stages=names).render(image(picture))
    np.testing.assert_array_equal(found, apply_stages(plain, names))
    steps = list(InputSpec(128, stages=names).steps(image(picture)))
    assert [name for name, _ in steps] == ["resize", *names]
    np.testing.assert_array_equal(steps[0][1], plain)
    np.testing.assert_array_equal(steps[-1][1], found)
    assert not np.array_equal(found, apply_stages(plain, names[::-1]))


def test_the_black_border_of_a_padded_picture_is_not_touched() -> None:
    picture = skin(128)[:64]
    found = InputSpec(128, fit="pad", stages=("clahe", "gamma")).render(image(picture))
    assert found[:32].max() == found[96:].max() == 0
    np.testing.assert_array_equal(found[32:96], apply_stages(picture, ("clahe", "gamma")))


def test_a_gray_scan_goes_through_the_stages_too() -> None:
    values, windows = skin(64)[:, :, 0].astype(np.float32), (Window(127.5, 255),)
    gray = Image(pixels=values, sha256="", format="dicom", bits=8, windows=windows)
    found = InputSpec(64, stages=tuple(STAGES)).render(gray)
    assert np.abs(found.astype(int) - found[:, :, :1]).max() <= 2


def test_a_card_without_stages_is_what_it_was_and_one_with_them_says_so() -> None:
    plain = InputSpec(128).to_json()
    assert "stages" not in plain
    text = json.dumps(plain, sort_keys=True)
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "5a766c598e28212eda3f434c9f84f9726bca11268bedc2f731b65c5ba47652f2"
    )
    assert InputSpec.from_json(json.loads(text)).stages == ()
    spec = InputSpec(64, stages=("hair", "clahe"))
    told = json.loads(json.dumps(spec.to_json()))
    assert told["stages"] == ["hair", "clahe"]
    assert "hair, clahe, subtract the mean" in told["preprocessing"]
    assert InputSpec.from_json(told) == spec


@pytest.mark.parametrize(("names", "words"), [(("hare",), "'hare'; some of hair,"), (("hair", "hair"), "each was")])
def test_unknown_and_doubled_stages_are_refused(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        InputSpec(64, stages=names)


def test_scikit_image_would_be_no_substitute_for_opencv() -> None:
    """Of the stages it has morphology alone to the bit: trained models would see other pictures."""
    from skimage import color, exposure, morphology, restoration

    rng = np.random.default_rng(0)
    coarse = ndimage.zoom(rng.uniform(90, 220, (6, 6, 3)), (32, 32, 1), order=3)
    picture = (coarse + rng.normal(0, 8, coarse.shape)).clip(0, 255).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    ours = cv2.morphologyEx(picture, cv2.MORPH_OPEN, kernel)
    theirs = np.stack([morphology.opening(picture[..., c], kernel, mode="ignore") for c in range(3)], axis=-1)
    np.testing.assert_array_equal(ours, theirs)

    lab = color.rgb2lab(picture)
    lab[..., 0] = 100 * exposure.equalize_adapthist(lab[..., 0] / 100, kernel_size=32, clip_limit=2 / 256)
    evened = np.rint(color.lab2rgb(lab) * 255)
    assert np.abs(evened - clahe(picture)).mean() > 5
    hole = np.zeros(picture.shape[:2], dtype=np.uint8)
    hole[40:150, 60:64] = 1
    filled = np.rint(restoration.inpaint_biharmonic(picture, hole > 0, channel_axis=-1) * 255)
    assert np.abs(filled - cv2.inpaint(picture, hole, 3, cv2.INPAINT_TELEA))[hole > 0].mean() > 2
