"""The columns of a manifest by which images are counted apart."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.data import Dataset, open_dataset
from kdlight.trust.columns import columns, known_as, subgroups


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """60 images of 4 patients: sex, age, a scanner that is rare once, a note of each."""
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "class", "group", "Gender", "Age", "scanner", "note", "dose"])
        for i in range(60):
            PIL.Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
            scanner = "A" if i < 30 else "B" if i < 57 else "C"
            sex = ("f", "m", "")[i % 3]
            table.writerow([f"{i}.png", "ab"[i % 2], f"p{i // 15}", sex, 20 + i, scanner, f"note {i}", i / 10])
    return open_dataset(tmp_path)


def test_columns_part_the_images_by_what_the_table_says(dataset: Dataset) -> None:
    found = columns(dataset)
    assert set(found) == {"gender", "age", "scanner", "dose"}
    number = np.array([int(Path(item.ref).stem) for item in dataset.items])
    assert (found["gender"] == np.array(["f", "m", ""])[number % 3]).all()
    assert {value: int((found["age"] == value).sum()) for value in set(found["age"])} == {
        "20 to 39": 20,
        "40 to 59": 20,
        "60 to 79": 20,
    }
    assert set(found["scanner"]) == {"A", "B", ""}  # three images of C are too few
    assert sorted(np.unique(found["dose"].astype(str), return_counts=True)[1]) == [20, 20, 20]


def test_only_what_may_be_unfair_is_a_subgroup(dataset: Dataset) -> None:
    assert set(subgroups(dataset)) == {"sex", "age", "scanner"}
    assert known_as("Fitzpatrick_Skin-Type") == "skin tone"
    assert known_as("note") is None


def test_a_column_that_names_patients_is_none(dataset: Dataset, tmp_path: Path) -> None:
    table = (tmp_path / "manifest.csv").read_text().splitlines()
    named = [f"{line},{'name' if i == 0 else 'patient ' + line.split(',')[2]}" for i, line in enumerate(table)]
    (tmp_path / "manifest.csv").write_text("\n".join(named))
    assert "name" not in columns(open_dataset(tmp_path))


def test_a_set_without_a_table_has_none(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        PIL.Image.new("L", (8, 8)).save(tmp_path / name / "0.png")
    assert columns(open_dataset(tmp_path)) == {}
