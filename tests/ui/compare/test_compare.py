from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.metrics import report
from kdlight.ui import waiting, words
from kdlight.ui.compare import confusion, measurement
from kdlight.workers import WorkerError
from kdlight.workers.requests import Compare, Comparison
from tests.ui.conftest import FakeTicket, page, said

CLASSES = ("benign", "malignant", "normal")


@pytest.fixture
def measured() -> dict[str, Any]:
    """What the job says of two models on twelve images; the student is wrong on one that the teacher got right."""
    labels = [0, 1, 2] * 4
    sure = [[0.8 if c == y else 0.1 for c in range(3)] for y in labels]
    wrong = [[0.1, 0.1, 0.8], *sure[1:]]
    curve = {
        "roc": {"benign": {"false": [0, 0, 1], "true": [0, 1, 1]}},
        "reliability": {"confidence": [0.8], "accuracy": [1.0], "count": [12]},
    }
    flip = {"path": "benign/0.png", "truth": "benign", "teacher": "benign", "teacher_probability": 0.8}
    flip |= {"student": "normal", "student_probability": 0.8, "thumbnail": PIXEL, "file": __file__}
    rows = [("teacher, torch eager", 30.0, 33.0), ("student, ONNX Runtime", 2.0, 2.5)]
    return {
        "n": 12,
        "split": "test",
        "teacher": {**report(sure, labels, CLASSES, draws=50).to_json(), "seconds": 1.5},
        "student": {**report(wrong, labels, CLASSES, draws=50).to_json(), "seconds": 0.1},
        "curves": {"teacher": curve, "student": curve},
        "flips": 1,
        "shown": [flip],
        "latency": {
            "rows": [{"name": n, "p50_ms": p, "p95_ms": q} for n, p, q in rows],
            "candidate": rows[1][0],
            "baseline": rows[0][0],
            "ratio": 15.0,
            "runs": 50,
            "threads": 1,
            "size": 64,
            "machine": {"cpu": "A processor", "cores": 2},
        },
    }


def finished(bundle: Path, measured: dict[str, Any], **options: Any) -> FakeTicket:
    """The answer to a measurement of a bundle, from values as `measured` has them."""
    own = {name: measured[name] for name in ("flips", "shown", "curves")}
    metrics = {name: measured[name] for name in ("n", "split", "teacher", "student")}
    metrics |= {name: measured[name] for name in ("look_alike",) if name in measured}
    evaluation = {**own, "metrics": metrics, "localization": measured.get("localization")}
    evaluation["looks"] = measured.get("looks", [])
    times = {"speed": measured.get("latency"), "busy": measured.get("busy")}
    answer = Comparison.model_validate({"evaluation": evaluation, **times})
    return FakeTicket(answer, request=Compare(bundle, **options))


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def test_without_data_the_recorded_test_is_shown(app: AppTest) -> None:
    text = said(page(app, "compare"))
    assert not app.exception
    assert "As recorded in the card: 60 images of drawn, split test." in text
    assert text.count("0.50 [0.40, 0.60]") == 12
    assert "Student alone" in text
    assert "one training of each: not told from 0" in text
    assert "4.55 MB" in text
    assert "Multiply-adds" in text


def test_a_pair_without_caveats_is_drawn_without_one(app: AppTest, library: Path) -> None:
    file = library / "tiny_mri" / "card.json"
    assert "<b>Teacher started from random weights.</b>" in said(page(app, "compare"))
    card = json.loads(file.read_text(encoding="utf-8"))
    card["teacher"]["start_kind"] = "file"
    file.write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(file.parent)
    text = said(app.run())
    assert not app.exception
    assert "As recorded in the card" in text
    assert "Student alone" in text
    assert "started from random weights" not in text


def test_measure_starts_a_job_on_the_named_folder(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(waiting, "begin", lambda name, request: begun.append(request))
    page(app, "compare")
    app.sidebar.text_input[0].set_value(str(tmp_path)).run()
    app.sidebar.button[0].click().run()
    assert [(type(request), request.data) for request in begun] == [(Compare, str(tmp_path))]


def test_a_measurement_shows_curves_confusion_time_and_flips(
    app: AppTest, library: Path, tiny_bundle: Bundle, measured: dict[str, Any]
) -> None:
    app.session_state[f"ticket compare {tiny_bundle.sha256}"] = finished(Path("x"), measured)
    text = said(page(app, "compare"))
    assert not app.exception
    assert "Measured here on 12 images of the named set, split test." in text
    assert "<b>15 x faster</b>" in text
    assert "One image, measured here: teacher 30 ms" in text
    assert "the teacher on torch eager, medians of 50" in text
    assert "Where they differ: 1 of 12 images" in text
    assert "Truth: Benign" in text
    assert "student Normal 80 %, wrong" in text
    assert "<td>30 ms</td><td>2 ms</td>" in text
    assert len(app.get("vega_lite_chart")) == 3


def test_what_was_measured_now_stands_beside_nothing_that_was_recorded_elsewhere(
    app: AppTest, library: Path, tiny_bundle: Bundle, measured: dict[str, Any]
) -> None:
    file = library / "tiny_mri" / "card.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    card["metrics"]["scratch"] = card["metrics"]["alone"]
    file.write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(file.parent)
    assert "Student from scratch" in said(page(app, "compare"))
    sha256 = bundles.load(file.parent).sha256
    app.session_state[f"ticket compare {sha256}"] = finished(Path("x"), {**measured, "split": "val"})
    text = said(app.run())
    assert not app.exception
    assert "Measured here" in text
    assert "Student from scratch" not in text
    assert "Student alone" not in text
    assert "these images chose its best epoch: the figures are then too good." in text


def alike(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """A measured set of which these images were compared."""
    score = {"value": 0.69, "low": 0.65, "high": 0.73}
    found = {"method": "gradcam", "n": 3, "flat": 1, "rank_correlation": score, "overlap": score, "gaps": score}
    return {"looks": cases, "look_alike": found}


def a_case(number: int, rank: float | None, gap: float) -> dict[str, Any]:
    told = {"path": f"{number}.png", "truth": "benign", "teacher": "benign", "student": "normal", "file": __file__}
    drawn = {} if rank is None else {"teacher": PIXEL, "student": PIXEL}
    return {**told, "probability_gap": gap, "rank_correlation": rank, "overlap": rank and 0.5, "pictures": drawn}


def test_images_are_sorted_by_how_far_maps_or_answers_are_apart_and_a_flat_map_is_left_out(
    app: AppTest, tiny_bundle: Bundle, measured: dict[str, Any]
) -> None:
    cases = [a_case(0, 0.9, 0.8), a_case(1, -0.2, 0.1), a_case(2, None, 0.3), a_case(3, 0.4, 0.2)]
    app.session_state[f"ticket compare {tiny_bundle.sha256}"] = finished(Path("x"), {**measured, **alike(cases)})
    text = said(page(app, "compare"))
    assert not app.exception
    assert "Over 3 images the heat maps of their answers have a rank correlation of 0.69 [0.65, 0.73]" in text
    assert "Where they answer otherwise, they look at other places" in text
    order = [float(value) for value in re.findall(r"Rank correlation (-?[0-9.]+[0-9])", text)]
    assert sorted(order) == [-0.2, 0.4, 0.9]
    keys = [button.key for button in app.button if str(button.key).startswith("look ")]
    assert set(keys) == {"look 0.png", "look 1.png", "look 3.png"}


def test_what_a_card_says_of_both_maps_needs_no_set(app: AppTest, library: Path) -> None:
    file = library / "tiny_mri" / "card.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    card["metrics"]["look_alike"] = alike([])["look_alike"]
    file.write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(file.parent)
    text = said(page(app, "compare"))
    assert not app.exception
    assert "not counted" in text
    assert "A click opens it in Read." not in text


def test_a_failed_measurement_says_why_and_the_card_stays(app: AppTest, tiny_bundle: Bundle) -> None:
    app.session_state[f"ticket compare {tiny_bundle.sha256}"] = FakeTicket(WorkerError("nothing here does not exist."))
    page(app, "compare")
    assert "does not exist" in app.error[0].value
    assert "As recorded in the card" in said(app)


def test_while_it_measures_there_is_a_bar_and_a_stop(app: AppTest, tiny_bundle: Bundle) -> None:
    job = FakeTicket(None, waits=True)
    job.progress = (0.4, "The teacher is reading image 3 of 12")
    app.session_state[f"ticket compare {tiny_bundle.sha256}"] = job
    page(app, "compare")
    assert app.get("progress")[0].proto.value == 40
    assert "Stop" in [b.label for b in app.button]


def test_a_click_on_a_flip_lays_it_on_the_reading_table(
    app: AppTest, tiny_bundle: Bundle, measured: dict[str, Any], tmp_path: Path
) -> None:
    from kdlight import images

    file = tmp_path / "a.dcm"
    file.write_bytes(next(s for s in images.samples() if s.name == "Brain MRI phantom").data)
    measured["shown"][0]["file"] = str(file)
    app.session_state[f"ticket compare {tiny_bundle.sha256}"] = finished(Path("x"), measured)
    page(app, "compare")
    next(b for b in app.button if b.key == "flip 0").click().run()
    assert "Image of the labeled set" in said(app)
    assert "Truth: Benign" in said(app)
    assert "They agree" in said(app)


def test_the_folder_is_kept_and_named_with_its_figures(
    app: AppTest, tiny_bundle: Bundle, measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: list[Compare] = []
    monkeypatch.setattr(waiting, "begin", lambda name, request: begun.append(request))
    page(app, "compare")
    app.sidebar.text_input[0].set_value(str(tmp_path / "ward 7")).run()
    app.sidebar.button[0].click().run()
    page(app, "library")
    page(app, "compare")
    assert app.sidebar.text_input[0].value == str(tmp_path / "ward 7")
    app.session_state[f"ticket {measurement.job(tiny_bundle)}"] = finished(Path("x"), measured, data=begun[0].data)
    app.run()
    assert f"Measured here on 12 images of {tmp_path}/ward 7, split test." in said(app)
    app.sidebar.text_input[0].set_value(str(tmp_path / "another")).run()
    assert f"Measured here on 12 images of {tmp_path}/ward 7, split test." in said(app)


def test_a_busy_machine_gives_figures_without_times(
    app: AppTest, tiny_bundle: Bundle, measured: dict[str, Any]
) -> None:
    del measured["latency"]
    app.session_state[f"ticket {measurement.job(tiny_bundle)}"] = finished(
        Path("x"), {**measured, "busy": "Nothing was measured."}
    )
    text = said(page(app, "compare"))
    assert not app.exception
    assert "Nothing was measured." in app.info[0].value.replace("\\", "")
    assert "Measured here on 12 images" in text
    assert "One image" not in text


def test_a_time_that_was_not_taken_here_is_the_recorded_one(
    app: AppTest, library: Path, measured: dict[str, Any]
) -> None:
    file = library / "tiny_mri" / "card.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    card["metrics"]["latency"] = measured.pop("latency")
    file.write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(file.parent)
    bundle = bundles.load(file.parent)
    app.session_state[f"ticket {measurement.job(bundle)}"] = finished(
        Path("x"), {**measured, "busy": "No time was measured."}
    )
    assert "One image, as recorded: teacher 30 ms, student 2 ms" in said(page(app, "compare"))


def test_the_shades_of_the_middle_table_are_told_in_plain_words(
    app: AppTest, tiny_bundle: Bundle, measured: dict[str, Any]
) -> None:
    app.session_state[f"ticket compare {tiny_bundle.sha256}"] = finished(Path("x"), measured)
    most = confusion.scale(*(measured[role]["confusion"] for role in ("teacher", "student")))
    text = said(page(app, "compare"))
    assert f"the strongest color is a difference of {words.number(100 * most, 2)} % of the images of a class" in text
    assert "darkest" not in text


def test_confusion_says_every_number_and_shades_by_the_share_of_its_true_class() -> None:
    html = confusion.table(["a", "b"], [[3, 1], [0, 200]], [[4, 0], [2, 198]])
    cells = re.findall(r'<td class="cell (\w+)" style="--share:(\d+)%">([^<]+)</td>', html)
    assert [text for _, _, text in cells] == ["3", "1", "+1", "-1", "4", "0", "0", "200", "+2", "-2", "2", "198"]
    shades = {text: (kind, int(share)) for kind, share, text in cells}
    assert shades["3"] == ("teacher", 41)  # 3 of 4, of at most 55 %
    assert shades["+1"] == ("student", 55)  # a quarter of its class, the most that changed
    assert shades["-1"] == ("teacher", 55)
    assert shades["+2"] == ("student", 2)  # a hundredth of its class, though more images
    assert "a <small>n = 4</small>" in html


def test_a_small_change_is_not_blown_up() -> None:
    assert confusion.scale([[199, 1]], [[200, 0]]) == confusion.LEAST


def test_names_that_do_not_fit_over_the_columns_become_the_numbers_of_their_rows() -> None:
    assert confusion.heads(["Glioma", "No tumor"]) == ["Glioma", "No tumor"]
    assert confusion.heads(["Actinic keratosis", "Dermatofibroma", "Nevus"]) == ["1", "2", "3"]
    assert "2 Dermatofibroma" in confusion.table(
        ["Actinic keratosis", "Dermatofibroma", "Nevus"], *[[[1, 0, 0]] * 3] * 2
    )


def outlined(measured: dict[str, Any]) -> dict[str, Any]:
    """As `measured`, on a set whose lesions are outlined."""
    value = {"value": 3.5, "low": 2.5, "high": 4.5}
    one = {"n": 9, "share": value, "lift": value, "pointing": {"value": 0.6, "low": 0.5, "high": 0.7}}
    one["all"] = dict(one)
    figures = {"method": "multilayer", "images": 10, "area": 0.09, "teacher": one, "student": {**one, "n": 8}}
    return {**measured, "localization": figures}


def test_maps_are_held_against_the_outlines_where_there_are_any(
    app: AppTest, library: Path, tiny_bundle: Bundle, measured: dict[str, Any]
) -> None:
    app.session_state[f"ticket compare {tiny_bundle.sha256}"] = finished(Path("x"), measured)
    assert "outlined images" not in said(page(app, "compare"))
    app.session_state[f"ticket compare {tiny_bundle.sha256}"] = finished(Path("x"), outlined(measured))
    text = said(page(app, "compare"))
    assert not app.exception
    assert "answers correctly (teacher 9, student 8 of 10)" in text
    assert "The outlines lie with the images." in text
    named = finished(Path("x"), outlined(measured), masks="/sets/<outlines>")
    app.session_state[f"ticket compare {tiny_bundle.sha256}"] = named
    assert "Outlines: /sets/&lt;outlines&gt;." in said(app.run())
    assert "3.50 [2.50, 4.50]" in text
