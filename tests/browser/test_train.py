"""Train in a real browser: a run that goes on by itself, ends, is resumed, and is deleted after a question."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright", reason="playwright is missing; make browser-tests brings it")

from playwright.sync_api import expect

from kdlight import runs
from kdlight.contracts.recipe import read_recipe, shipped
from kdlight.ui import sessions
from kdlight.ui.train import owner
from tests.epochs import epoch

if TYPE_CHECKING:
    from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def run(home: Path) -> Iterator[runs.Run]:
    """A run that was stopped after one epoch of its teacher."""
    made = runs.create(read_recipe(shipped()["kdlight-synthetic"]), root=home / "runs")
    made.append(epoch("teacher", 1, 2, seconds=3.0))
    made.update(state="stopped", phase="teacher", message="Stopped by request.", started=time.time() - 60)
    yield made
    if made.path.is_dir():
        if made.live():
            runs.stop(made)
        runs.delete(made)


def opened(visit: Callable[..., Visit], run: runs.Run) -> Visit:
    seen = visit()
    if not (run.path / owner.OWNER).exists():
        secret = next(one["value"] for one in seen.page.context.cookies() if one["name"] == sessions.COOKIE)
        (run.path / owner.OWNER).write_text(hashlib.sha256(secret.encode()).hexdigest()[:32], encoding="utf-8")
    seen.go("Train")
    seen.page.get_by_role("button", name=re.compile("Synthetic shapes")).first.click()
    expect(seen.page.get_by_text("Stopped while training the teacher")).to_be_visible()
    assert run.name in seen.page.url
    return seen


def test_a_resumed_run_moves_without_a_reload(visit: Callable[..., Visit], run: runs.Run) -> None:
    page = opened(visit, run).page
    page.get_by_role("button", name="Resume").dblclick()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.get_by_text(re.compile("Training the (teacher|student)"))).to_be_visible()
    expect(page.get_by_text(re.compile("Training the student"))).to_be_visible()
    page.get_by_role("button", name="Stop").dblclick()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.get_by_text(re.compile("only a (queued|stopped)"))).to_have_count(0)
    assert run.status().state == "stopped"


def test_two_windows_agree_on_a_run(visit: Callable[..., Visit], run: runs.Run) -> None:
    first, second = opened(visit, run).page, opened(visit, run).page
    first.get_by_role("button", name="Delete this run").click()
    asked = first.get_by_role("dialog")
    expect(asked).to_contain_text("Synthetic shapes")
    expect(asked).to_contain_text("kB in all")
    assert run.path.is_dir()
    first.get_by_role("button", name="Delete it").click()
    expect(asked).to_have_count(0)
    expect(first.get_by_role("button", name="Start training")).to_be_visible()
    expect(first.get_by_text("The run is deleted.")).to_be_visible()
    expect(second.get_by_text("That run is no longer on this machine.")).to_be_visible()
    expect(second.get_by_role("button", name="Start training")).to_be_visible()
    assert not run.path.exists()


def test_the_form_outlives_its_page(visit: Callable[..., Visit], tmp_path: Path) -> None:
    seen = visit()
    seen.go("Train")
    page = seen.page
    page.get_by_text("My images").click()
    folder = page.get_by_role("textbox", name="Folder, .npz or .csv on this machine")
    folder.fill(str(tmp_path))
    folder.press("Enter")
    expect(page.get_by_text("Name a labeled set to go on.")).to_have_count(0)
    seen.go("Library")
    expect(page.get_by_text("Trained pairs on this machine")).to_be_visible()
    seen.go("Train")
    expect(folder).to_have_value(str(tmp_path))


@pytest.mark.parametrize("apart", [0.06, 0.3])
def test_two_quick_clicks_on_start_start_one_run(visit: Callable[..., Visit], home: Path, apart: float) -> None:
    before = {run.name for run in runs.list_runs(home / "runs")[0]}
    seen = visit()
    seen.go("Train")
    page = seen.page
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_visible()
    expect(page.get_by_text("Looking for the published weights")).to_be_hidden()
    start.click()  # hits the button even where a line above has just moved it
    time.sleep(apart)
    page.mouse.down()  # the second click, where the pointer is
    page.mouse.up()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    new = [run for run in runs.list_runs(home / "runs")[0] if run.name not in before]
    assert len(new) == 1
    runs.delete(new[0])
