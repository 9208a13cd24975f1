"""Several sets as one: every image once, under its own set's class, in the split that the set alone would give it."""

from pathlib import Path

import pytest

from kdlight.data import DataError, Dataset, carve, open_dataset, synthetic
from kdlight.data.merge import merge, names_of

SHARES = {"val": 0.15, "test": 0.2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two drawn sets of the same classes."""
    home = tmp_path_factory.mktemp("sets")
    return [synthetic(home / name, per_class=12, size=32) for name in ("first", "second")]


def placed(dataset: Dataset) -> dict[tuple[str, str, str], int]:
    """(path, class, split) of every item, and how often it is there."""
    root = getattr(dataset.source, "root")  # noqa: B009  Source does not promise it
    found = [(str((root / i.ref).resolve()), dataset.classes[i.label], i.split) for i in dataset.items]
    return {item: found.count(item) for item in found}


def test_a_merged_set_splits_each_set_as_that_set_alone_is_split(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(merge({p.name: open_dataset(p) for p in folders}, SHARES, 0), encoding="utf-8")
    expected: dict[tuple[str, str, str], int] = {}
    for folder in folders:
        alone = open_dataset(folder)
        lacking = {name: share for name, share in SHARES.items() if name not in alone.splits}
        one = placed(carve(alone, lacking, 0) if lacking else alone)
        expected |= {(path, f"{folder.name} {name}", split): count for (path, name, split), count in one.items()}
    assert placed(open_dataset(tmp_path / "all.csv")) == expected


def test_groups_of_two_sets_stay_apart(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(merge({p.name: open_dataset(p) for p in folders}, SHARES, 0), encoding="utf-8")
    merged = open_dataset(tmp_path / "all.csv")
    by_set = {p.name: {item.group for item in merged.items if item.group.startswith(f"{p.name}/")} for p in folders}
    assert len(by_set["first"]) == len(by_set["second"]) == len(set(merged.groups.tolist())) / 2


def test_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Two sets are called busi"):
        names_of([tmp_path / "a" / "busi", tmp_path / "b" / "busi"])
