"""Folders, manifests, npz files and tables of DICOM become the same kind of set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from kdlight.data import DataError, match_classes, open_dataset
from kdlight.preprocessing import InputSpec

Put = Callable[..., Path]


def test_a_folder_of_splits_names_classes_and_splits_in_any_words(put: Put) -> None:
    found = open_dataset(put("Training/b/1.png", "Training/a/2.png", "valid/a/3.png", "test/b/deep/4.png"))
    assert found.classes == ("a", "b")
    assert [(i.ref, i.label, i.split) for i in found.items] == [
        ("Training/a/2.png", 0, "train"),
        ("Training/b/1.png", 1, "train"),
        ("test/b/deep/4.png", 1, "test"),
        ("valid/a/3.png", 0, "val"),
    ]
    assert found.splits == ("train", "val", "test")
    assert found.split("validation").counts() == {"a": 1, "b": 0}
    assert found.labels.dtype == np.int64


def test_a_folder_of_classes_names_no_split_and_ignores_what_systems_leave(put: Put) -> None:
    folder = put("a/1.png", "b/2.png", "__MACOSX/a/x.png", ".hidden/y.png", "a/.DS_Store.png")
    (folder / "a" / "Thumbs.db").write_bytes(b"x")
    found = open_dataset(folder)
    assert [item.ref for item in found.items] == ["a/1.png", "b/2.png"]
    assert found.splits == ("all",)
    with pytest.raises(DataError, match="has no split 'train'"):
        found.split("train")


def test_splits_beside_classes_are_refused(put: Put) -> None:
    with pytest.raises(DataError, match="beside 'melanoma'"):
        open_dataset(put("train/a/1.png", "melanoma/2.png"))


@pytest.mark.parametrize("loose", ["1.png", "train/1.png"])
def test_an_image_outside_the_class_folders_is_not_passed_over(put: Put, loose: str) -> None:
    folder = put("train/a/2.png", "test/b/3.png")
    (folder / "README.md").write_text("what this is")
    (folder / "train" / ".hidden.png").write_bytes((folder / "train" / "a" / "2.png").read_bytes())
    assert len(open_dataset(folder)) == 2
    put(loose)
    with pytest.raises(DataError, match=r"1 image\(s\) lie loose in .*\(1\.png\)"):
        open_dataset(folder)


def test_one_class_written_in_two_ways_is_refused(put: Put) -> None:
    with pytest.raises(DataError, match=r"has classes 'Cat' and 'cat'"):
        open_dataset(put("train/Cat/1.png", "test/cat/2.png"))


def test_an_empty_class_folder_is_refused_by_name(put: Put) -> None:
    folder = put("train/a/1.png", "test/b/2.png")
    (folder / "train" / "b").mkdir()
    assert open_dataset(folder).classes == ("a", "b")
    (folder / "train" / "c").mkdir()
    with pytest.raises(DataError, match="no image of class c"):
        open_dataset(folder)


def test_a_folder_that_may_not_be_read_is_said(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    folder = put("a/1.png")
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="cannot be opened: Permission denied"):
        open_dataset(folder)


def test_a_manifest_decides_and_its_other_columns_are_ignored(put: Put) -> None:
    folder = put("x/1.png", "y/2.png", "y/unlisted.png")
    (folder / "manifest.csv").write_text("note, Path ,class,split,group\nn,x/1.png,cat,Testing,p1\n,y/2.png,dog,,\n")
    found = open_dataset(folder)
    assert [(i.ref, found.classes[i.label], i.split, i.group) for i in found.items] == [
        ("x/1.png", "cat", "test", "p1"),
        ("y/2.png", "dog", "all", "y/2.png"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\na/1.png,a\n", "no column class"),
        ("", "no column path, class"),
        ("path,class\na/1.png,a\na/2.png,\n", "line 3: class is empty"),
        ("path,class\na/1.png\n", "line 2: class is empty"),
        ("path,class\na/9.png,a\n", r"line 2: its file a/9\.png is not in"),
        ("path,class\n../secret.png,a\n", "lies outside"),
        ("path,class\n/etc/hosts,a\n", "lies outside"),
        ("path,class\na/1.png,a\na/1.png,b\n", "listed already on line 2"),
        ('path,class\n"a/1.png,a\n', "not a readable CSV"),
        ("path,class\n", "holds no labeled images"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_line(put: Put, text: str, words: str) -> None:
    folder = put("a/1.png", "a/2.png")
    (folder / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        open_dataset(folder)


def test_a_manifest_that_is_no_text_is_refused(put: Put) -> None:
    folder = put("a/1.png")
    (folder / "manifest.csv").write_bytes(b"path,class\n\xff\xfe\x00,a\n")
    with pytest.raises(DataError, match="UTF-8"):
        open_dataset(folder)


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"x")
    for path, words in ((tmp_path / "none", "does not exist"), (tmp_path / "set.zip", r"is a \.zip file")):
        with pytest.raises(DataError, match=words):
            open_dataset(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no labeled images.*Put each image into a folder"):
        open_dataset(tmp_path / "empty")
    medmnist(tmp_path / "empty" / "b.npz")
    with pytest.raises(DataError, match=r"holds no labeled images.*Give one of the sets in it: b\.npz"):
        open_dataset(tmp_path / "empty")
    (tmp_path / "far.csv").write_text("path,class\n/nowhere/1.png,a\n")
    with pytest.raises(DataError, match=r"line 2: its file /nowhere/1\.png is not there"):
        open_dataset(tmp_path / "far.csv")


def medmnist(path: Path, **changes: object) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 6), ("val", 3), ("test", 2)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    np.savez(path, **{**arrays, **changes})
    return path


def test_npz_is_read_with_names_given_or_numbered(tmp_path: Path) -> None:
    path = medmnist(tmp_path / "m.npz")
    found = open_dataset(path, classes=["malignant", "benign"])
    assert found.split("train").counts() == {"malignant": 3, "benign": 3}
    assert open_dataset(path).classes == ("0", "1")
    raw = np.load(path)["val_images"]
    rendered = found.split("val").images(InputSpec(32, fit="pad"))
    assert rendered.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(found.source.image("val/1").pixels, raw[1])


def test_npz_images_may_have_one_channel(tmp_path: Path) -> None:
    images = np.arange(6 * 28 * 28, dtype=np.uint64).astype(np.uint8).reshape(6, 28, 28, 1)
    found = open_dataset(medmnist(tmp_path / "m.npz", train_images=images))
    np.testing.assert_array_equal(found.source.image("train/5").pixels, images[5, ..., 0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_labels": np.array([{"a": 1}] * 6, dtype=object)}, "without objects"),
        ({"train_images": np.zeros((6, 28, 28), dtype=np.float32)}, "uint8"),
        ({"train_images": np.zeros((6, 28, 28, 28), dtype=np.uint8)}, "Three-dimensional"),
        ({"train_labels": np.zeros((6, 14), dtype=np.uint8)}, "14 labels for each image.*ChestMNIST"),
        ({"train_labels": np.full((6, 1), -1)}, "one whole number"),
        ({"train_labels": np.zeros((6, 1))}, "one whole number"),
    ],
)
def test_a_wrong_npz_is_refused_and_never_unpickled(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(medmnist(tmp_path / "m.npz", **changes))


def test_other_npz_files_and_wrong_names_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="holds x; train_images"):
        open_dataset(tmp_path / "other.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04broken")
    with pytest.raises(DataError, match="plain npz"):
        open_dataset(tmp_path / "broken.npz")
    with pytest.raises(DataError, match="labels 0 to 1"):
        open_dataset(medmnist(tmp_path / "m.npz"), classes=["one"])


def dicom(path: Path, values: np.ndarray) -> None:
    """A signed 16-bit CT with a rescale to HU."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = CTImageStorage, meta.MediaStorageSOPInstanceUID, "CT"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = *values.shape, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept, ds.WindowCenter, ds.WindowWidth = 2, -1000, 40, 400
    ds.PixelData = values.astype("<i2").tobytes()
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def test_a_table_of_dicom_is_read_in_modality_units_and_windowed(tmp_path: Path) -> None:
    values = np.tile(np.arange(400, 656), (256, 1))  # HU -200 to 310
    dicom(tmp_path / "one.dcm", values)
    dicom(tmp_path / "two.dcm", values[::-1, ::-1])
    (tmp_path / "table.csv").write_text(f"path,class,group\none.dcm,a,p\n{tmp_path / 'two.dcm'},b,p\n")
    found = open_dataset(tmp_path / "table.csv")
    assert found.classes == ("a", "b")
    assert set(found.groups) == {"p"}
    one = next(item for item in found.items if item.ref == "one.dcm")
    np.testing.assert_array_equal(found.source.image(one.ref).pixels, values * 2.0 - 1000)
    row = found.images(InputSpec(256))[found.items.index(one)][0, :, 0].astype(int)
    expected = np.clip((values[0] * 2.0 - 1000 + 160) / 400 * 255, 0, 255)
    assert np.abs(row - expected).max() <= 1.5
    soft = found.images(InputSpec(256, window="brain"))[found.items.index(one)][0, :, 0].astype(int)
    assert np.abs(soft - np.clip((values[0] * 2.0 - 1000) / 80 * 255, 0, 255)).max() <= 2


def test_classes_are_matched_by_name_never_by_position(put: Put) -> None:
    found = match_classes(open_dataset(put("b/1.png", "a/2.png")), ["b", "c", "a"])
    assert {i.ref: found.classes[i.label] for i in found.items} == {"b/1.png": "b", "a/2.png": "a"}
    assert found.counts() == {"b": 1, "c": 0, "a": 1}
    with pytest.raises(DataError, match=r"does not know: a; the model's are b, z \(missing here: z\)"):
        match_classes(found, ["b", "z"])
    assert open_dataset(put("a/2.png"), classes=["z", "b", "a"]).items[0].label == 2
