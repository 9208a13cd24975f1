"""What is told of speed: a benchmark with its machine, or what was measured here while it was quiet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from kdlight import bundle as bundles
from kdlight.bundle.speed import Speed
from kdlight.ui.read import opinions
from kdlight.workers import Latency, WorkerError
from tests.ui.conftest import FakeTicket, FakeWorkers, a_reading, said


def report(**changes: Any) -> dict[str, Any]:
    rows = [("teacher, torch eager", 30.0), ("teacher, ONNX Runtime", 14.0), ("student, ONNX Runtime", 2.0)]
    found = {
        "machine": {"cpu": "A <processor>", "cores": 2},
        "size": 64,
        "threads": 1,
        "runs": 50,
        "candidate": "student, ONNX Runtime",
        "baseline": "teacher, torch eager",
        "rows": [{"name": name, "p50_ms": ms} for name, ms in rows],
    }
    return found | changes


def test_the_networks_are_compared_on_one_engine() -> None:
    found = Speed.of(report())
    assert found is not None
    assert (found.teacher_ms, found.student_ms, found.same_engine) == (14.0, 2.0, True)
    assert found.times_faster == 7
    other = Speed.of(report(rows=[r for r in report()["rows"] if r["name"] != "teacher, ONNX Runtime"]))
    assert other is not None
    assert (other.times_faster, other.same_engine, other.engine) == (15, False, "torch eager")


@pytest.mark.parametrize("broken", [None, {}, report(rows=[]), report(machine={}), report(size="large")])
def test_what_is_no_report_is_no_speed(broken: Any) -> None:
    assert Speed.of(broken) is None


def test_a_speed_is_told_with_its_machine() -> None:
    recorded = opinions.speed_sentence(Speed.of(report()), here=False)
    assert recorded == (
        ", 7 x faster.",
        " Recorded on A <processor>, 2 cores: teacher 14 ms, student 2 ms (medians of 50, 1 thread, 64 px).",
    )
    assert "Measured here: teacher 14 ms" in opinions.speed_sentence(Speed.of(report()), here=True)[1]
    slower = report(
        rows=[{"name": r["name"], "p50_ms": 20.0 if "student" in r["name"] else 10.0} for r in report()["rows"]]
    )
    assert "2 x slower" in opinions.speed_sentence(Speed.of(slower), here=True)[0]
    assert "not recorded" in opinions.speed_sentence(None, here=False)[1]


@pytest.fixture
def read(app: AppTest, workers: FakeWorkers, tiny_bundle: Any) -> AppTest:
    """A reading on the page; whoever asks for times gets `report`."""

    def answer(asked: Any) -> FakeTicket:
        return FakeTicket(Speed.of(report()) if isinstance(asked, Latency) else a_reading(asked, tiny_bundle))

    workers.answer = answer
    return app.button(key="Brain MRI phantom").click().run()


def measure(app: AppTest) -> AppTest:
    return next(b for b in app.button if b.label == "Measure here").click().run()


def test_measuring_here_asks_for_quiet_at_the_bundles_own_size(read: AppTest, workers: FakeWorkers) -> None:
    assert "Its speed was not recorded." in said(read)
    measure(read)
    asked = workers.asked[-1]
    assert (asked.size, asked.quiet) == (64, True)
    assert "7 x faster.</span> Measured here" in said(read)


def test_a_busy_machine_is_refused_with_a_sentence(read: AppTest, workers: FakeWorkers) -> None:
    workers.answer = lambda asked: FakeTicket(WorkerError("Nothing was measured: other work takes 80 %."))
    measure(read)
    assert "other work takes 80 %" in read.info[0].value.replace("\\", "")
    assert not read.error
    assert "Measured here" not in said(read)


def test_nothing_is_measured_beside_a_reading(read: AppTest, workers: FakeWorkers) -> None:
    asked, workers.idle = len(workers.asked), False
    measure(read)
    assert len(workers.asked) == asked
    assert "a reading is being worked on" in read.info[0].value


def test_a_second_click_does_not_begin_again(read: AppTest, workers: FakeWorkers) -> None:
    running = FakeTicket(None, waits=True)
    workers.answer = lambda asked: running
    measure(read)
    asked = len(workers.asked)
    measure(read)
    assert len(workers.asked) == asked
    assert not running.cancelled


def test_a_card_tells_its_benchmark(app: AppTest, library: Path) -> None:
    file = library / "tiny_mri" / "card.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    card["metrics"]["latency"] = report()
    file.write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(file.parent)
    app.button(key="Brain MRI phantom").click().run()
    assert "7 x faster.</span> Recorded on A &lt;processor&gt;, 2 cores" in said(app)


def test_every_shipped_card_has_one() -> None:
    for path in bundles.shipped_folder().iterdir():
        recorded = bundles.load(path).card.metrics.latency
        assert recorded is not None, path.name
        assert recorded.same_engine
        assert recorded.runs >= 50
