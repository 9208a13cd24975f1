"""What the check of a set finds."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.data import check, open_dataset
from kdlight.data.check import difference_hash

Put = Callable[..., Path]


def test_a_clean_set_has_no_problems(shapes: Path) -> None:
    calls: list[tuple[int, int]] = []
    found = json.loads(
        json.dumps(check(open_dataset(shapes), lambda done, total: calls.append((done, total))).to_json())
    )
    assert found["ok"]
    assert found["problems"] == []
    assert found["counts"] == {"all": {"disc": 12, "ring": 12, "star": 12}}
    assert (found["images"], found["groups"]) == (36, 18)
    assert found["sizes"] == {"smallest": [32, 32], "median": [32, 32], "largest": [32, 32], "color": 0, "gray": 36}
    assert calls[-1] == (36, 36)


def test_equal_pixels_are_found_whatever_the_file(put: Put) -> None:
    folder = put("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    same = PIL.Image.open(folder / "train" / "a" / "1.png")
    same.save(folder / "test" / "b" / "again.bmp")
    found = check(open_dataset(folder))
    (twin,) = found.duplicates
    assert set(twin.paths) == {"test/b/again.bmp", "train/a/1.png"}
    assert twin.splits == ["test", "train"]
    assert twin.classes == ["a", "b"]
    assert any("the training has seen part of the test" in problem for problem in found.problems)
    assert any("label is wrong" in problem for problem in found.problems)
    assert not found.ok


def test_unreadable_files_are_listed_with_their_reason(put: Put) -> None:
    folder = put("a/1.png", "a/2.png")
    (folder / "a" / "2.png").write_text("no image")
    found = check(open_dataset(folder))
    (bad,) = found.unreadable
    assert bad.path == "a/2.png"
    assert "cannot be read" in bad.reason
    assert "1 file(s) cannot be read" in found.problems[0]


def test_groups_across_splits_and_few_images_are_said(put: Put) -> None:
    folder = put("1.png", "2.png", "3.png")
    (folder / "manifest.csv").write_text("path,class,split,group\n1.png,a,train,p\n2.png,a,test,p\n3.png,b,train,q\n")
    found = check(open_dataset(folder))
    assert found.groups_across_splits == {"p": ["test", "train"]}
    assert {"split": "test", "class": "b", "images": 0} in found.to_json()["few"]
    assert any("1 group(s) lie in more than one split" in problem for problem in found.problems)
    assert any("A split has no image of a class (b in test)" in problem for problem in found.problems)
    assert any("(a in train: 1; b in train: 1; a in test: 1)" in note for note in found.notes)
    assert "A val split is lacking: a training carves it out of train, by group." in found.notes


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("out/in/a/1.png", "out/in/a/2.png", "out/in/b/3.png"), "If a, b are classes, give {}/out/in."),
        (("only/1.png", "only/2.png"), ""),
        (("only/deep/1.png", "only/deep/2.png"), ""),
        (("train/only/1.png", "test/only/2.png"), ""),
    ],
)
def test_one_class_names_the_folders_that_may_be_the_classes(put: Put, names: tuple[str, ...], said: str) -> None:
    folder = put(*names)
    (alone,) = [problem for problem in check(open_dataset(folder)).problems if problem.startswith("There is one class")]
    assert alone.endswith(said.format(folder)) if said else "are classes" not in alone


def test_one_class_of_an_npz_has_no_folders(tmp_path: Path) -> None:
    arrays = {f"{split}_images": np.full((3, 28, 28), 9, np.uint8) for split in ("train", "test")}
    np.savez(tmp_path / "one.npz", **arrays, train_labels=np.zeros(3, np.uint8), test_labels=np.zeros(3, np.uint8))
    problems = check(open_dataset(tmp_path / "one.npz")).problems
    assert any(problem.endswith("a folder of its own.") for problem in problems)


def test_images_that_no_split_takes_are_said(put: Put) -> None:
    folder = put("1.png", "2.png", "3.png", "4.png")
    (folder / "manifest.csv").write_text("path,class,split\n1.png,a,train\n2.png,b,vla\n3.png,a,\n4.png,b,vla\n")
    problems = check(open_dataset(folder)).problems
    assert any(p.startswith("2 image(s) are in a split 'vla'; train, val, test were expected") for p in problems)
    assert any(p.startswith("1 image(s) name no split; train") for p in problems)


def test_one_class_is_said(put: Put) -> None:
    found = check(open_dataset(put("above/a/1.png", "above/b/2.png", "above/b/3.png")))
    assert any(p.startswith("There is one class, above; two or more") for p in found.problems)


def test_a_problem_names_the_first_files(put: Put) -> None:
    folder = put(*(f"a/{n}.png" for n in range(5)), "b/5.png")
    for n in range(4):
        (folder / "a" / f"{n}.png").write_text("no image")
    assert "4 file(s) cannot be read (a/0.png; a/1.png; a/2.png; ...)" in check(open_dataset(folder)).problems[0]


def test_a_class_folder_with_one_image_is_said(put: Put) -> None:
    found = check(open_dataset(put("a/1.png", "a/2.png", "a/3.png", "b/4.png")))
    assert any("Class 'b' has images of 1 group(s); 3 were expected" in problem for problem in found.problems)


@pytest.mark.parametrize("change", ["resize", "jpeg", "brighter"])
def test_a_look_alike_keeps_its_difference_hash(change: str, tmp_path: Path) -> None:
    y, x = np.mgrid[:90, :90] / 90
    picture = PIL.Image.fromarray((np.sin(7 * x) * np.cos(5 * y) * 100 + 120).astype(np.uint8))
    changed = picture.resize((180, 180)) if change == "resize" else picture
    if change == "brighter":
        changed = picture.point([min(255, v + 9) for v in range(256)])
    if change == "jpeg":
        picture.save(tmp_path / "x.jpg", quality=60)
        changed = PIL.Image.open(tmp_path / "x.jpg")
    assert (difference_hash(np.asarray(picture)) ^ difference_hash(np.asarray(changed))).bit_count() <= 1
    mirrored = np.asarray(picture)[:, ::-1]
    assert (difference_hash(np.asarray(picture)) ^ difference_hash(mirrored)).bit_count() > 20
