"""predict and explain, on a whole tiny bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from pydicom.data import get_testdata_file
from torch import Tensor

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.contracts.reading import Role
from kdlight.explain import Evidence, Explainer
from kdlight.explain.lattice import pixels
from kdlight.inference import Predictor, golden
from kdlight.metrics.triage import Tallies, Tally
from tests.bundle_faults import operating, put, spoil

Run = Callable[..., Any]


def test_one_file_gives_one_reading(kdlight: Run, tiny_bundle: Bundle, scan: Path) -> None:
    said = kdlight("predict", tiny_bundle.path, scan, "--json")
    assert said.status == 0, said.err
    reading = said.json
    assert reading["schema"] == "kdlight.reading/3"
    assert reading["bundle"] == "tiny_mri"
    for role in ("teacher", "student"):
        probabilities = reading[role]["probabilities"]
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert reading[role]["prediction"] == max(probabilities, key=probabilities.__getitem__)
        assert reading[role]["heat_map"] is None


def test_thresholds_and_what_they_keep_open_are_in_the_json(kdlight: Run, bundle_copy: Path, scan: Path) -> None:
    """At a threshold of 0 nothing that must not be missed is ruled out, at 1 all of it is that is not answered."""
    for threshold in (0.0, 1.0):
        spoil(bundle_copy, put(operating(threshold=threshold), "operating"))
        reading = kdlight("predict", bundle_copy, scan, "--json").json
        assert reading["sensitivity"] == {"malignant": 0.9}
        opinions = {role: reading[role] for role in ("teacher", "student")}
        assert [one["thresholds"] for one in opinions.values()] == [{"malignant": threshold}] * 2
        others = [role for role, one in opinions.items() if one["prediction"] != "malignant"]
        assert others
        assert reading["not_ruled_out"] == ({"malignant": others} if threshold == 0 else {})


def test_people_read_class_words_and_programs_codes(kdlight: Run, bundle_copy: Path, scan: Path) -> None:
    card = json.loads((bundle_copy / "card.json").read_text(encoding="utf-8"))
    said = {entry["name"]: f"Kind {entry['name'].upper()}" for entry in card["classes"]}
    for entry in card["classes"]:
        entry["words"] = said[entry["name"]]
    (bundle_copy / "card.json").write_text(json.dumps(card), encoding="utf-8")
    bundles.seal(bundle_copy)
    name = kdlight("predict", bundle_copy, scan, "--json").json["student"]["prediction"]
    assert f"{said[name]} ({name})" in kdlight("predict", bundle_copy, scan).out


def test_a_file_that_is_not_there_is_said_to_be_missing(kdlight: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    for command in (("predict",), ("explain", "--out", tmp_path / "map.png")):
        said = kdlight(command[0], tiny_bundle.path, tmp_path / "nothing.png", *command[1:])
        assert said.status == 2
        assert "The file does not exist" in said.err


def test_the_command_and_the_notebook_agree(kdlight: Run, tiny_bundle: Bundle, scan: Path) -> None:
    import kdlight as package

    by_hand = package.Predictor(tiny_bundle).read(package.read(scan))
    by_command = kdlight("predict", tiny_bundle.path, scan, "--json").json
    assert by_command["student"]["probabilities"] == pytest.approx(by_hand.student.probabilities, abs=1e-5)


def test_a_refused_file_does_not_stop_the_others(kdlight: Run, tiny_bundle: Bundle, scan: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.dcm"
    empty.touch()
    said = kdlight("predict", tiny_bundle.path, empty, scan, "--json")
    assert said.status == 2
    assert [row["file"] for row in said.json["readings"]] == [str(scan)]
    assert [row["file"] for row in said.json["refused"]] == [str(empty)]
    assert "1 of 2 files" in said.err
    assert "student" in kdlight("predict", tiny_bundle.path, empty, scan).out


def test_another_modality_is_read_only_when_confirmed(kdlight: Run, tiny_bundle: Bundle) -> None:
    computed_tomogram = get_testdata_file("CT_small.dcm", download=False)
    said = kdlight("predict", tiny_bundle.path, computed_tomogram, "--json")
    assert said.status == 0
    assert (said.json["verdict"], said.json["teacher"], said.json["student"]) == ("withheld", None, None)
    assert said.json["eligibility"]["misfits"] == [{"kind": "modality", "value": None, "limit": None}]
    told = " ".join(kdlight("predict", tiny_bundle.path, computed_tomogram).out.split())
    assert "By its header this file is CT" in told
    eligibility = kdlight("predict", tiny_bundle.path, computed_tomogram, "--anyway", "--json").json["eligibility"]
    assert eligibility["confirmed"] is True
    assert eligibility["eligible"] is False


def test_out_keeps_readings_and_maps_under_no_name_of_the_file(
    kdlight: Run, tiny_bundle: Bundle, scan: Path, tmp_path: Path
) -> None:
    named = scan.rename(tmp_path / "Jane_Doe_1970.png")
    out = tmp_path / "out"
    assert kdlight("predict", tiny_bundle.path, named, "--explain", "gradcam", "--out", out, "--json").status == 0
    written = sorted(path.name for path in out.iterdir())
    assert len(written) == 3
    assert not [name for name in written if "Doe" in name]
    reading = json.loads(next(out.glob("*.json")).read_text())
    assert reading["student"]["heat_map"]["method"] == "gradcam"


def test_explain_draws_over_the_scan_and_grades(kdlight: Run, tiny_bundle: Bundle, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    arguments = ("--method", "gradcam", "--model", "teacher", "--class", "normal", "--out", out, "--json")
    said = kdlight("explain", tiny_bundle.path, scan, *arguments)
    assert said.status == 0, said.err
    assert (said.json["model"], said.json["method"], said.json["class"]) == ("teacher", "gradcam", "normal")
    assert said.json["grade"]["passed"] is (False if said.json["flat"] else None)  # its card has no limits
    assert kdlight("explain", tiny_bundle.path, scan, *arguments, "--no-grade").json["grade"] is None
    drawn, before = PIL.Image.open(out), PIL.Image.open(scan)
    assert drawn.size == before.size
    assert said.json["flat"] is np.array_equal(np.asarray(drawn), np.asarray(before.convert("RGB")))


def test_options_of_a_method_are_those_that_it_declares(
    kdlight: Run, tiny_bundle: Bundle, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that takes as many samples as it is told, in place of LIME, which needs a package."""
    told: list[dict[str, object]] = []

    def method(model: object, x: Tensor, class_index: int, progress: object, **options: object) -> Evidence:
        told.append(options)
        return Evidence(torch.linspace(0, 1, x[0, 0].numel()).view(x.shape[2:]), pixels(x.shape[2:]))

    monkeypatch.setattr(Explainer, "function", property(lambda _: method))
    arguments = ("explain", tiny_bundle.path, scan, "--out", tmp_path / "map.png", "--method", "lime")
    assert kdlight(*arguments, "-o", "samples=64", "-o", "grid=4").status == 0
    assert told == [{"grid": 4, "samples": 64}] * 2
    for text, sentence in (
        ("samples=8", "lime.samples is 8; a whole number from 32 to 8192 was expected"),
        ("sample=64", "lime.sample is not known; one of grid, samples was expected. Did you mean samples?"),
        ("samples", "The override 'samples' is not key=value"),
    ):
        refused = kdlight(*arguments, "-o", text)
        assert refused.status == 2
        assert sentence in refused.err


@pytest.mark.parametrize(("option", "value"), [("--method", "tea-leaves"), ("--class", "unicorn")])
def test_an_unknown_name_is_answered_with_the_known_ones(
    kdlight: Run, tiny_bundle: Bundle, scan: Path, tmp_path: Path, option: str, value: str
) -> None:
    said = kdlight("explain", tiny_bundle.path, scan, option, value, "--out", tmp_path / "x.png")
    assert said.status == 2
    assert value in said.err
    assert "was expected" in said.err
    assert not (tmp_path / "x.png").exists()


def test_masks_in_a_folder_are_no_scans_and_are_said(kdlight: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    pictures = tmp_path / "set"
    pictures.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(pictures / f"{number}.png")
        PIL.Image.fromarray((pixels > 127).astype(np.uint8) * 255).save(pictures / f"{number}_mask.png")
    said = kdlight("predict", tiny_bundle.path, pictures, "--out", tmp_path / "a", "--json")
    assert said.status == 0, said.err
    assert (said.json["files"], said.json["read"], said.json["masks_left_out"]) == (3, 3, 3)
    assert "3 mask(s)" in kdlight("predict", tiny_bundle.path, pictures, "--out", tmp_path / "b").out
    (pictures / "alone").mkdir()
    (pictures / "0.png").rename(pictures / "alone" / "0.png")
    plain = kdlight("predict", tiny_bundle.path, pictures / "alone", "--out", tmp_path / "c")
    assert "left out" not in plain.out


def test_a_reading_says_what_its_answer_is_worth(kdlight: Run, tiny_bundle: Bundle, scan: Path) -> None:
    asked = ("predict", tiny_bundle.path, scan, "--confirm", "--json")
    plain = kdlight(*asked).json["facts"]
    assert (plain["data"], plain["split"], plain["n"]) == ("drawn", "test", 60)
    answer = plain["student"]["class"]
    assert plain["student"]["sensitivity"] == {"value": 0.5, "low": 0.3, "high": 0.7}
    assert "npv" not in plain["student"]
    assert kdlight(*asked, "--prevalence", f"{answer}=0.3").json["facts"]["student"]["prevalence"] == 0.3


def test_sets_that_an_older_card_lacks_are_refused(kdlight: Run, tiny_bundle: Bundle, scan: Path) -> None:
    said = kdlight("predict", tiny_bundle.path, scan, "--confirm", "--sets", "class_aps")
    assert said.status == 2
    assert "no thresholds for class_aps sets" in said.err
    assert kdlight("predict", tiny_bundle.path, scan, "--confirm", "--sets", "lac", "--json").status == 0


def test_triage_asks_the_teacher_only_where_the_student_is_not_sure(
    kdlight: Run, tiny_bundle: Bundle, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = kdlight("predict", tiny_bundle.path, scan, "--triage", "0.05")
    assert refused.status == 2
    assert "no counts for triage" in refused.err
    bundle, asked = with_tallies(tiny_bundle, tmp_path / "sorted"), []
    real = Predictor.probabilities

    def counted(self: Predictor, role: Role, x: torch.Tensor) -> np.ndarray:
        asked.append((role, len(x)))
        return real(self, role, x)

    monkeypatch.setattr(Predictor, "probabilities", counted)
    said = kdlight("predict", bundle.path, scan, "--confirm", "--triage", "0.05", "--json").json
    (file,) = said["files"]
    reading = kdlight("predict", bundle.path, scan, "--confirm", "--json").json
    sure = max(reading["student"]["probabilities"].values()) >= said["threshold"]
    assert asked == [("student", 1)] + ([] if sure else [("teacher", 1)])
    assert file["by"] == ("student" if sure else file["by"])
    assert kdlight("predict", bundle.path, scan, "--confirm", "--triage", "0.001").status == 2  # nothing proves that


def with_tallies(bundle: Bundle, path: Path) -> Bundle:
    """A copy of the bundle whose card has 500 calibration images, all answered rightly from 0.9 on."""
    shutil.copytree(bundle.path, path)
    tally = Tally(threshold=0.9, student=400, teacher=50, wrong=0, missed=0)
    card = bundle.card.replace(triage=Tallies(n=500, tallies=(tally,)))
    bundles.write_card(path, card)
    golden.bind(Bundle(path, card, ""))
    bundles.seal(path)
    return bundles.load(path)
