from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.reports.pair import over_alone, over_same_start
from kdlight.studies.gains import NOT_COMPARED
from kdlight.ui.library import store
from kdlight.workers import Verification, Verify, WorkerDied
from tests.ui.conftest import FakeTicket, FakeWorkers, page, said

CHECKED = Verification(
    **{"bundle": "tiny_mri", "sha256": "", "ok": True, "cases": 4, "onnx_torch_difference": 3e-7},
    **{"bound": True, "changed": (), "fault": None, "signature": {"state": "unsigned"}},
    **{"probability_change": {}, "map_change": None},
)


def open_card(app: AppTest) -> AppTest:
    page(app, "library")
    return next(b for b in app.button if b.label == "Open the card").click().run()


def click(app: AppTest, label: str) -> AppTest:
    return next(b for b in app.button if b.label == label).click().run()


def test_a_tile_says_what_a_bundle_is(app: AppTest, tiny_bundle: Bundle) -> None:
    text = said(page(app, "library"))
    assert not app.exception
    small = f"{(tiny_bundle.path / 'student.safetensors').stat().st_size / 1e6:.3f} MB"
    once = "one training of each"
    gain = (
        f"<dt>Gain</dt><dd>+0.0 points over the student alone, {once}: not told from 0<br><small>from the same "
        f"starting weights: not proven: +0.0 points, {once}</small></dd><dt>License</dt><dd>MIT <small>"
    )
    for words in ("Tiny MRI", "MRI · yours", "0.50 [0.40, 0.60]", "4.55 MB", small, "60 images", gain):
        assert words in text


def with_study(bundle: Bundle, seeds: int, low: float, init: str = "general", **more: Any) -> Bundle:
    """The bundle as if a study stood on its card: a gain of 4 points whose interval begins at `low`."""
    scores = {"teacher": 0.9, "student": 0.84, "alone": 0.8, "same_start": 0.82}
    study = {
        **{"schema": "kdlight.study/1", "recipe": "kdlight-brain_mri", "gain": "said by the study"},
        "seeds": [{"seed": number, **scores} for number in range(seeds)],
        "gain_over_alone": {"value": 0.04, "low": low, "high": 0.08 - low},
        "models": {"student": {"start": init}},
        **more,
    }
    file = bundle.path / "card.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    card["metrics"]["study"] = study
    file.write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(bundle.path)
    return bundles.load(bundle.path)


@pytest.mark.parametrize(
    ("seeds", "low", "said"),
    [
        (3, 0.01, "+4.0 [+1.0, +7.0] points over the student alone, 3 seeds"),
        (3, -0.01, "+4.0 [-1.0, +9.0] points over the student alone, 3 seeds, not told from 0"),
        (1, 0.01, "+4.0 [+1.0, +7.0] points over the student alone, one seed"),
    ],
)
def test_a_gain_over_the_student_alone_is_told_and_never_called_proven(
    bundle_copy: Path, seeds: int, low: float, said: str
) -> None:
    assert over_alone(with_study(bundles.load(bundle_copy), seeds, low).card) == said


PAIRED = {"value": 0.02, "low": 0.01, "high": 0.03}


@pytest.mark.parametrize(
    ("init", "more", "said"),
    [
        ("general", {}, "not compared with the same student from the same starting weights"),
        ("teacher", {}, "not compared with the same student from the same starting weights"),
        ("selection", {}, "proven: +4.0 [+1.0, +7.0] points"),
        ("general", {"gain_over_same_start": PAIRED}, "proven: +2.0 [+1.0, +3.0] points"),
        (
            "general",
            {"gain_over_same_start": {"value": 0.02, "low": None, "high": None}},
            "not proven: +2.0 points, without an interval",
        ),
    ],
)
def test_only_a_gain_over_the_same_starting_weights_is_called_proven(
    app: AppTest, library: Path, init: str, more: dict[str, Any], said: str
) -> None:
    found = with_study(bundles.load(library / "tiny_mri"), 3, 0.01, init, **more)
    gain = over_same_start(found.card)
    assert gain.words == said
    text = said_on(app)
    assert said in text
    assert "+4.0 [+1.0, +7.0] points over the student alone, 3 seeds" in text
    assert gain.sentence in said_on(app, card=True)


def said_on(app: AppTest, card: bool = False) -> str:
    return said(open_card(app) if card else page(app, "library"))


def test_a_gain_without_a_study_is_not_guessed(bundle_copy: Path) -> None:
    card = bundles.load(bundle_copy).card
    once = "one training of each"
    assert over_alone(card) == f"+0.0 points over the student alone, {once}: not told from 0"
    assert over_same_start(card).words == f"not proven: +0.0 points, {once}"
    general = card.replace(distillation=card.distillation.replace(init="general"))
    assert over_same_start(general).words == NOT_COMPARED
    bare = card.replace(metrics=card.metrics.replace(alone=None))
    assert over_alone(bare) == "student alone not trained"
    assert over_same_start(bare).words == NOT_COMPARED


def test_a_student_from_the_same_start_stands_in_the_table(app: AppTest, library: Path) -> None:
    rewrite(library / "tiny_mri", lambda card: card["metrics"].update(same_start=card["metrics"]["alone"]))
    assert "Student, same start <small>no teacher</small>" in said(open_card(app))


def test_a_failed_pair_is_marked_on_its_tile_its_card_and_compare(app: AppTest, library: Path) -> None:
    rewrite(library / "tiny_mri", lambda card: card["metrics"].update(at_chance=["teacher", "student"]))
    mark = "Failed: neither model is better than chance on the test images."
    assert mark in said(page(app, "library"))
    assert mark in open_card(app).warning[0].value.replace("\\", "")
    assert mark in said(page(app, "compare"))


@pytest.mark.parametrize(("start", "marked"), [("random weights: no server answers", True), ("mine.pth", False)])
def test_a_teacher_that_began_from_nothing_is_marked_wherever_its_figures_are(
    app: AppTest, library: Path, start: str, marked: bool
) -> None:
    rewrite(library / "tiny_mri", lambda card: card["teacher"].update(start=start))
    mark = "Teacher started from random weights."
    assert (mark in said(page(app, "library"))) is marked
    assert (mark in said(page(app, "compare"))) is marked
    assert (mark in said(open_card(app))) is marked
    assert f"Teacher started from: {start}" in said(app).replace("\\", "")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a bundle's card and seal it anew."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    change(card)
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(folder)


def test_a_tile_names_the_license_of_the_weights_and_the_card_both(app: AppTest, library: Path) -> None:
    licenses = {"weights": "CC BY-NC 4.0", "weights_note": "it first learned from others", "data": "CC0"}
    rewrite(library / "tiny_mri", lambda card: card.update(licenses=licenses))
    assert "<dt>License</dt><dd>CC BY-NC 4.0 <small>" in said(page(app, "library"))
    text = said(open_card(app)).replace("\\", "")
    assert "- Weights: CC BY-NC 4.0 (it first learned from others)\n- Data: CC0" in text


def test_the_whole_card_is_in_words_with_every_files_checksum(app: AppTest, tiny_bundle: Bundle) -> None:
    text = said(open_card(app))
    for words in ("The weights are random.", "drawn by the tests", "Tests only.", "kd (temperature 4.0, alpha 0.7)"):
        assert words in text.replace("\\", "")
    files = app.dataframe[0].value
    listed = dict(line.split("  ")[::-1] for line in (tiny_bundle.path / "SHA256SUMS").read_text().splitlines())
    assert dict(zip(files["file"], files["sha256"], strict=True)) == listed


def test_verify_asks_a_worker_and_says_the_outcome(app: AppTest, workers: FakeWorkers, library: Path) -> None:
    workers.answer = lambda asked: FakeTicket(CHECKED)
    click(open_card(app), "Verify")
    assert workers.asked == [Verify(library / "tiny_mri")]
    assert "Every checksum is right" in app.success[0].value


def test_verify_that_fails_or_dies_is_said(app: AppTest, workers: FakeWorkers) -> None:
    workers.answer = lambda asked: FakeTicket(
        CHECKED.model_copy(update={"ok": False, "fault": "They came out differently."})
    )
    click(open_card(app), "Verify")
    assert "came out differently" in app.error[0].value
    workers.answer = lambda asked: FakeTicket(WorkerDied("The reading process ended."))
    click(app, "Verify")
    assert "The reading process ended" in app.error[0].value


def test_delete_asks_first(app: AppTest, library: Path) -> None:
    click(open_card(app), "Delete")
    assert (library / "tiny_mri").is_dir()
    click(app, "Delete it")
    assert not (library / "tiny_mri").exists()


def test_an_import_is_verified_before_it_is_listed(app: AppTest, tiny_bundle: Bundle, library: Path) -> None:
    page(app, "library")
    app.file_uploader[0].upload("x.zip", store.pack(tiny_bundle)).run()
    assert (library / "tiny_mri-2").is_dir()
    assert r"tiny\_mri-2 is in your library." in app.success[0].value
    app.file_uploader[0].upload("x.zip", b"PK\x03\x04 but no more").run()
    assert "The bundle was refused. This is no readable zip file" in app.error[0].value
    assert len(list(library.iterdir())) == 2


def test_a_bundle_with_a_changed_byte_is_named_and_the_rest_works(app: AppTest, library: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(library / "tiny_mri", library / "broken"))
    card = (broken / "card.json").read_bytes()
    (broken / "card.json").write_bytes(card.replace(b"Tiny MRI", b"Tony MRI"))
    page(app, "library")
    assert "broken is not listed" in app.error[0].value
    assert "card.json was changed" in app.error[0].value.replace("\\", "")
    assert "Tiny MRI" in said(app)
    assert "Tony" not in said(app)


def test_an_empty_library_says_what_to_do(app: AppTest, library: Path) -> None:
    import shutil

    shutil.rmtree(library)
    page(app, "library")
    assert "No bundle is on this machine yet." in app.info[0].value


def test_an_odd_card_is_named_and_takes_no_page_down(app: AppTest, library: Path) -> None:
    import shutil

    odd = Path(shutil.copytree(library / "tiny_mri", library / "odd"))
    card = json.loads((odd / "card.json").read_text(encoding="utf-8"))
    del card["student"]["macs"]
    (odd / "card.json").write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(odd)
    for name in ("library", "compare", "read"):
        assert not page(app, name).exception
    page(app, "library")
    error = app.error[0].value.replace("\\", "")
    assert "odd is not listed. odd: card.json is not understood: student.macs: Field required" in error


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["metrics"]["teacher"].update(recall=["all"]),
        lambda card: card["distillation"].update(init=["general"]),
        lambda card: card["metrics"].update(same_start="well"),
        lambda card: card["teacher"].update(start=["words"], start_kind=["random"]),
        lambda card: card["metrics"].update(at_chance="teacher"),
        lambda card: card["metrics"].update(n="many"),
        lambda card: card["metrics"].update(study={}),
    ],
)
def test_an_odd_outcome_takes_no_page_down(
    app: AppTest, library: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    rewrite(library / "tiny_mri", change)
    for name in ("library", "compare", "read"):
        assert not page(app, name).exception


def test_a_hostile_card_is_shown_as_text(app: AppTest, library: Path) -> None:

    own = library / "tiny_mri"
    card = json.loads((own / "card.json").read_text(encoding="utf-8"))
    attack = "<img src=x onerror=alert(1)>"
    card["name"] = card["classes"][0]["words"] = card["metrics"]["split"] = card["licenses"]["weights"] = attack
    (own / "card.json").write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(own)
    for name in ("library", "compare"):
        page(app, name)
        assert not app.exception
        assert attack not in "".join(html.proto.body for html in app.get("html"))


@pytest.mark.parametrize(
    ("eligibility", "lines"),
    [
        (
            {"modalities": ["xray"], "body_parts": ["chest"], "views": ["AP", "PA"]},
            ["Modality: X-ray", "Body part: the chest", "View: AP and PA"],
        ),
        ({"modalities": ["ct", "mri"]}, ["Modality: CT and MRI", "Body part: any", "View: any"]),
        ({}, ["Modality: MRI", "Body part: any", "View: any"]),
    ],
)
def test_the_card_lists_what_the_bundle_covers(
    app: AppTest, library: Path, eligibility: dict[str, Any], lines: list[str]
) -> None:
    file = library / "tiny_mri" / "card.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**card, "eligibility": eligibility}), encoding="utf-8")
    bundles.seal(library / "tiny_mri")
    text = said_on(app, card=True)
    assert not app.exception
    assert "Reads" in text
    for line in lines:
        assert f"- {line}" in text.replace("\\", "")
