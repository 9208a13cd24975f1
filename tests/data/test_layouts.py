"""What folders, links, names and frames say: what is in the set, in which split and group, and what is left out."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.data import DataError, check, match_classes, open_dataset
from kdlight.data.dataset import Dataset, Structure, split_word
from kdlight.data.levels import group_level
from kdlight.data.splits import parted, straddling
from kdlight.preprocessing import InputSpec

Put = Callable[..., Path]


def left_out(found: Dataset) -> dict[str, int]:
    return {row.reason: row.count for row in found.left_out}


# --- what is no image -----------------------------------------------------------------------------------------------

JUNK = [
    "a/.DS_Store",
    "a/._1.png",
    "a/Thumbs.db",
    "a/Thumbs.db:encryptable",
    "a/Icon\r",
    "a/desktop.ini",
    "a/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
    "@eaDir/x/SYNOPHOTO_THUMB_M.jpg",
    "$RECYCLE.BIN/S-1-5/$R1.png",
    "__MACOSX/a/._1.png",
    "#recycle/1.png",
    "System Volume Information/x",
    "a/.ipynb_checkpoints/1-checkpoint.png",
]


def test_what_systems_leave_is_left_out_and_counted(put: Put) -> None:
    root = put("a/1.png", "b/2.png")
    for ref in JUNK:
        (root / ref).parent.mkdir(parents=True, exist_ok=True)
        (root / ref).write_bytes((root / "a" / "1.png").read_bytes())
    found = open_dataset(root)
    assert [item.ref for item in found.items] == ["a/1.png", "b/2.png"]
    assert left_out(found) == {"system": len(JUNK)}


@pytest.mark.parametrize("name", ["DICOMDIR", "dicomdir"])
def test_a_dicomdir_is_said_for_what_it_is(put: Put, name: str) -> None:
    root = put("a/1.png", "b/2.png")
    (root / name).write_bytes((root / "a" / "1.png").read_bytes())
    found = open_dataset(root)
    assert left_out(found) == {"dicomdir": 1}
    said = (
        f"1 DICOMDIR file(s) are left out: each lists the files of a DICOM folder or disc and holds no image ({name})."
    )
    assert check(found).notes[0] == said


def test_a_folder_of_images_may_be_called_dicomdir(put: Put) -> None:
    found = open_dataset(put("a/DICOMDIR/1.png", "b/2.png"))
    assert ([item.ref for item in found.items], found.left_out) == (["a/DICOMDIR/1.png", "b/2.png"], ())


def test_files_that_are_no_images_are_left_out_unless_they_are_meant_as_such(put: Put) -> None:
    root = put("a/1.png", "b/2.png")
    for ref in ("a/README.txt", "a/labels.csv", "b/Icon", "notes.xlsx", "docs/paper.pdf"):
        (root / ref).parent.mkdir(parents=True, exist_ok=True)
        (root / ref).write_text("words")
    (root / "a" / "no_ending").write_bytes((root / "a" / "1.png").read_bytes())
    (root / "b" / ".hidden.png").write_bytes(b"")
    (root / "b" / "empty.png").write_bytes(b"")
    (root / "b" / "cine.gif").write_bytes(b"GIF89a" + bytes(50))
    found = open_dataset(root)
    assert [i.ref for i in found.items] == ["a/1.png", "a/no_ending", "b/2.png", "b/cine.gif", "b/empty.png"]
    assert left_out(found) == {"hidden": 1, "not-an-image": 5}
    checked = check(found)
    assert [one.path for one in checked.unreadable] == ["b/cine.gif", "b/empty.png"]
    assert any(note.startswith("5 file(s) that are no images") for note in checked.notes)


# --- splits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Training", "train"),
        ("TRAIN", "train"),
        ("train_set", "train"),
        ("valid", "val"),
        ("Validation", "val"),
        ("dev", "val"),
        ("val_images", "val"),
        ("Testing", "test"),
        ("test-data", "test"),
        ("trained", None),
        ("contest", None),
        ("testis", None),
        ("all", None),
    ],
)
def test_people_call_their_splits_many_things(name: str, split: str | None) -> None:
    assert split_word(name) == split


def test_two_folders_of_one_split_are_refused(put: Put) -> None:
    with pytest.raises(DataError, match="val and valid, which are all the val split"):
        open_dataset(put("train/a/1.png", "val/a/2.png", "valid/a/3.png"))


def test_two_folders_of_one_split_in_a_class_are_refused(put: Put) -> None:
    with pytest.raises(DataError, match="a holds dev and val, which are all the val split"):
        open_dataset(put("a/train/1.png", "a/val/2.png", "a/dev/3.png", "b/Train/4.png"))


def test_splits_in_the_classes_are_given_splits(put: Put) -> None:
    names = [f"{name}/{split}/{name}{n}.png" for name in "ab" for split in ("Train", "test") for n in range(6)]
    found = open_dataset(put(*names))
    assert {s: found.split(s).counts() for s in found.splits} == {
        "train": {"a": 6, "b": 6},
        "test": {"a": 6, "b": 6},
    }
    given = {item.ref for item in found.split("test").items}
    assert {item.ref for item in parted(found, {"val": 0.2, "test": 0.2}, 0).split("test").items} == given
    assert check(found).structure == Structure("folders in classes", "file")
    with pytest.raises(DataError, match=r"1 image\(s\) of 'a' lie in 'more' beside them"):
        open_dataset(put("a/more/1.png"))


# --- patients -------------------------------------------------------------------------------------------------------


def test_patients_below_the_classes_are_groups(put: Put) -> None:
    names = [
        f"{name}/SOB/adenosis/SOB_{name[0]}_14-{patient:05d}/40X/{n}.png"
        for name in ("benign", "malignant")
        for patient in range(6)
        for n in range(3)
    ]
    found = open_dataset(put(*names))
    assert len(set(found.groups)) == 12
    carved = parted(found, {"val": 0.2, "test": 0.2}, seed=0)
    assert straddling(carved) == {}
    assert "12 groups" in check(found).notes[0]
    assert check(found).structure.groups == "folders in classes"


def test_one_patient_in_two_classes_or_splits_is_one_group(put: Put) -> None:
    found = open_dataset(put(*(f"{name}/p{n}/1.png" for name in "ab" for n in range(4))))
    assert len(set(found.groups)) == 4
    put("train/a/p1/1.png", "test/a/p1/2.png", "train/b/p2/3.png")
    with pytest.raises(DataError, match=r"1 groups .* are in more than one split"):
        parted(open_dataset(_only(put, "train", "test")), {"val": 0.5}, 0)


def _only(put: Put, *names: str) -> Path:
    root = put()
    for path in list(root.iterdir()):
        if path.name not in names:
            path.rename(root.parent / path.name)
    return root


def test_all_of_a_patients_visits_are_one_group(put: Put) -> None:
    names = [
        f"{c}/patient{p}/study{s}/{n}.png" for c, p in zip("aabb", range(4), strict=True) for s in (1, 2) for n in "xy"
    ]
    assert set(open_dataset(put(*names)).groups) == {f"patient{p}" for p in range(4)}


@pytest.mark.parametrize("folders", [("2019", "2020"), ("site1", "site2"), ("2019",), ("1", "2", "3")])
def test_a_few_numbers_are_no_patients_where_the_splits_need_more(put: Put, folders: tuple[str, ...]) -> None:
    """Class b has fewer of them than there are splits; a set split by them would lack b somewhere."""
    names = [f"a/{folder}/{n}.png" for folder in folders for n in range(6)]
    root = put(*names, *(f"b/{folder}/{n}.png" for folder in (folders[0], "2020")[:2] for n in range(6)))
    found = open_dataset(root)
    assert len(set(found.groups)) == len(found)
    assert (found.structure.groups, found.not_patients) == ("file", tuple(sorted({*folders, "2020"})))
    assert set(parted(found, {"val": 0.2, "test": 0.2}, 0).splits) == {"train", "val", "test"}
    said = check(found)
    assert said.not_patients == found.not_patients
    assert "not taken for patients" in said.notes[0]
    assert "manifest.csv" in said.notes[0]
    assert not any("group(s)" in problem for problem in said.problems)


def test_a_manifest_says_that_a_few_numbers_are_patients(put: Put) -> None:
    root = put(*(f"{name}/{year}/{n}.png" for name in "ab" for year in (2019, 2020) for n in range(3)))
    lines = [f"{p.relative_to(root)},{p.parts[-3]},,{p.parts[-2]}" for p in sorted(root.rglob("*.png"))]
    (root / "manifest.csv").write_text("path,class,split,group\n" + "\n".join(lines))
    found = open_dataset(root)
    assert (set(found.groups), found.not_patients) == ({"2019", "2020"}, ())


def test_patients_below_the_years_are_groups(put: Put) -> None:
    root = put(
        *(f"{name}/{year}/p{n}/{k}.png" for name in "ab" for year in (2019, 2020) for n in range(4) for k in "xy")
    )
    found = open_dataset(root)
    assert (set(found.groups), found.not_patients) == ({f"p{n}" for n in range(4)}, ("2019", "2020"))


@pytest.mark.parametrize("folders", [[f"patient {n}" for n in range(5)], [f"{n:03d}" for n in range(14)]])
def test_patients_stay_patients_where_one_class_has_few(put: Put, folders: list[str]) -> None:
    """They are named as such, or are many: to split their images would measure what was learned."""
    found = open_dataset(put(*(f"a/{name}/{n}.png" for name in folders for n in "xy"), f"b/{folders[0]}/z.png"))
    assert (set(found.groups), found.not_patients) == (set(folders), ())
    assert any("1 group(s)" in problem for problem in check(found).problems)


@pytest.mark.parametrize("split", ["", "train/"])
def test_patients_above_the_classes_are_groups_and_no_classes(put: Put, split: str) -> None:
    names = [f"{split}{patient}/{name}/{n}.png" for patient in (8863, 8864, 9135, 9291) for name in "01" for n in "xy"]
    found = open_dataset(put(*names))
    assert found.counts() == {"0": 8, "1": 8}
    assert set(found.groups) == {"8863", "8864", "9135", "9291"}
    assert check(found).structure.groups == "folders above classes"
    assert "4 groups" in check(found).notes[0]


def test_classes_that_share_kinds_of_views_stay_classes(put: Put) -> None:
    found = open_dataset(
        put(*(f"grade{g}/{side}/{n}.png" for g in range(5) for side in ("left", "right") for n in "xy"))
    )
    assert found.classes == tuple(f"grade{g}" for g in range(5))


@pytest.mark.parametrize(
    ("rows", "level"),
    [
        ([("40X",), ("100X",)], None),
        ([("adenosis",), ("fibroadenoma",)], None),
        ([("images_001",), ("images_002",)], None),
        ([("SOB", "1"), ("SOB", "2")], 1),
        ([("left", "p1"), ("right", "p1"), ("left", "p2")], 1),
        ([(name,) for name in "abcdefghijkl"], 0),
        ([("case a",), ("case b",)], 0),
        ([("p1",), (), ("p2",)], 0),
        ([(), ()], None),
    ],
)
def test_which_folders_are_patients(rows: list[tuple[str, ...]], level: int | None) -> None:
    assert group_level(rows) == level


# --- links ----------------------------------------------------------------------------------------------------------


def test_linked_folders_are_followed_once_and_loops_are_cut(put: Put, tmp_path: Path) -> None:
    root = put("a/1.png", "b/2.png", "../store/deep/3.png", "../store/4.png")
    (root / "b" / "more").symlink_to(tmp_path / "store")
    (root / "a" / "loop").symlink_to(root)
    (root / "b" / "again").symlink_to(tmp_path / "store" / "deep")
    (root / "a" / "gone.png").symlink_to(tmp_path / "nothing.png")
    (root / "a" / "itself").symlink_to(root / "a" / "itself")
    found = open_dataset(root)
    assert [i.ref for i in found.items] == ["a/1.png", "b/2.png", "b/again/3.png", "b/more/4.png"]
    assert left_out(found) == {"link": 4}


def test_a_link_into_another_class_gives_no_image_two_labels(put: Put) -> None:
    root = put("a/1.png", "b/2.png")
    (root / "a" / "other").symlink_to(root / "b")
    assert [(i.ref, i.label) for i in open_dataset(root).items] == [("a/1.png", 0), ("b/2.png", 1)]


def test_a_class_folder_may_be_a_link(put: Put, tmp_path: Path) -> None:
    root = put("a/1.png", "../store/2.png")
    (root / "b").symlink_to(tmp_path / "store")
    assert open_dataset(root).counts() == {"a": 1, "b": 1}


# --- names ----------------------------------------------------------------------------------------------------------

NFC, NFD = (unicodedata.normalize(form, "Läsion") for form in ("NFC", "NFD"))


def test_two_unicode_forms_of_a_class_are_one_class(put: Put) -> None:
    found = open_dataset(put(f"train/{NFC}/1.png", f"test/{NFD}/2.png", "train/b/3.png", "test/b/4.png"))
    assert found.classes == (NFC, "b")
    assert found.split("test").counts() == {NFC: 1, "b": 1}
    assert match_classes(found, ["b", NFD]).counts() == {"b": 2, NFD: 2}


def test_two_unicode_forms_beside_each_other_are_one_class_and_one_patient(put: Put) -> None:
    found = open_dataset(put(f"{NFC}/{NFC}1/1.png", f"{NFD}/{NFD}1/2.png", "b/p2/3.png"))
    assert found.counts() == {NFC: 2, "b": 1}
    assert set(found.groups) == {f"{NFC}1", "p2"}


def test_a_space_after_a_class_name_is_dropped_and_two_ways_are_refused(put: Put) -> None:
    assert open_dataset(put("cat /1.png", "dog/2.png")).classes == ("cat", "dog")
    with pytest.raises(DataError, match="has classes 'cat' and 'cat '"):
        open_dataset(put("cat/3.png"))


def test_file_names_that_are_not_utf8_are_read(put: Put) -> None:
    root = put("a/1.png", "b/2.png")
    odd = os.fsdecode(b"caf\xe9.png")
    (root / "a" / "1.png").rename(root / "a" / odd)
    found = open_dataset(root)
    assert [item.ref for item in found.items] == ["a/caf\\xe9.png", "b/2.png"]
    assert found.images(InputSpec(32))[0].max() == 10
    assert check(found).unreadable == []
    (root / "a" / odd).write_bytes(b"broken")
    (bad,) = check(open_dataset(root)).unreadable
    assert bad.path == "a/caf\\xe9.png"
    assert "caf\\xe9.png cannot be read" in bad.reason


def test_a_class_folder_that_is_not_utf8_is_named(put: Put) -> None:
    root = put("a/1.png", "b/2.png")
    (root / "a").rename(root / os.fsdecode(b"l\xe4sion"))
    with pytest.raises(DataError, match=r"l\\\\xe4sion', whose name is not UTF-8"):
        open_dataset(root)


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfpath;class;split\r\na\\1.png;x, y;train\r\nb\\2.png;z;test\r\n",
        b"path\tclass\tsplit\na/1.png\tx, y\ttrain\nb/2.png\tz\ttest\n",
        'path,class,split\na/1.png,"x, y",train\nb/2.png,z,test\n'.encode("utf-16"),
    ],
)
def test_tables_as_spreadsheets_write_them(put: Put, data: bytes) -> None:
    root = put("a/1.png", "b/2.png")
    (root / "manifest.csv").write_bytes(data)
    found = open_dataset(root)
    assert [(i.ref, found.classes[i.label], i.split) for i in found.items] == [
        ("a/1.png", "x, y", "train"),
        ("b/2.png", "z", "test"),
    ]


def test_a_table_finds_a_file_whose_name_has_the_other_unicode_form(put: Put) -> None:
    root = put(f"{NFD}/1.png", "b/2.png")
    (root / "manifest.csv").write_text(f"path,class\n{NFC}/1.png,a\nb/2.png,b\n", encoding="utf-8")
    assert sorted(item.ref for item in open_dataset(root).items) == sorted([f"{NFD}/1.png", "b/2.png"])
    assert open_dataset(root).images(InputSpec(32)).shape[0] == 2


# --- frames ---------------------------------------------------------------------------------------------------------


def test_frames_are_said_and_left_out_or_used_as_one_group(put: Put) -> None:
    root = put("a/1.png", "b/2.png")
    pages = [PIL.Image.fromarray(np.full((8, 6), shade, np.uint8)) for shade in (40, 50, 60)]
    pages[0].save(root / "b" / "cine.tif", save_all=True, append_images=pages[1:])
    found = open_dataset(root)
    assert left_out(found) == {"frames": 2}
    assert found.images(InputSpec(32))[:, 0, 0, 0].tolist() == [10, 11, 40]
    assert check(found).notes[0].startswith("2 frame(s) are left out: of a file of several frames the first")
    every = open_dataset(f"{root}#frames")
    assert [i.ref for i in every.items] == ["a/1.png", "b/2.png", "b/cine.tif#1", "b/cine.tif#2", "b/cine.tif#3"]
    assert {i.group for i in every.items[2:]} == {"b/cine.tif"}
    assert every.images(InputSpec(32))[2:, 0, 0, 0].tolist() == [40, 50, 60]
    assert not every.left_out


def test_frames_of_dicom_are_counted_from_the_header(put: Put) -> None:
    from pydicom.data import get_testdata_file

    root = put("a/1.png")
    (root / "b").mkdir()
    (root / "b" / "us").write_bytes(Path(str(get_testdata_file("rtdose.dcm"))).read_bytes())
    assert left_out(open_dataset(root)) == {"frames": 14}
