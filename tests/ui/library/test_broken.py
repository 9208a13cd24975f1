"""One bad bundle takes nothing from anybody: the pages stand, the others are listed, the reason is said."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.cli import main
from kdlight.ui import shelf
from tests.bundle_faults import CARDS, TEXTS, spoil, spoil_text
from tests.ui.conftest import FakeWorkers, page, said


@pytest.fixture
def spoiled(tiny_bundle: Bundle, library: Path) -> Path:
    """A library with the tiny bundle, and one more for every fault of a card."""
    for number, change in enumerate([*CARDS.values(), *TEXTS.values()]):
        folder = library / f"bad-{number}"
        shutil.copytree(tiny_bundle.path, folder, copy_function=os.link)
        for name in ("card.json", bundles.SUMS):
            (folder / name).unlink()
        if isinstance(change, bytes):
            spoil_text(folder, change)
        else:
            shutil.copy(tiny_bundle.path / "card.json", folder)
            spoil(folder, change)
    (library / "a file").touch()
    (library / "loop").symlink_to(library / "loop")
    os.makedirs(os.path.join(os.fsencode(library), b"no text \xff", b"SHA256SUMS"))
    return library


def test_the_pages_stand_whatever_the_library_holds(spoiled: Path, app: AppTest) -> None:
    assert not app.exception
    for name in ("compare", "train", "library"):
        assert not page(app, name).exception, name
    text = said(app)
    assert "Tiny MRI" in text
    assert text.count("is not listed") == len(CARDS) + len(TEXTS) + 1
    assert "for a reason of ours" not in text


def test_every_reason_is_typed(spoiled: Path) -> None:
    refused = shelf.broken()
    assert {error.reason for path, error in refused.items() if path.name.startswith("bad-")} == {"card"}
    assert [bundle.path.name for bundle in shelf.all_bundles()] == ["tiny_mri"]


def test_a_file_added_below_is_noticed(library: Path) -> None:
    assert len(shelf.all_bundles()) == 1
    (library / "tiny_mri" / "golden" / "more.txt").touch()
    assert shelf.all_bundles() == []
    (reason,) = shelf.broken().values()
    assert reason.reason == "files"


def test_a_bundle_with_two_strikes_is_named_until_it_is_verified(
    library: Path, app: AppTest, workers: FakeWorkers
) -> None:
    for _ in range(2):
        workers.strikes.add(library / "tiny_mri")
    text = said(page(app, "library"))
    assert "tiny\\_mri ended the reading process 2 times" in text
    assert "Tiny MRI" in text
    workers.strikes.clear(library / "tiny_mri")
    assert "ended the reading process" not in said(page(app, "library"))


def test_the_list_of_the_command_line_goes_on(spoiled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "bundles", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    whole = [Path(row["path"]).name for row in rows if "refused" not in row]
    sizes = [f"bad-{number}" for number, what in enumerate(CARDS) if "bytes" in what]  # which the card alone hides
    assert whole == sorted(["tiny_mri", *sizes])
    assert len(rows) == 1 + len(CARDS) + len(TEXTS) + 1
