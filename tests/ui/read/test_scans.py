"""Files that are dropped: several, refused, rejected, closed; and what is said of what they held."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from kdlight import images
from kdlight.images import Image
from kdlight.ui.read import drops, readings, scans, screens
from tests.ui.conftest import FakeWorkers, button, png, said, sample, upload

MRI, CT = "Brain MRI phantom", "Chest CT phantom"
BRAIN = next(s for s in images.samples() if s.name == MRI).data
MAY, BURNED = "text in the picture may remain", "names are burned into the picture and remain"


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
    assert "Doe^Jane" not in said(app)
    kept = app.session_state.to_dict()
    assert kept["scan"].words == "Uploaded file"
    assert all("Doe^Jane" not in repr(value) for value in kept.values())


def test_many_frames_have_a_slider_that_reads_the_chosen_one(app: AppTest, workers: FakeWorkers) -> None:
    sample(app, "Heart ultrasound")
    assert "frame 1/30" in said(app)
    app.slider[0].set_value(7).run()
    assert "frame 7/30" in said(app)
    assert [asked.image.frame for asked in workers.asked] == [0, 6]


def test_what_is_kept_is_bounded(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "READINGS_KEPT", 2)
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
    assert "Uploaded file 2 of 2" in said(app)
    assert (app.sidebar.number_input[0].label, app.sidebar.number_input[0].value) == ("File, of 2", 2)
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
    told = iter([scans.Rejected(1, too_large)])
    monkeypatch.setattr(scans, "turned_away", lambda zone: next(told, None))
    app.run()
    assert sentence in app.error[0].value
    assert "They agree" not in said(app)
    assert "Uploaded file" not in said(app)
    assert not {"scan", "readings", "modality"} & set(app.session_state.to_dict())
    upload(app, BRAIN)
    assert not app.error
    assert "They agree" in said(app)


def test_files_that_came_and_one_that_did_not_in_one_run(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([None, scans.Rejected(1, too_large=1, coming=1)])
    monkeypatch.setattr(scans, "turned_away", lambda zone: next(told, None))
    app.run()
    upload(app, BRAIN)
    assert "larger than 64 MB" in app.error[0].value
    assert "They agree" in said(app)


def test_a_drop_of_too_much_is_refused_as_a_whole(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scans, drops):
        monkeypatch.setattr(module, "MOST_FILES", 1)
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
    assert (screens.removal(image), screens.remaining(image)) == said


@pytest.mark.parametrize(
    ("laterality", "side"),
    [("L", " · left · "), ("R", " · right · "), ("B", " · both sides · "), ("U", ""), (None, "")],
)
def test_the_side_is_said_in_words(
    tiny_image: Image, monkeypatch: pytest.MonkeyPatch, laterality: str | None, side: str
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(screens.st, "html", drawn.append)
    screens.scan_line(replace(tiny_image, laterality=laterality), scans.Scan(b"", "A file"), "xray")
    assert side in drawn[0]
    assert f" · {laterality} · " not in drawn[0]


def test_a_file_is_decoded_in_its_own_sessions_turn(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    read, turns = images.read, []

    def noted(*arguments: Any, session: str = "", **options: Any) -> Image:
        turns.append(session)
        return read(*arguments, session=session, **options)

    monkeypatch.setattr(images, "read", noted)
    monkeypatch.setattr("kdlight.ui.sessions.current", lambda: "mine")
    upload(app, BRAIN)
    assert turns == ["mine"]
