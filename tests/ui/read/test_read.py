from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from kdlight import images
from kdlight.bundle import Bundle
from kdlight.explain import DEFAULT, EXPLAINERS
from kdlight.inference import IneligibleError
from kdlight.ui.read import viewer
from kdlight.workers import QueueFull, WorkerDied
from tests.ui.conftest import APP, FakeTicket, FakeWorkers, a_reading, above, button, page, said, sample, upload

BRAIN, CHEST = (
    next(s for s in images.samples() if s.name == name).data for name in ("Brain MRI phantom", "Chest CT phantom")
)


def test_before_a_scan_the_page_says_what_to_do_and_what_it_keeps(app: AppTest, workers: FakeWorkers) -> None:
    assert not app.exception
    text = said(app)
    assert "One scan, two opinions" in text
    assert "nothing is written to disk" in text
    assert "Research and teaching use only" in text
    assert {s.name for s in images.samples()} <= {b.key for b in app.button}
    assert workers.asked == []


def test_a_scan_gets_two_opinions_with_their_cost(app: AppTest, workers: FakeWorkers) -> None:
    text = said(upload(app, BRAIN))
    assert "They agree: Malignant." in text
    assert "70 %" in text
    assert "90 %" in text
    assert "Its speed was not recorded." in text
    assert " ms" not in text
    assert "MRI · 320 x 320 · 12 bit" in text
    assert "header names removed" in text
    assert "Tested on 60 held-back images: balanced accuracy teacher 0.50 [0.40, 0.60]" in text
    assert "Set at 90 %: Malignant and Normal" in text
    assert "must not miss" in text
    assert len(workers.asked) == 1
    assert workers.asked[0].modality == "mri"
    assert workers.asked[0].explain is None


def test_a_file_outside_the_bundle_is_not_classified_until_confirmed(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    reason = "By its header this file is CT; Tiny MRI was trained on MRI."

    def answer(asked: Any) -> FakeTicket:
        return FakeTicket(a_reading(asked, tiny_bundle) if asked.confirmed else IneligibleError((reason,)))

    workers.answer = answer
    upload(app, CHEST)
    assert "Nothing was classified" in app.warning[0].value
    assert "Tiny MRI was trained on MRI" in app.warning[0].value
    assert "kd-opinion" not in said(app)
    button(app, "Read anyway").click().run()
    assert [asked.confirmed for asked in workers.asked] == [False, True]
    assert "kd-opinion" in said(app)
    assert "Do not use either answer: read because you asked for it." in above(app)
    assert "You chose CT; Tiny MRI was trained on MRI." in above(app)


def test_a_confirmation_holds_for_that_file_only(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    workers.answer = lambda asked: FakeTicket(
        a_reading(asked, tiny_bundle) if asked.confirmed else IneligibleError(("No.",))
    )
    upload(app, CHEST)
    button(app, "Read anyway").click().run()
    button(app, "Clear the scan").click().run()
    sample(app, "Small CT")
    assert workers.asked[-1].confirmed is False
    assert app.warning


def test_a_color_image_says_so(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    sample(app, "Skin lesion phantom")
    assert "Dermatoscopy" in said(app)
    assert " · color" in said(app)


def test_heat_maps_are_off_until_asked_and_of_the_class_that_was_chosen(
    app: AppTest, workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(viewer, "show", lambda image, names, maps, label: drawn.append(maps))
    upload(app, BRAIN)
    assert drawn[-1] == {}
    app.sidebar.toggle[0].set_value(True).run()
    assert {role: (m.method, m.class_name) for role, m in drawn[-1].items()} == {
        "teacher": (DEFAULT, "malignant"),
        "student": (DEFAULT, "malignant"),
    }
    assert "look at the same place (rank correlation 0.81, 60 % of the strongest fifth in common)" in said(app)
    next(s for s in app.sidebar.selectbox if s.label == "Class of the map").select("benign").run()
    assert workers.asked[-1].class_name == "benign"
    assert drawn[-1]["teacher"].class_name == "benign"
    next(s for s in app.sidebar.selectbox if s.label == "Method").select("scorecam").run()
    assert workers.asked[-1].explain == "scorecam"
    asked = len(workers.asked)
    app.sidebar.toggle[0].set_value(False).run()
    assert drawn[-1] == {}
    assert len(workers.asked) == asked  # known already


def test_the_options_of_a_map_are_offered_where_the_method_has_some(app: AppTest, workers: FakeWorkers) -> None:
    if not EXPLAINERS["lime"].available:
        pytest.skip("captum is not installed")
    upload(app, BRAIN)
    app.sidebar.toggle[0].set_value(True).run()
    assert not app.sidebar.number_input
    method = next(s for s in app.sidebar.selectbox if s.label == "Method")
    method.select("lime").run()
    assert workers.asked[-1].options == {"grid": 8, "samples": 256}
    next(n for n in app.sidebar.number_input if n.label == "grid").set_value(4).run()
    assert (workers.asked[-1].explain, workers.asked[-1].options) == ("lime", {"grid": 4, "samples": 256})
    method.select("gradcam").run()
    assert workers.asked[-1].options == {}


def test_a_busy_queue_shows_the_place_and_cancels_what_nobody_waits_for(app: AppTest, workers: FakeWorkers) -> None:
    waiting = FakeTicket(None, waits=True, position=2)
    workers.answer = lambda asked: waiting
    upload(app, BRAIN)
    assert "In the queue: 2 other readings are before yours." in app.get("progress")[-1].proto.text
    app.sidebar.toggle[0].set_value(True).run()
    assert waiting.cancelled


def test_while_the_models_work_the_step_is_named(app: AppTest, workers: FakeWorkers) -> None:
    workers.answer = lambda asked: FakeTicket(None, waits=True)
    upload(app, BRAIN)
    assert app.get("progress")[-1].proto.text == "Grad-CAM of the teacher, 25 %"
    assert app.get("progress")[-1].proto.value == 25


def choose(app: AppTest, label: str, value: str) -> AppTest:
    return next(s for s in app.sidebar.selectbox if s.label == label).select(value).run()


def test_canceling_a_slow_map_keeps_the_reading_until_it_is_asked_for_again(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    slow = FakeTicket(None, waits=True)
    workers.answer = lambda asked: slow if asked.explain == "scorecam" else FakeTicket(a_reading(asked, tiny_bundle))
    upload(app, BRAIN)
    app.sidebar.toggle[0].set_value(True).run()
    assert "Concentrated." in said(app)
    choose(app, "Method", "scorecam")
    assert "They agree" in said(app)
    assert "Concentrated." not in said(app)  # that was said of another map
    button(app, "Cancel").click().run()
    assert slow.cancelled
    assert "Score-CAM was stopped. The reading stands without a map." in app.info[0].value.replace("\\", "")
    assert "They agree" in said(app)
    asked = len(workers.asked)
    app.run()
    assert len(workers.asked) == asked
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle))
    button(app, "Start again").click().run()
    assert workers.asked[-1].explain == "scorecam"
    assert "Concentrated." in said(app)


def test_an_answer_that_came_before_the_cancel_is_shown(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    slow = FakeTicket(None, waits=True)
    workers.answer = lambda asked: slow
    upload(app, BRAIN)
    slow._answer, slow.done = a_reading(workers.asked[0], tiny_bundle), True
    button(app, "Cancel").click().run()
    assert not slow.cancelled
    assert "They agree" in said(app)


def test_a_reading_that_was_canceled_is_offered_again(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    workers.answer = lambda asked: FakeTicket(None, waits=True)
    upload(app, BRAIN)
    button(app, "Cancel").click().run()
    assert "The reading was stopped." in app.info[0].value
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle))
    button(app, "Start again").click().run()
    assert "They agree" in said(app)


def test_a_slow_map_comes_after_the_reading(app: AppTest, workers: FakeWorkers) -> None:
    upload(app, BRAIN)
    app.sidebar.toggle[0].set_value(True).run()
    choose(app, "Method", "scorecam")
    app.button(key="other Brain MRI phantom").click().run()
    assert [asked.explain for asked in workers.asked[-2:]] == [None, "scorecam"]


def test_a_map_that_nobody_waits_for_any_more_is_stopped(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    slow = FakeTicket(None, waits=True)
    workers.answer = lambda asked: slow if asked.explain else FakeTicket(a_reading(asked, tiny_bundle))
    upload(app, BRAIN)
    app.sidebar.toggle[0].set_value(True).run()
    assert not slow.cancelled
    app.sidebar.toggle[0].set_value(False).run()
    assert slow.cancelled


@pytest.mark.parametrize(
    "error",
    [WorkerDied("The reading process ended while it worked on this (killed). A new one is starting; try again.")],
)
def test_a_dead_worker_is_said_and_offered_again(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle, error: Exception
) -> None:
    workers.answer = lambda asked: FakeTicket(error)
    upload(app, BRAIN)
    assert "ended while it worked on this" in app.error[0].value
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle))
    button(app, "Try again").click().run()
    assert not app.error
    assert "They agree" in said(app)


def test_a_full_queue_is_said(app: AppTest, workers: FakeWorkers) -> None:
    def full(asked: Any) -> FakeTicket:
        raise QueueFull("8 requests wait already, as many as may. Try again in a moment.")

    workers.answer = full
    upload(app, BRAIN)
    assert "8 requests wait already" in app.error[0].value


def test_a_flat_map_says_so(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    def flat(asked: Any) -> FakeTicket:
        reading = a_reading(asked, tiny_bundle)
        if asked.explain is None:
            return FakeTicket(reading)
        heat = replace(
            reading.student.heat_map, flat=True, values=np.zeros((8, 8), np.float32), note="Flat: no contrast."
        )
        return FakeTicket(replace(reading, student=replace(reading.student, heat_map=heat), map_likeness=None))

    workers.answer = flat
    upload(app, BRAIN)
    app.sidebar.toggle[0].set_value(True).run()
    assert "Flat: no contrast." in said(app)
    assert "correlation" not in said(app)


def test_the_scan_and_the_choices_outlive_a_visit_to_another_page(app: AppTest, workers: FakeWorkers) -> None:
    upload(app, BRAIN)
    app.sidebar.toggle[0].set_value(True).run()
    page(app, "library")
    page(app, "read")
    assert "They agree" in said(app)
    assert app.sidebar.toggle[0].value is True
    assert len(workers.asked) == 2


def test_without_any_bundle_the_scan_is_still_shown(app: AppTest, library: Any) -> None:
    import shutil

    shutil.rmtree(library)
    upload(app, BRAIN)
    assert not app.exception
    assert "No bundle is on this machine yet" in said(app)
    assert "MRI · 320 x 320" in said(app)


def test_the_read_page_imports_neither_torch_nor_sklearn_before_a_scan() -> None:
    code = (
        "import sys\nfrom streamlit.testing.v1 import AppTest\n"
        "from kdlight.ui import waiting\nwaiting.workers = lambda: None\n"
        f"at = AppTest.from_file({APP!r}, default_timeout=60).run()\n"
        "assert not at.exception, at.exception\n"
        "sys.exit(','.join(m for m in ('torch', 'sklearn', 'altair') if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_bundle_of_another_modality_is_marked_in_the_room_that_its_picker_has(app: AppTest) -> None:
    upload(app, BRAIN)
    bundle = next(box for box in app.sidebar.selectbox if box.label == "Bundle")
    assert bundle.options == ["Tiny MRI"]
    assert "Tiny MRI: made for another modality." not in said(app)
    choose(app, next(box.label for box in app.sidebar.selectbox if box.label.startswith("Modality")), "ct")
    bundle = next(box for box in app.sidebar.selectbox if box.label == "Bundle")
    assert bundle.options == ["Tiny MRI (other)"]
    assert "Tiny MRI: made for another modality." in said(app)
