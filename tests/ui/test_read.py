from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from streamlit.testing.v1 import AppTest

from kdlight import images
from kdlight.bundle import Bundle
from kdlight.explain import DEFAULT
from kdlight.images import Image
from kdlight.inference import IneligibleError
from kdlight.ui import drops, headline, scans, verdict, viewer, work
from kdlight.workers import QueueFull, Read, WorkerDied
from tests.ui.conftest import APP, FakeTicket, FakeWorkers, a_reading, page, said

MRI, CT = "Brain MRI phantom", "Chest CT phantom"
BRAIN = next(s for s in images.samples() if s.name == MRI).data

MAY, BURNED = "text in the picture may remain", "names are burned into the picture and remain"


def sample(app: AppTest, name: str) -> AppTest:
    return app.button(key=name).click().run()


def upload(app: AppTest, content: bytes, name: str = "Doe^Jane.dcm") -> AppTest:
    return app.sidebar.file_uploader[0].upload(name, content).run()


def button(app: AppTest, label: str) -> Any:
    return next(b for b in app.button if b.label == label)


def png(side: int = 40) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.tile(np.arange(side, dtype=np.uint8), (side, 1))).save(file, "PNG")
    return file.getvalue()


def test_before_a_scan_the_page_says_what_to_do_and_what_it_keeps(app: AppTest, workers: FakeWorkers) -> None:
    assert not app.exception
    text = said(app)
    assert "One scan, two opinions" in text
    assert "nothing is written to disk" in text
    assert "Research and teaching use only" in text
    assert {s.name for s in images.samples()} <= {b.key for b in app.button}
    assert workers.asked == []


def test_a_sample_gets_two_opinions_with_their_cost(app: AppTest, workers: FakeWorkers) -> None:
    text = said(sample(app, MRI))
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


def above(app: AppTest) -> str:
    """What stands over the pictures in place of the verdict."""
    block = next(b for b in app.main.children.values() if getattr(b.proto, "id", "").endswith("kd_above"))
    kinds = ("html", "info", "warning", "error")
    return "\n".join(str(e.value if hasattr(e, "value") else e.body) for kind in kinds for e in block.get(kind))


def test_the_verdict_stands_above_the_pictures(app: AppTest) -> None:
    sample(app, MRI)
    order = [getattr(b.proto, "id", "") or b.type for b in app.main.children.values()]
    place = {end: next(i for i, name in enumerate(order) if name.endswith(end)) for end in ("kd_above", "-viewer")}
    assert place["kd_above"] < place["-viewer"]
    assert "They agree: Malignant." in above(app)
    assert "Tested on 60 held-back images" in above(app)


def test_disagreement_is_said_before_the_numbers(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    answers = {"teacher": (0.1, 0.7, 0.2), "student": (0.8, 0.1, 0.1)}
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle, answers))
    text = said(sample(app, MRI))
    warning = "Do not use either answer: teacher Malignant, student Benign."
    assert warning in text
    assert text.index(warning) < text.index("70 %")
    assert "Cannot rule out" not in text  # what could not be ruled out is named already


def test_fifty_fifty_is_undecided(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    answers = {"teacher": (0.505, 0.005, 0.49), "student": (0.9, 0.05, 0.05)}
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle, answers))
    text = said(sample(app, MRI))
    assert "Undecided: teacher Benign 50 % or Normal 49 %; student Benign 90 %." in text
    assert "They agree" not in text


def test_what_must_not_be_missed_and_is_not_ruled_out_is_said_before_the_numbers(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    answers = {"teacher": (0.6, 0.3, 0.1), "student": (0.7, 0.25, 0.05)}
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle, answers))
    text = said(sample(app, MRI))
    warning = "Cannot rule out at 90 %: Malignant. Both answer Benign."
    assert warning in text
    assert text.index(warning) < text.index("60 %")
    assert "kd-verdict alarm" in text


@pytest.mark.parametrize(
    ("teacher", "student", "sentence"),
    [
        ((0.6, 0.3, 0.1), (0.9, 0.05, 0.05), "Cannot rule out at 90 %: Malignant (teacher). Both answer Benign."),
        ((0.9, 0.05, 0.05), (0.7, 0.25, 0.05), "Cannot rule out at 90 %: Malignant (student). Both answer Benign."),
        ((0.1, 0.8, 0.1), (0.1, 0.8, 0.1), "They agree: Malignant."),
        ((0.9, 0.05, 0.05), (0.9, 0.05, 0.05), "They agree: Benign."),
        (
            (0.4, 0.22, 0.38),
            (0.9, 0.05, 0.05),
            "Undecided: teacher Benign 40 % or Normal 38 %; student Benign 90 %. "
            "Cannot rule out at 90 %: Malignant (teacher).",
        ),
        (
            (0.6, 0.3, 0.1),
            (0.1, 0.1, 0.8),
            "Do not use either answer: teacher Benign, student Normal. Cannot rule out at 90 %: Malignant (teacher).",
        ),
    ],
)
def test_who_does_not_rule_it_out_is_named(
    tiny_bundle: Bundle, tiny_image: Image, teacher: Any, student: Any, sentence: str
) -> None:
    reading = a_reading(Read(tiny_bundle.path, tiny_image), tiny_bundle, {"teacher": teacher, "student": student})
    assert verdict.sentence(reading, tiny_bundle) == sentence


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "no bytes"), (b"just some text, no picture\n" * 20, "refused"), (png()[:60], "refused")],
)
def test_a_refused_file_is_explained_and_can_be_cleared(
    app: AppTest, workers: FakeWorkers, content: bytes, reason: str
) -> None:
    upload(app, content)
    assert not app.exception
    assert "This file was refused." in app.error[0].value
    assert reason in app.error[0].value
    assert "DICOM (also compressed), PNG" in said(app)
    assert workers.asked == []
    button(app, "Clear the file").click().run()
    assert "One scan, two opinions" in said(app)


def test_a_file_outside_the_bundle_is_not_classified_until_confirmed(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    reason = "By its header this file is CT; Tiny MRI was trained on MRI."

    def answer(asked: Any) -> FakeTicket:
        return FakeTicket(a_reading(asked, tiny_bundle) if asked.confirmed else IneligibleError((reason,)))

    workers.answer = answer
    sample(app, CT)
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
    sample(app, CT)
    button(app, "Read anyway").click().run()
    button(app, "Clear the scan").click().run()
    sample(app, "Small CT")
    assert workers.asked[-1].confirmed is False
    assert app.warning


def test_the_next_file_proposes_its_own_modality(app: AppTest, workers: FakeWorkers) -> None:
    sample(app, MRI)
    app.button(key=f"other {CT}").click().run()
    assert workers.asked[-1].modality == "ct"
    upload(app, BRAIN)
    assert workers.asked[-1].modality == "mri"
    upload(app, png())
    assert "Which modality is this?" in app.info[0].value


def test_a_file_that_names_no_modality_waits_for_the_person(app: AppTest, workers: FakeWorkers) -> None:
    upload(app, png(), "picture.png")
    assert "Which modality is this?" in app.info[0].value
    assert workers.asked == []
    app.sidebar.selectbox[0].select("mri").run()
    assert [asked.modality for asked in workers.asked] == ["mri"]
    assert "They agree" in said(app)


def test_the_name_of_an_uploaded_file_is_nowhere(app: AppTest) -> None:
    upload(app, BRAIN)
    assert "Uploaded file" in said(app)
    assert "Doe" not in said(app)
    kept = app.session_state.to_dict()
    assert kept["scan"].words == "Uploaded file"
    assert all("Doe" not in repr(value) for value in kept.values())


def test_many_frames_have_a_slider_that_reads_the_chosen_one(app: AppTest, workers: FakeWorkers) -> None:
    sample(app, "Heart ultrasound")
    assert "frame 1/30" in said(app)
    app.slider[0].set_value(7).run()
    assert "frame 7/30" in said(app)
    assert [asked.image.frame for asked in workers.asked] == [0, 6]


def test_a_color_image_says_so(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    sample(app, "Skin lesion phantom")
    assert "Dermatoscopy" in said(app)
    assert " · color" in said(app)


def test_heat_maps_are_off_until_asked_and_of_the_class_that_was_chosen(
    app: AppTest, workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(viewer, "show", lambda image, names, maps, label: drawn.append(maps))
    sample(app, MRI)
    assert drawn[-1] == {}
    app.sidebar.toggle[0].set_value(True).run()
    assert {role: (m.method, m.class_name) for role, m in drawn[-1].items()} == {
        "teacher": (DEFAULT, "malignant"),
        "student": (DEFAULT, "malignant"),
    }
    assert "look at the same place (correlation 0.81)" in said(app)
    next(s for s in app.sidebar.selectbox if s.label == "Class of the map").select("benign").run()
    assert workers.asked[-1].class_name == "benign"
    assert drawn[-1]["teacher"].class_name == "benign"
    next(s for s in app.sidebar.selectbox if s.label == "Method").select("scorecam").run()
    assert workers.asked[-1].explain == "scorecam"
    asked = len(workers.asked)
    app.sidebar.toggle[0].set_value(False).run()
    assert drawn[-1] == {}
    assert len(workers.asked) == asked  # known already


def test_a_busy_queue_shows_the_place_and_cancels_what_nobody_waits_for(app: AppTest, workers: FakeWorkers) -> None:
    waiting = FakeTicket(None, waits=True, position=2)
    workers.answer = lambda asked: waiting
    sample(app, MRI)
    assert "In the queue: 2 other readings are before yours." in app.get("progress")[-1].proto.text
    app.sidebar.toggle[0].set_value(True).run()
    assert waiting.cancelled


def test_while_the_models_work_the_step_is_named(app: AppTest, workers: FakeWorkers) -> None:
    workers.answer = lambda asked: FakeTicket(None, waits=True)
    sample(app, MRI)
    assert app.get("progress")[-1].proto.text == "Grad-CAM of the teacher, 25 %"
    assert app.get("progress")[-1].proto.value == 25


def choose(app: AppTest, label: str, value: str) -> AppTest:
    return next(s for s in app.sidebar.selectbox if s.label == label).select(value).run()


def test_canceling_a_slow_map_keeps_the_reading_until_it_is_asked_for_again(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    slow = FakeTicket(None, waits=True)
    workers.answer = lambda asked: slow if asked.explain == "scorecam" else FakeTicket(a_reading(asked, tiny_bundle))
    sample(app, MRI)
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
    sample(app, MRI)
    slow._answer, slow.done = a_reading(workers.asked[0], tiny_bundle), True
    button(app, "Cancel").click().run()
    assert not slow.cancelled
    assert "They agree" in said(app)


def test_a_reading_that_was_canceled_is_offered_again(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    workers.answer = lambda asked: FakeTicket(None, waits=True)
    sample(app, MRI)
    button(app, "Cancel").click().run()
    assert "The reading was stopped." in app.info[0].value
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle))
    button(app, "Start again").click().run()
    assert "They agree" in said(app)


def test_a_slow_map_comes_after_the_reading(app: AppTest, workers: FakeWorkers) -> None:
    sample(app, MRI)
    app.sidebar.toggle[0].set_value(True).run()
    choose(app, "Method", "scorecam")
    app.button(key=f"other {MRI}").click().run()
    assert [asked.explain for asked in workers.asked[-2:]] == [None, "scorecam"]


def test_a_map_that_nobody_waits_for_any_more_is_stopped(
    app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle
) -> None:
    slow = FakeTicket(None, waits=True)
    workers.answer = lambda asked: slow if asked.explain else FakeTicket(a_reading(asked, tiny_bundle))
    sample(app, MRI)
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
    sample(app, MRI)
    assert "ended while it worked on this" in app.error[0].value
    workers.answer = lambda asked: FakeTicket(a_reading(asked, tiny_bundle))
    button(app, "Try again").click().run()
    assert not app.error
    assert "They agree" in said(app)


def test_a_full_queue_is_said(app: AppTest, workers: FakeWorkers) -> None:
    def full(asked: Any) -> FakeTicket:
        raise QueueFull("8 requests wait already, as many as may. Try again in a moment.")

    workers.answer = full
    sample(app, MRI)
    assert "8 requests wait already" in app.error[0].value


def test_a_flat_map_says_so(app: AppTest, workers: FakeWorkers, tiny_bundle: Bundle) -> None:
    def flat(asked: Any) -> FakeTicket:
        reading = a_reading(asked, tiny_bundle)
        if asked.explain is None:
            return FakeTicket(reading)
        heat = replace(
            reading.student.heat_map, flat=True, values=np.zeros((8, 8), np.float32), note="Flat: no contrast."
        )
        return FakeTicket(replace(reading, student=replace(reading.student, heat_map=heat), map_similarity=None))

    workers.answer = flat
    sample(app, MRI)
    app.sidebar.toggle[0].set_value(True).run()
    assert "Flat: no contrast." in said(app)
    assert "correlation" not in said(app)


def test_the_scan_and_the_choices_outlive_a_visit_to_another_page(app: AppTest, workers: FakeWorkers) -> None:
    sample(app, MRI)
    app.sidebar.toggle[0].set_value(True).run()
    page(app, "library")
    page(app, "read")
    assert "They agree" in said(app)
    assert app.sidebar.toggle[0].value is True
    assert len(workers.asked) == 2


def test_what_is_kept_is_bounded(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "READINGS_KEPT", 2)
    monkeypatch.setattr(scans, "FRAMES_KEPT", 2)
    sample(app, "Heart ultrasound")
    for number in (2, 3, 4):
        app.slider[0].set_value(number).run()
    assert len(app.session_state["readings"]) == 2
    assert len(app.session_state["scan"].frames) == 2


def test_clearing_leaves_nothing_of_the_scan(app: AppTest) -> None:
    sample(app, MRI)
    button(app, "Clear the scan").click().run()
    assert not {"scan", "readings", "asked"} & set(app.session_state.to_dict())


def test_without_any_bundle_the_scan_is_still_shown(app: AppTest, library: Any) -> None:
    import shutil

    shutil.rmtree(library)
    sample(app, MRI)
    assert not app.exception
    assert "No bundle is on this machine yet" in said(app)
    assert "MRI · 320 x 320" in said(app)


def test_the_read_page_imports_neither_torch_nor_sklearn_before_a_scan() -> None:
    code = (
        "import sys\nfrom streamlit.testing.v1 import AppTest\n"
        "from kdlight.ui import work\nwork.workers = lambda: None\n"
        f"at = AppTest.from_file({APP!r}, default_timeout=60).run()\n"
        "assert not at.exception, at.exception\n"
        "sys.exit(','.join(m for m in ('torch', 'sklearn', 'altair') if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def drop(app: AppTest, *contents: bytes) -> AppTest:
    """Several files at once."""
    zone = app.sidebar.file_uploader[0]
    for number, content in enumerate(contents):
        zone.upload(f"{number}.dcm", content)
    return app.run()


def test_of_several_files_none_vanishes(app: AppTest, workers: FakeWorkers) -> None:
    drop(app, BRAIN, b"no picture at all, only text\n" * 20, png())
    assert "Uploaded file 1 of 3" in said(app)
    assert "They agree" in said(app)
    app.sidebar.number_input[0].set_value(2).run()
    assert "This file was refused." in app.error[0].value
    assert "They agree" not in said(app)
    app.sidebar.number_input[0].set_value(3).run()
    assert "Uploaded file 3 of 3" in said(app)
    assert "Which modality is this?" in said(app)
    assert len(workers.asked) == 1
    app.sidebar.number_input[0].set_value(2).run()
    button(app, "Leave this file out").click().run()
    assert "Uploaded file 3 of 3" in said(app)
    button(app, "Clear all scans").click().run()
    assert not {"scan", "scans", "readings", "asked"} & set(app.session_state.to_dict())


def test_what_was_decided_about_one_file_does_not_reach_the_next(app: AppTest, workers: FakeWorkers) -> None:
    drop(app, png(40), png(41))
    app.sidebar.selectbox[0].select("mri").run()
    assert workers.asked[-1].modality == "mri"
    app.sidebar.number_input[0].set_value(2).run()
    assert "Which modality is this?" in said(app)
    assert len(workers.asked) == 1
    app.sidebar.number_input[0].set_value(1).run()
    assert "They agree" in said(app)


def test_the_same_file_dropped_again_begins_at_its_first_frame(app: AppTest) -> None:
    heart = next(s for s in images.samples() if s.name == "Heart ultrasound").data
    upload(app, heart)
    app.slider[0].set_value(7).run()
    assert "frame 7/30" in said(app)
    upload(app, heart)
    assert "frame 1/30" in said(app)


@pytest.mark.parametrize(("too_large", "sentence"), [(1, "larger than 64 MB"), (0, "the upload broke off")])
def test_a_file_that_was_not_taken_leaves_nothing_of_the_one_before(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, too_large: int, sentence: str
) -> None:
    upload(app, BRAIN)
    assert "They agree" in said(app)
    told = iter([drops.Rejected(1, too_large)])
    monkeypatch.setattr(drops, "rejected", lambda zone: next(told, None))
    app.run()
    assert sentence in app.error[0].value
    assert "They agree" not in said(app)
    assert "Uploaded file" not in said(app)
    assert not {"scan", "readings", "modality"} & set(app.session_state.to_dict())
    upload(app, BRAIN)
    assert not app.error
    assert "They agree" in said(app)


def test_a_drop_of_too_much_is_refused_as_a_whole(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "MOST_FILES", 1)
    drop(app, png(40), png(41))
    assert "2 files were not read: one drop may hold 1 files" in app.error[0].value.replace("\\", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"format": "dicom", "removed": ("PatientName", "StudyDate"), "burned_in": False},
            ("header names removed", ""),
        ),
        ({"format": "dicom", "removed": ("StudyDate",), "modality": "ct"}, ("header identifiers removed", "")),
        ({"format": "dicom", "removed": ("PatientName",), "modality": "ultrasound"}, ("header names removed", MAY)),
        ({"format": "dicom", "removed": (), "secondary": True}, ("nothing to remove", MAY)),
        ({"format": "dicom", "removed": (), "burned_in": True}, ("nothing to remove", BURNED)),
        ({"format": "png", "removed": ()}, ("nothing to remove", MAY)),
        ({"format": "jpeg", "removed": ("EXIF", "XMP")}, ("EXIF and XMP removed", MAY)),
    ],
)
def test_what_was_removed_is_said_by_what_the_file_had(
    tiny_image: Image, changes: dict[str, Any], said: tuple[str, str]
) -> None:
    image = replace(tiny_image, **changes)
    assert (headline.removal(image), headline.remaining(image)) == said
