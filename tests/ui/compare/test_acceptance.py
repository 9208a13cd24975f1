from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from kdlight.bundle import Bundle
from kdlight.trust.acceptance import default_bar, held_against
from kdlight.trust.monitoring import verdict_of
from kdlight.ui import waiting
from kdlight.ui.compare import acceptance
from kdlight.workers.requests import Accept
from tests.trust.test_acceptance import cases, right_but
from tests.trust.test_monitoring import BAR, record
from tests.ui.conftest import FakeTicket, button, page, said


def view(app: AppTest) -> AppTest:
    page(app, "compare")
    return app.sidebar.segmented_control[0].set_value("Accept").run()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []
    monkeypatch.setattr(waiting, "begin", lambda name, request: asked.append(request))
    return asked


def number(app: AppTest, words: str) -> Any:
    return next(field for field in app.number_input if words in field.label)


def test_the_bar_begins_with_what_must_not_be_missed(
    app: AppTest, tiny_bundle: Bundle, tmp_path: Path, begun: list[Any]
) -> None:
    view(app)
    assert not app.exception
    assert [field.label for field in app.number_input][:2] == [
        "Malignant: found, at least",
        "Malignant: left alone where it is not, at least",
    ]
    app.sidebar.text_input[0].set_value(str(tmp_path)).run()
    button(app, "Hold against the bar").click().run()
    assert begun == [Accept(begun[0].bundle, str(tmp_path), default_bar(tiny_bundle.card))]


def test_the_bar_is_the_one_that_the_person_set(app: AppTest, tmp_path: Path, begun: list[Any]) -> None:
    view(app)
    app.sidebar.text_input[0].set_value(str(tmp_path)).run()
    number(app, "Malignant: found").set_value(0.95).run()
    number(app, "Gap between").set_value(0.05).run()
    next(box for box in app.selectbox if box.label == "Whose answers count").set_value("both").run()
    button(app, "Hold against the bar").click().run()
    (asked,) = begun
    assert asked.bar.sensitivity == {"malignant": 0.95}
    assert (asked.bar.calibration, asked.bar.models) == (0.05, "both")


def test_without_a_folder_nothing_can_be_asked(app: AppTest) -> None:
    view(app)
    assert button(app, "Hold against the bar").disabled
    assert "Name the folder of your cases on the left." in said(app)


def test_the_verdict_stands_first_and_every_line_below(app: AppTest, tiny_bundle: Bundle) -> None:
    bar = default_bar(tiny_bundle.card)
    some = cases(100, right_but(2))
    lines = held_against(some, bar, tiny_bundle.card)
    found = record(cases=some, lines=lines, bar=bar, verdict=verdict_of(lines))
    app.session_state[f"ticket accept {tiny_bundle.sha256}"] = FakeTicket(found)
    text = said(view(app))
    assert not app.exception
    assert text.index("Rejected: a line of the bar is failed.") < text.index("sensitivity, student: Malignant")
    assert "kd-verdict alarm" in text
    assert found.sha256 in text
    assert acceptance._pdf(found, tiny_bundle).startswith(b"%PDF")


def test_a_record_from_before_is_gone_on_from_with_its_own_bar(app: AppTest, tmp_path: Path, begun: list[Any]) -> None:
    before = record(bar=BAR)
    view(app)
    app.sidebar.get("file_uploader")[0].upload("record.json", before.text().encode(), "application/json").run()
    assert not app.exception
    assert not app.number_input
    app.sidebar.text_input[0].set_value(str(tmp_path)).run()
    button(app, "Count later cases").click().run()
    assert [(request.bar, request.since) for request in begun] == [(None, before)]


def test_a_record_that_was_changed_is_refused(app: AppTest) -> None:
    spoiled = record().text().replace("undecided", "accepted").encode()
    view(app)
    app.sidebar.get("file_uploader")[0].upload("record.json", spoiled, "application/json").run()
    assert "was changed after it was written" in said(app)
    assert app.number_input
