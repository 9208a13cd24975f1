"""Near-twins: the same picture again, moved in brightness, size or side, and none of another picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage

from kdlight.data import check, open_dataset
from kdlight.data.twins import counts, share_at_random


def pictures(count: int, seed: int) -> np.ndarray:
    """Smooth random pictures uint8 (N, 96, 96, 3), each unlike the others."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 8, 8))
    fine = np.stack([ndimage.zoom(one, 12, order=3).clip(0, 255) for one in coarse])
    return np.repeat(fine[..., None], 3, axis=3).astype(np.uint8)


TRAIN = pictures(40, 0)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("the same", lambda x: x),
        ("mirrored", lambda x: x[:, :, ::-1]),
        ("darker", lambda x: (x * 0.6).astype(np.uint8)),
        ("noisy", lambda x: (x + np.random.default_rng(1).normal(0, 12, x.shape)).clip(0, 255).astype(np.uint8)),
        ("moved by a pixel", lambda x: np.roll(x, 1, axis=2)),
    ],
)
def test_the_same_picture_again_is_a_near_twin(name: str, change: object) -> None:
    assert (counts(change(TRAIN[:10]), TRAIN) == 1).all(), name  # type: ignore[operator]


def test_other_pictures_are_not() -> None:
    assert counts(pictures(60, 5), TRAIN).sum() == 0
    assert (counts(np.rot90(TRAIN, axes=(1, 2)).copy(), TRAIN) == 0).all()


def test_a_flat_picture_is_no_twin_of_anything() -> None:
    flat = np.full((2, 96, 96, 3), 90, dtype=np.uint8)
    assert counts(flat, np.concatenate([TRAIN, flat])).tolist() == [0, 0]


def test_a_flat_picture_takes_nothing_from_the_share() -> None:
    flat = np.zeros((1, 96, 96, 3), dtype=np.uint8)
    assert share_at_random(TRAIN[:20], np.concatenate([TRAIN[20:24], flat])) == 0


def test_a_split_by_image_would_have_torn_pairs_apart() -> None:
    """30 pairs: with 45 of 60 images in training, a test image has its twin there in three of four draws."""
    pairs = np.repeat(pictures(30, 2), 2, axis=0)
    assert share_at_random(pairs[:45], pairs[45:]) == pytest.approx(0.75)
    assert share_at_random(TRAIN[:30], TRAIN[30:]) == 0
    rng, drawn = np.random.default_rng(0), []
    for _ in range(60):
        order = rng.permutation(60)
        drawn.append(np.mean(counts(pairs[order[45:]], pairs[order[:45]]) > 0))
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.05)


def test_data_check_counts_near_twins_by_split(tmp_path: Path) -> None:
    for split, images in (("train", TRAIN[:8]), ("test", np.concatenate([TRAIN[:3, :, ::-1], pictures(5, 9)]))):
        for number, image in enumerate(images):
            path = tmp_path / "set" / split / ("a", "b")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(image).save(path)
    result = check(open_dataset(tmp_path / "set"))
    assert [(one.split, one.images, one.near_twins) for one in result.near_twins] == [("test", 8, 3)]
    assert "3 of 8 images of test are near-twins of training images" in " ".join(result.notes)
    assert result.to_json()["near_twins"] == [{"split": "test", "images": 8, "near_twins": 3}]
