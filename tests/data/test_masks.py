"""Masks beside images are ground truth and never images of the set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.data import DataError, check, masks_in, match_classes, open_dataset, read_mask
from kdlight.data.splits import parted

Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Draws pictures (many values) and masks (a white square at row 2, column 3) into tmp_path / "set"."""

    def write(*refs: str, mask: bool = False, size: tuple[int, int] = (20, 24), blank: bool = False) -> Path:
        for number, ref in enumerate(refs):
            path = tmp_path / "set" / ref
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)
            if mask:
                pixels[:] = 0
                pixels[2:5, 3:7] = 0 if blank else 255
            PIL.Image.fromarray(pixels).save(path)
        return tmp_path / "set"

    return write


def busi(draw: Draw) -> Path:
    """Two classes of five; the first benign image has two lesions."""
    names = [f"{name}/{name} ({n})" for name in ("benign", "normal") for n in range(5)]
    draw(*(f"{name}.png" for name in names))
    draw(*(f"{name}_mask.png" for name in names), mask=True)
    return draw("benign/benign (0)_mask_1.png", mask=True)


def test_masks_beside_images_are_left_out_counted_and_kept_as_ground_truth(draw: Draw) -> None:
    root = busi(draw)
    found = open_dataset(root)
    assert found.counts() == {"benign": 5, "normal": 5}
    assert not [item.ref for item in found.items if "mask" in item.ref]
    names = [path.name for path in found.masks["benign/benign (0).png"]]
    assert names == ["benign (0)_mask.png", "benign (0)_mask_1.png"]
    assert len(found.masks) == 10
    (row,) = found.left_out
    assert (row.reason, row.count) == ("mask", 11)
    checked = check(found)
    assert checked.ok
    assert checked.masks == 10
    assert checked.left_out[0].count == 11
    assert any(note.startswith("11 mask(s)") for note in checked.notes)
    carved = match_classes(parted(found, {"val": 0.2, "test": 0.2}, seed=0), ["normal", "benign"])
    assert carved.split("test").masks == found.masks


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{c}/images/{n}.png", "{c}/masks/{n}.png"),
        ("{c}/{n}.png", "{c}/masks/{n}.png"),
        ("{c}/{n}.png", "masks/{c}/{n}.png"),
        ("images/{c}/{n}.png", "masks/{c}/{n}.png"),
        ("train/{c}/{n}.png", "train_masks/{c}/{n}_mask.png"),
        ("train/images/{c}/{n}.png", "train/masks/{c}/{n}.png"),
        ("train/{c}/{n}.png", "masks/train/{c}/{n}.png"),
        ("{c}/{n}.jpg", "{c}/{n}_segmentation.png"),
        ("{c}/{c}{n}.png", "GroundTruth/{c}{n}_Segmentation.png"),
        ("{c}/{c}{n}/images/{c}{n}.png", "{c}/{c}{n}/masks/lesion-a.png"),
    ],
)
def test_every_published_place_of_masks_is_known(draw: Draw, image: str, mask: str) -> None:
    places = [(c, n) for c in ("bening", "malignant") for n in range(4)]
    draw(*(image.format(c=c, n=n) for c, n in places))
    found = open_dataset(draw(*(mask.format(c=c, n=n) for c, n in places), mask=True))
    assert found.counts() == {"bening": 4, "malignant": 4}
    assert len(found.masks) == 8
    assert found.left_out[0].count == 8
    for item in found.items:
        (path,) = found.masks[item.ref]
        assert path.is_file()
        assert path.name.startswith(("lesion", Path(item.ref).stem))


def test_masks_of_a_smaller_size_are_masks_and_of_other_proportions_are_not(draw: Draw) -> None:
    draw("a/images/1.png", "b/images/2.png")
    root = draw("a/masks/1.png", mask=True, size=(10, 12))
    assert len(open_dataset(root)) == 2
    draw("b/masks/2.png", mask=True, size=(24, 20))
    assert [item.ref for item in open_dataset(root).items] == ["a/images/1.png", "b/images/2.png", "b/masks/2.png"]


def test_a_photograph_that_is_called_a_mask_stays_an_image(draw: Draw) -> None:
    root = draw("with_mask/1.png", "with_mask/1_mask.png", "without_mask/1.png")
    found = open_dataset(root)
    assert found.counts() == {"with_mask": 2, "without_mask": 1}
    assert not found.masks
    assert found.doubtful == ("with_mask/1_mask.png",)
    assert {item.group for item in found.items[:2]} == {"with_mask/1.png"}
    assert check(found).notes[0].startswith("1 image(s) lie where masks do")


def test_only_the_masks_of_a_mixed_set_are_taken_out(draw: Draw) -> None:
    draw("a/1.png", "a/2.png", "b/1.png", "b/1_mask.png")
    found = open_dataset(draw("a/1_mask.png", "a/2_mask.png", mask=True))
    assert [item.ref for item in found.items] == ["a/1.png", "a/2.png", "b/1.png", "b/1_mask.png"]


def test_a_mask_whose_image_is_missing_is_no_image_and_a_problem(draw: Draw) -> None:
    root = busi(draw)
    (root / "normal" / "normal (3).png").unlink()
    found = open_dataset(root)
    assert found.counts() == {"benign": 5, "normal": 4}
    assert {row.reason: row.count for row in found.left_out} == {"mask": 10, "mask-without-image": 1}
    assert any("normal (3)_mask.png" in problem for problem in check(found).problems)


def test_a_manifest_gets_the_masks_of_its_images_and_never_lists_them(draw: Draw) -> None:
    root = busi(draw)
    listed = ["benign/benign (0).png,x", "benign/benign (0)_mask.png,x", "normal/normal (1).png,y"]
    (root / "manifest.csv").write_text("\n".join(["path,class", *listed]) + "\n")
    found = open_dataset(root)
    assert [item.ref for item in found.items] == ["benign/benign (0).png", "normal/normal (1).png"]
    assert set(found.masks) == {"benign/benign (0).png", "normal/normal (1).png"}
    assert {row.reason: row.count for row in found.left_out} == {"mask": 11, "not-listed": 8}


def test_masks_are_merged_and_brought_to_the_size_of_the_image(draw: Draw, tmp_path: Path) -> None:
    one, other = np.zeros((10, 12), np.uint8), np.zeros((10, 12), np.uint8)
    one[2, 3], other[7, 8] = 1, 255
    PIL.Image.fromarray(one).save(tmp_path / "1.png")
    PIL.Image.fromarray(other).convert("RGB").save(tmp_path / "2.png")
    merged = read_mask([tmp_path / "1.png", tmp_path / "2.png"], (20, 24))
    assert merged.dtype == np.bool_
    expected = np.zeros((20, 24), bool)
    expected[4:6, 6:8] = expected[14:16, 16:18] = True
    assert np.array_equal(merged, expected)
    with pytest.raises(DataError, match="12 x 10 and its image 20 x 30"):
        read_mask([tmp_path / "1.png"], (30, 20))
    assert not read_mask([draw("m.png", mask=True, blank=True) / "m.png"], (20, 24)).any()


def test_a_blurred_mask_is_one_and_is_cut_at_half_of_its_brightest_value(draw: Draw, tmp_path: Path) -> None:
    root = draw("a/1.png", "b/2.png", size=(60, 60))
    truth = np.zeros((60, 60), np.uint8)
    truth[20:40, 10:50] = 255
    PIL.Image.fromarray(truth).save(root / "a" / "1_mask.jpg", quality=80)
    found = open_dataset(root)
    assert len(found) == 2
    assert np.array_equal(read_mask(found.masks["a/1.png"], (60, 60)), truth > 0)


def test_a_tree_of_masks_beside_the_set_is_matched_by_split_class_and_name(draw: Draw, tmp_path: Path) -> None:
    names = [f"{split}/{name}/{n}.png" for split in ("Training", "val") for name in ("a", "b") for n in range(2)]
    found = open_dataset(draw(*names))
    for ref in names[:-1]:
        path = tmp_path / "outlines" / ref.replace("Training", "train")
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("1", (24, 20)).save(path)
    masks = masks_in(tmp_path / "outlines", found)
    assert set(masks) == set(names[:-1])
    assert masks["Training/a/1.png"] == (tmp_path / "outlines" / "train" / "a" / "1.png",)


def test_a_flat_folder_of_masks_is_matched_only_by_names_that_one_image_has(draw: Draw, tmp_path: Path) -> None:
    found = open_dataset(draw("a/x1.png", "a/same.png", "b/x2.png", "b/same.png"))
    (tmp_path / "flat").mkdir()
    for name in ("x1_mask.png", "x2_segmentation.png", "same.png"):
        PIL.Image.new("1", (24, 20)).save(tmp_path / "flat" / name)
    assert set(masks_in(tmp_path / "flat", found)) == {"a/x1.png", "b/x2.png"}


def test_a_folder_without_a_mask_of_the_set_is_refused(draw: Draw, tmp_path: Path) -> None:
    found = open_dataset(draw("a/1.png", "b/2.png"))
    with pytest.raises(DataError, match="holds no mask with the name of an image"):
        masks_in(draw("a/1.png", "b/2.png"), found)
    with pytest.raises(DataError, match=r"is no folder and does not exist; a folder of masks .* Give that folder"):
        masks_in(tmp_path / "none", found)
    with pytest.raises(DataError, match="is no folder; a folder of masks"):
        masks_in(tmp_path / "set" / "a" / "1.png", found)
