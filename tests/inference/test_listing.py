"""Which files of named folders are read: scans, never the outlines that lie with them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.inference import listing

Draw = Callable[..., None]
module = importlib.import_module("kdlight.inference.listing")


def listed(paths: list[Path]) -> list[Path]:
    return list(listing(paths).files)


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Draws pictures of many values, or masks of two, below `tmp_path`."""

    def write(*refs: str, mask: bool = False) -> None:
        for number, ref in enumerate(refs):
            path = tmp_path / ref
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (20, 24), dtype=np.uint8)
            PIL.Image.fromarray((pixels > 127).astype(np.uint8) * 255 if mask else pixels).save(path)

    return write


@pytest.mark.parametrize(
    ("image", "mask"),
    [("{}.png", "{}_mask.png"), ("a/{}.png", "a/{}_mask_1.png"), ("x/images/{}.png", "x/masks/{}.png")],
)
def test_masks_with_the_images_are_left_out_and_counted(draw: Draw, tmp_path: Path, image: str, mask: str) -> None:
    draw(*(image.format(n) for n in range(6)))
    draw(*(mask.format(n) for n in range(5)), mask=True)
    found = listing([tmp_path])
    assert list(found.files) == listed([tmp_path]) == [tmp_path / image.format(n) for n in range(6)]
    assert list(found.masks) == [tmp_path / mask.format(n) for n in range(5)]


def test_a_mask_whose_image_is_missing_is_left_out(draw: Draw, tmp_path: Path) -> None:
    draw("x/images/1.png")
    draw("x/masks/1.png", "x/masks/2.png", mask=True)
    assert len(listing([tmp_path]).masks) == 2


def test_folders_that_are_named_side_by_side_are_looked_at_together(
    draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw("images/1.png", "images/2.png")
    draw("masks/1.png", "masks/2.png", mask=True)
    monkeypatch.chdir(tmp_path)
    found = listing([Path("images"), tmp_path / "masks"])
    assert list(found.files) == [Path("images/1.png"), Path("images/2.png")]
    assert len(found.masks) == 2


def test_what_is_named_itself_is_read(draw: Draw, tmp_path: Path) -> None:
    draw("a.png")
    draw("a_mask.png", mask=True)
    found = listing([tmp_path / "a_mask.png", tmp_path])
    assert (list(found.files), found.masks) == ([tmp_path / "a_mask.png", tmp_path / "a.png"], ())
    draw("masks/1.png", mask=True)
    assert listed([tmp_path / "masks"]) == [tmp_path / "masks" / "1.png"]


def test_a_photograph_that_is_called_a_mask_is_read(draw: Draw, tmp_path: Path) -> None:
    draw("a.png", "a_mask.png")
    assert listing([tmp_path]).masks == ()


def test_a_file_that_may_not_be_opened_does_not_stop_the_others(
    draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(file: Path) -> bool:
        raise PermissionError(file)

    draw("a.png", "b.png")
    monkeypatch.setattr(module, "is_image", closed)
    assert listed([tmp_path]) == [tmp_path / "a.png", tmp_path / "b.png"]


def test_a_dicomdir_is_no_scan_but_a_folder_of_that_name_holds_some(draw: Draw, tmp_path: Path) -> None:
    draw("dicomdir/a.png")
    (tmp_path / "DICOMDIR").write_bytes(b"")
    assert listed([tmp_path]) == [tmp_path / "dicomdir" / "a.png"]
