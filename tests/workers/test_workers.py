"""The queue and the life of the processes, with a worker that has no models."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from kdlight.explain import ExplainError
from kdlight.inference import IneligibleError
from kdlight.workers import QueueFull, RequestCancelled, Ticket, Verify, WorkerDied, WorkerError, Workers, pool
from tests.conftest import picture
from tests.workers.fake_child import Act, Lie, Mirror, Said

ROOT = Path(__file__).resolve().parents[2]
FAKE = "tests.workers.fake_child"
LONG = 60.0
"""Longer than anything here takes on a busy machine."""
STARTING = (0.0, "The reading process is starting")


@pytest.fixture(autouse=True)
def _tests_in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def workers() -> Iterator[Workers]:
    with closing(Workers(threads=1, queue=3, module=FAKE)) as started:
        yield started


def until(condition: object) -> None:
    end = time.monotonic() + LONG
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def begun(workers: Workers, words: str) -> Ticket:
    ticket = workers.submit(Act(words))
    until(lambda: ticket.begun)
    return ticket


def test_answers_come_from_one_other_process(workers: Workers) -> None:
    answers = [workers.submit(Act(f"say:{i}")).result(LONG) for i in range(3)]
    assert [a.word for a in answers] == ["0", "1", "2"]
    assert {a.pid for a in answers} == set(workers.pids) != {os.getpid()}


def test_images_cross_unchanged(workers: Workers) -> None:
    sent = picture(color=True)
    got = workers.submit(Mirror(sent)).result(LONG)
    np.testing.assert_array_equal(got.pixels, sent.pixels)
    assert (got.sha256, got.windows, got.modality) == (sent.sha256, sent.windows, sent.modality)


def test_the_queue_has_an_end_and_places(workers: Workers) -> None:
    first = begun(workers, "sleep:60")
    waiting = [workers.submit(Act(f"say:{i}")) for i in range(3)]
    assert [t.position for t in (first, *waiting)] == [0, 1, 2, 3]
    assert [t.begun for t in (first, *waiting)] == [True, False, False, False]
    with pytest.raises(QueueFull, match="3 requests wait already, as many as may"):
        workers.submit(Act("say:more"))
    waiting[0].cancel()
    assert [t.position for t in waiting] == [0, 1, 2]
    with pytest.raises(TimeoutError):
        waiting[1].result(0)
    first.cancel()
    assert [t.result(LONG).word for t in waiting[1:]] == ["1", "2"]


def test_progress_reaches_the_ticket(workers: Workers) -> None:
    ticket = begun(workers, "sleep:30")
    until(lambda: ticket.progress[0] > 0)
    assert ticket.progress[1] == "asleep"
    ticket.cancel()


def test_cancelled_work_stops_and_the_process_stays(workers: Workers) -> None:
    before = workers.submit(Act("say:a")).result(LONG).pid
    ticket = begun(workers, "sleep:600")
    ticket.cancel()
    assert ticket.done
    with pytest.raises(RequestCancelled):
        ticket.result(0)
    assert workers.submit(Act("say:b")).result(LONG) == Said("b", before)
    ticket.cancel()


def test_work_that_does_not_stop_is_killed(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GRACE", 0.1)
    ticket = begun(workers, "hang")
    time.sleep(0.3)  # it has looked for a cancel when it said that it began
    (before,) = workers.pids
    ticket.cancel()
    assert workers.submit(Act("say:next")).result(LONG).pid != before


def test_a_death_costs_one_request_only(workers: Workers) -> None:
    dead = workers.submit(Act("die"))
    after = workers.submit(Act("say:alive"))
    with pytest.raises(
        WorkerDied, match=r"ended while it worked on this \(SIGKILL\)\. A new one is starting\. Try again\."
    ):
        dead.result(LONG)
    assert after.result(LONG).word == "alive"


def test_a_worker_that_dies_idle_is_replaced(workers: Workers) -> None:
    before = workers.submit(Act("say:up")).result(LONG).pid
    os.kill(before, signal.SIGKILL)
    until(lambda: workers.pids not in ([before], []))
    assert workers.submit(Act("say:on")).result(LONG).word == "on"


def test_a_death_during_the_warm_up_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CHILD_SLOW_START", str(tmp_path / "go"))
    with closing(Workers(threads=1, module=FAKE)) as workers:
        ticket = workers.submit(Act("say:still"))
        until(lambda: ticket.progress == STARTING)
        (before,) = workers.pids
        (tmp_path / "go").touch()
        os.kill(before, signal.SIGKILL)
        answer = ticket.result(LONG)
        assert (answer.word, answer.pid != before) == ("still", True)


def test_silence_ends_a_worker() -> None:
    with closing(Workers(threads=1, module=FAKE, stall=5)) as workers:
        assert workers.submit(Act("say:up")).result(LONG).word == "up"
        silent = workers.submit(Act("hang"))
        with pytest.raises(WorkerDied, match="no sign of life for 5 s"):
            silent.result(LONG)
        assert workers.submit(Act("say:on")).result(LONG).word == "on"


def test_cancelling_during_the_warm_up_does_not_kill_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GRACE", 0.0)
    monkeypatch.setenv("FAKE_CHILD_SLOW_START", str(tmp_path / "go"))
    with closing(Workers(threads=1, module=FAKE)) as workers:
        ticket = workers.submit(Act("sleep:600"))
        until(lambda: ticket.progress == STARTING)
        (before,) = workers.pids
        ticket.cancel()
        time.sleep(0.3)
        (tmp_path / "go").touch()
        assert workers.submit(Act("say:on")).result(LONG).pid == before


def test_a_worker_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CHILD_BROKEN", "1")
    with closing(Workers(threads=1, module=FAKE)) as workers:
        until(lambda: pool.STARTS and _turned_away(workers))


def _turned_away(workers: Workers) -> bool:
    with pytest.raises(WorkerDied) as caught:
        workers.submit(Act("say:x")).result(LONG)
    return "cannot be started" in str(caught.value)


@pytest.mark.parametrize(
    ("what", "kind", "sentence"),
    [
        ("value", WorkerError, "A plain mistake."),
        ("explain", ExplainError, "No map."),
        ("reasons", IneligibleError, "One. Two. Confirm (--anyway) to read it nevertheless."),
        ("fault", WorkerError, "The reading process met a fault (KeyError); the server's log says where. Try again."),
    ],
)
def test_errors_keep_their_class_and_sentence(
    workers: Workers, what: str, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind) as caught:
        workers.submit(Act(f"raise:{what}")).result(LONG)
    assert str(caught.value) == sentence
    assert getattr(caught.value, "reasons", ("One.", "Two.")) == ("One.", "Two.")


def test_values_that_cannot_be_sent_are_refused(workers: Workers) -> None:
    with pytest.raises(WorkerError, match="A object cannot be sent"):
        workers.submit(Act(object())).result(LONG)
    assert workers.submit(Act("say:on")).result(LONG).word == "on"


def test_unknown_requests_are_refused(workers: Workers) -> None:
    with pytest.raises(WorkerError, match=r"met a fault \(KeyError\)"):
        workers.submit(Verify(Path("x"))).result(LONG)
    assert workers.submit(Act("say:on")).result(LONG).word == "on"


def test_an_answer_of_another_type_ends_the_worker_that_gave_it(workers: Workers) -> None:
    with pytest.raises(WorkerDied, match="ended while it worked on this"):
        workers.submit(Lie()).result(LONG)
    assert workers.submit(Act("say:on")).result(LONG).word == "on"


def test_processes_that_are_not_kept_start_with_the_work_and_end_after_it() -> None:
    with closing(Workers(processes=3, threads=1, module=FAKE, keep=0.2)) as workers:
        time.sleep(0.2)
        assert workers.pids == []
        running = begun(workers, "sleep:60")
        assert len(workers.pids) == 1
        assert workers.submit(Act("say:on")).result(LONG).word == "on"
        assert len(workers.pids) <= 2
        running.cancel()
        until(lambda: workers.pids == [])
        assert workers.submit(Act("say:again")).result(LONG).word == "again"


def test_two_processes_work_at_once() -> None:
    with closing(Workers(processes=2, threads=1, module=FAKE)) as workers:
        one, two = begun(workers, "sleep:60"), begun(workers, "sleep:60")
        assert not one.done
        assert not two.done
        assert len(set(workers.pids)) == 2


def test_closing_ends_everything() -> None:
    workers = Workers(threads=1, module=FAKE)
    running, waiting = begun(workers, "hang"), workers.submit(Act("say:x"))
    pids = workers.pids
    workers.close()
    workers.close()
    for ticket in (running, waiting):
        with pytest.raises(WorkerError, match="shutting down"):
            ticket.result(0)
    with pytest.raises(WorkerError, match="shut down"):
        workers.submit(Act("say:x"))
    assert not any(psutil.pid_exists(pid) for pid in pids)


SCRIPT = """
    import os, sys
    from pathlib import Path
    from kdlight.workers import Workers
    from tests.workers.fake_child import Act
    if __name__ != "__main__":
        raise SystemExit("the main module was imported again")
    workers = Workers(threads=1, module="tests.workers.fake_child")
    print(workers.submit(Act("say:x")).result(60).pid, flush=True)
    print(sorted({"torch", "sklearn", "cv2", "onnxruntime"} & set(sys.modules)), flush=True)
    workers.submit(Act("hang"))
    workers.submit(Act("say:x"))
    {end}
"""


@pytest.mark.parametrize("end", ["pass", "os._exit(0)"])
def test_the_parent_needs_no_torch_and_leaves_no_orphans(tmp_path: Path, end: str) -> None:
    script = tmp_path / "app.py"
    script.write_text(textwrap.dedent(SCRIPT.replace("{end}", end)), encoding="utf-8")
    said = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=LONG, check=True)
    pid, imported = said.stdout.split("\n")[:2]
    assert imported == "[]"
    until(lambda: not psutil.pid_exists(int(pid)))
