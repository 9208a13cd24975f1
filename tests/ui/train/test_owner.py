"""Whose run it is: its browser acts at once, every other one only after the word for what it wants."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from kdlight import runs
from kdlight.ui import sessions
from kdlight.ui.train import owner
from tests.ui.conftest import button
from tests.ui.train.test_train import a_run, open_run, train  # noqa: F401

VERBS = [("Stop", "stop", "running"), ("Resume", "resume", "stopped"), ("Delete this run", "delete", "failed")]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to runs."""
    found: list[str] = []
    for verb in ("stop", "resume", "delete"):
        monkeypatch.setattr(runs, verb, lambda run, verb=verb: found.append(verb))
    return found


@pytest.mark.parametrize(("label", "verb", "state"), VERBS)
@pytest.mark.parametrize("other", ["another browser", ""])
def test_another_browser_must_say_so_in_words(
    train: AppTest,  # noqa: F811
    done: list[str],
    monkeypatch: pytest.MonkeyPatch,
    label: str,
    verb: str,
    state: str,
    other: str,
) -> None:
    run = a_run(state, live=state == "running")
    monkeypatch.setattr(sessions, "browser", lambda: other)
    open_run(train, run)
    button(train, label).click().run()
    assert done == []
    assert "started in another browser or on the command line" in train.warning[-1].value
    for word in ("", "yes", "delete " * 2):
        train.text_input(key=f"word to {verb}").set_value(word).run()
        train.button(key="all the same").click().run()
        assert done == []
    train.text_input(key=f"word to {verb}").set_value(f" {verb.upper()} ").run()
    train.button(key="all the same").click().run()
    assert done == [verb]
    assert not train.exception


@pytest.mark.parametrize(("label", "verb", "state"), VERBS[:2])
def test_its_own_browser_acts_at_once(
    train: AppTest,  # noqa: F811
    done: list[str],
    label: str,
    verb: str,
    state: str,
) -> None:
    open_run(train, a_run(state, live=state == "running"))
    button(train, label).click().run()
    assert done == [verb]


def test_a_question_is_left_and_stands_beside_its_own_run_only(
    train: AppTest,  # noqa: F811
    done: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, other = a_run("stopped"), a_run("stopped")
    monkeypatch.setattr(sessions, "browser", lambda: "another browser")
    open_run(train, run)
    button(train, "Resume").click().run()
    open_run(train, other)
    assert not [one for one in train.text_input if one.label == "Write resume"]
    open_run(train, run)
    button(train, "Leave it").click().run()
    assert not [one for one in train.text_input if one.label == "Write resume"]
    assert done == []


def test_a_run_keeps_a_digest_and_no_secret(train: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.undo()
    secret = "a secret of a browser"
    monkeypatch.setattr(sessions.st.context.__class__, "cookies", {sessions.COOKIE: secret})
    assert len(sessions.browser()) == 32
    assert secret not in sessions.browser()
    monkeypatch.setattr(sessions.st.context.__class__, "cookies", {})
    assert sessions.browser() == ""


def test_one_without_cookies_owns_nothing(train: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    run = a_run("stopped")
    assert owner.is_own(run)
    monkeypatch.setattr(sessions, "browser", lambda: "")
    assert not owner.is_own(run)
    (run.path / owner.OWNER).write_bytes(b"")
    owner.claim(run, sessions.browser())
    assert (run.path / owner.OWNER).read_bytes() == b""
    assert not owner.is_own(run)
