"""Where a bundle preprocesses a scan in stages, each can be seen before and after."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from kdlight import bundle as bundles
from kdlight.preprocessing import STAGES
from kdlight.ui.read import stages
from tests.ui.conftest import APP, FakeWorkers, said

BUTTON = "See the preprocessing"


@pytest.fixture
def staged(library: Path, workers: FakeWorkers) -> AppTest:
    """The app with a bundle whose card names two stages, and a scan on the table."""
    card = library / "tiny_mri" / "card.json"
    values = json.loads(card.read_text(encoding="utf-8"))
    values["input"]["stages"] = ["hair", "clahe"]
    card.write_text(json.dumps(values), encoding="utf-8")
    bundles.seal(library / "tiny_mri")
    app = AppTest.from_file(APP, default_timeout=60).run()
    return app.button(key="Brain MRI phantom").click().run()


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def test_a_bundle_without_stages_offers_nothing(app: AppTest) -> None:
    assert BUTTON not in labels(app.button(key="Brain MRI phantom").click().run())


def test_each_stage_is_shown_before_and_after(staged: AppTest) -> None:
    assert not staged.exception
    shown = next(b for b in staged.button if b.label == BUTTON).click().run()
    assert not shown.exception
    text = said(shown)
    assert len(re.findall("data:image/png", text)) == 2
    assert STAGES["hair"].summary in text
    assert "4. Normalized" in text


def test_how_much_a_stage_did_is_counted() -> None:
    before = np.full((10, 10, 3), 100, dtype=np.uint8)
    after = before.copy()
    after[:5, :, 1] = 130
    after[5:, :, 0] = 103
    assert "changed 50 % of the pixels, those by 30 of 255 levels" in stages.sentence("hair", before, after, 10)
    assert "nothing to do" in stages.sentence("hair", before, before, 10)
    assert "10 x 10" in stages.sentence("resize", before, before, 10)
