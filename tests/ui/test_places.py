"""A page names places below the folders that its starter named, and nothing else, however the path is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from kdlight.data import DataError, open_dataset
from kdlight.storage import CONFINED
from kdlight.ui import places
from tests.ui.conftest import FakeWorkers, button, page, png

Attack = str
ATTACKS = [
    "{outside}/secret.csv",
    "{outside}",
    "{root}/../outside/secret.csv",
    "{root}/link",
    "{root}/link/secret.csv",
    "{root}/link#frames",
    "{root}/table.csv/../../outside",
    "{root}-beside",
    "/",
    "/etc/passwd",
    "/etc/passwd#binary",
    "/proc/self/environ",
    "~root",
    "~nobody-there/x",
    ".",
    "..",
    "file:///etc/passwd",
    "\0",
    "{root}/\0",
    "x" * 5000,
    "/" + "../" * 40 + "etc/passwd",
]


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A folder that the starter named, and one beside it with a secret."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "set" / "cat", outside, tmp_path / "root-beside"):
        folder.mkdir(parents=True)
    (outside / "secret.csv").write_text("name,born\nDoe^Jane,1970\n", encoding="utf-8")
    (outside / "secret.png").write_bytes(png())
    (root / "set" / "cat" / "1.png").write_bytes(png())
    (root / "link").symlink_to(outside)
    monkeypatch.setenv(places.DATA, str(root))
    return {"root": str(root), "outside": str(outside)}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_place_elsewhere_is_refused_alike_whether_or_not_it_is_there(rooms: dict[str, str], attack: Attack) -> None:
    with pytest.raises(places.PlaceError) as refused:
        places.resolve(attack.format(**rooms))
    for told in ("secret", "passwd", "beside", "environ", "outside", "Doe"):
        assert told not in str(refused.value)


def test_places_inside_are_taken_with_links_followed(rooms: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(rooms["root"])
    (root / "shortcut").symlink_to(root / "set")
    assert places.resolve(f"{root}/shortcut") == f"{root}/set"
    assert places.resolve(f"{root}/shortcut#frames") == f"{root}/set#frames"
    assert places.resolve(f"{root}/not there") == f"{root}/not there"
    (root / "a#b").mkdir()
    assert places.resolve(f"{root}/a#b") == f"{root}/a#b"
    monkeypatch.setenv(places.DATA, os.pathsep.join([str(root), rooms["outside"]]))
    assert places.resolve(f"{root}/link/secret.csv") == f"{rooms['outside']}/secret.csv"


def test_by_default_only_this_machine_may_name_places_in_its_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(places.DATA, raising=False)
    for address, opened in (("127.0.0.1", [Path.home().resolve()]), ("localhost", [Path.home().resolve()])):
        monkeypatch.setattr(st, "get_option", lambda name, value=address: value)
        assert places.roots() == opened
    for open_to_all in ("0.0.0.0", None, "10.0.0.5", ""):
        monkeypatch.setattr(st, "get_option", lambda name, value=open_to_all: value)
        assert places.roots() == []
        with pytest.raises(places.PlaceError, match="it may look nowhere"):
            places.resolve("~")


def test_compare_measures_nothing_beside_a_place_that_it_may_not_open(
    app: AppTest, rooms: dict[str, str], workers: FakeWorkers
) -> None:
    compare = page(app, "compare")
    for key in ("compare folder widget", "compare outlines widget"):
        field = compare.text_input(key=key)
        field.set_value(f"{rooms['outside']}/secret.csv").run()
        assert "The app may not look there" in compare.sidebar.error[0].value
        assert not [one for one in compare.button if one.label == "Measure"]
        field = compare.text_input(key=key)
        field.set_value("").run()
    assert button(compare, "Measure")
    assert workers.asked == []


@pytest.mark.parametrize(
    "ref", ["../outside/secret.png", "{outside}/secret.png", "{outside}/none.png", "link/secret.png"]
)
def test_in_the_app_no_table_and_no_link_leads_out_of_a_set(
    rooms: dict[str, str], monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    table = Path(rooms["root"]) / "table.csv"
    table.write_text(f"path,class\n{ref.format(**rooms)},cat\nset/cat/1.png,dog\n", encoding="utf-8")
    monkeypatch.setenv(CONFINED, "1")
    with pytest.raises(DataError, match="inside") as refused:
        open_dataset(table)
    assert "secret" not in str(refused.value)
    monkeypatch.delenv(CONFINED)
    if "none" not in ref:
        assert len(open_dataset(table).items) == 2  # the command line takes any path


@pytest.mark.parametrize("target", ["secret.png", ""])
def test_in_the_app_no_folder_lends_another_ones_files(
    rooms: dict[str, str], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (Path(rooms["root"]) / "set" / "dog").mkdir()
    place = Path(rooms["root"]) / "set" / "dog" / ("2.png" if target else "more")
    place.symlink_to(Path(rooms["outside"]) / target)
    assert len(open_dataset(Path(rooms["root"]) / "set").items) == 2
    monkeypatch.setenv(CONFINED, "1")
    with pytest.raises(DataError, match="lies outside it"):
        open_dataset(Path(rooms["root"]) / "set")


@pytest.mark.parametrize("text", ["name,born\nDoe^Jane,1970\n", "Doe^Jane\x80,1970\n", 'path,class\n"Doe^Jane,a\n'])
def test_what_is_no_table_of_images_is_never_quoted(tmp_path: Path, text: str) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as refused:
        open_dataset(table)
    assert not [
        told for told in ("born", "Doe", "1970", "x80") if told in str(refused.value).lower().replace("doe", "Doe")
    ]


def test_the_app_confines_what_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFINED, raising=False)
    places.confine()
    confined: Any = os.environ.pop(CONFINED)
    assert confined == "1"
