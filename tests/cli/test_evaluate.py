"""evaluate and verify, on a whole tiny bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kdlight.bundle import Bundle
from kdlight.inference import golden
from kdlight.preprocessing.corruptions import KINDS, SEVERITIES
from tests.bundle_faults import operating, put, spoil

Run = Callable[..., Any]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Twelve drawn images in test/<class>/, four of each of the tiny bundle's classes."""
    for number in range(12):
        path = tmp_path / "set" / "test" / ("benign", "malignant", "normal")[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(golden.draw(number, 64, color=False)).save(path)
    return tmp_path / "set"


def test_evaluate_gives_each_model_its_numbers_with_intervals(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path
) -> None:
    said = kdlight("evaluate", tiny_bundle.path, labelled, "--json")
    assert said.status == 0, said.err
    for role in ("teacher", "student"):
        found = said.json[role]
        assert found["n"] == 12
        for name in ("accuracy", "balanced_accuracy", "auc", "macro_f1", "ece", "brier"):
            assert found[name]["low"] <= found[name]["value"] <= found[name]["high"], name
        recalls = [found["recall"][name]["value"] for name in ("benign", "malignant", "normal")]
        assert found["balanced_accuracy"]["value"] == pytest.approx(sum(recalls) / 3)
    differing = 12 * (1 - said.json["agreement"]["value"])
    assert len(said.json["flips"]) == pytest.approx(differing)
    assert "balanced_accuracy" in kdlight("evaluate", tiny_bundle.path, labelled).out


def test_evaluate_says_what_each_corruption_costs_each_model(kdlight: Run, tiny_bundle: Bundle, labelled: Path) -> None:
    costs = kdlight("evaluate", tiny_bundle.path, labelled, "--corruptions", "--json").json["corruptions"]
    assert [(one["kind"], one["severity"]) for one in costs] == [(k, s) for k in KINDS for s in SEVERITIES]
    for one in costs:
        assert one["gap"]["value"] == pytest.approx(one["student"]["value"] - one["teacher"]["value"])
    assert "corruptions" not in kdlight("evaluate", tiny_bundle.path, labelled, "--json").json
    out = kdlight("evaluate", tiny_bundle.path, labelled, "--corruptions").out
    assert "student less teacher" in out
    assert "resample" in out


def test_evaluate_says_what_each_probe_for_shortcuts_gives(kdlight: Run, tiny_bundle: Bundle, labelled: Path) -> None:
    arguments = ("evaluate", tiny_bundle.path, labelled)
    said = kdlight(*arguments, "--shortcuts", "--json").json
    found = said["shortcuts"]
    assert (found["n"], found["chance"]) == (12, pytest.approx(1 / 3))
    assert found["student"] == said["student"]["balanced_accuracy"]
    assert [probe["kind"] for probe in found["probes"]] == ["rim", "center", "corners", "cropped", "marker"]
    for probe in found["probes"]:
        assert probe["gap"]["value"] == pytest.approx(probe["student"]["value"] - probe["teacher"]["value"])
    assert "shortcuts" not in kdlight(*arguments, "--json").json
    assert "rim alone" in kdlight(*arguments, "--shortcuts").out


def test_evaluate_says_whether_both_look_at_the_same_places(kdlight: Run, tiny_bundle: Bundle, labelled: Path) -> None:
    arguments = ("evaluate", tiny_bundle.path, labelled, "--look-alike")
    found = kdlight(*arguments, "--json").json["look_alike"]
    assert found["n"] + found["flat"] == len(found["cases"]) == 12
    known = [case["rank_correlation"] for case in found["cases"] if case["rank_correlation"] is not None]
    assert found["rank_correlation"]["value"] == pytest.approx(sum(known) / len(known))
    assert "overlap of the strongest fifth" in kdlight(*arguments).out


def test_evaluate_says_what_the_cards_thresholds_give_on_these_images(
    kdlight: Run, bundle_copy: Path, labelled: Path
) -> None:
    """A threshold of 0 calls every image; the card's own rates, of other images, are not repeated."""
    spoil(bundle_copy, put(operating(threshold=0.0), "operating"))
    found = kdlight("evaluate", bundle_copy, labelled, "--json").json["operating"]["malignant"]
    for role in ("teacher", "student"):
        rates = [(p["aim"], p["sensitivity"], p["specificity"]) for p in found[role]]
        assert [aim for aim, _, _ in rates] == [0.9, 0.95, 0.98]
        assert (rates[0][1]["value"], rates[0][2]["value"]) == (1.0, 0.0)
        assert rates[1][1]["value"] != 0.8
        assert rates[2][1:] == (None, None)
    assert "not ruled out from" in kdlight("evaluate", bundle_copy, labelled).out


def test_evaluate_names_the_splits_there_are(kdlight: Run, tiny_bundle: Bundle, labelled: Path) -> None:
    said = kdlight("evaluate", tiny_bundle.path, labelled, "--split", "val")
    assert said.status == 2
    assert "its splits: test" in said.err


def test_evaluate_refuses_classes_the_model_does_not_know(kdlight: Run, tiny_bundle: Bundle, labelled: Path) -> None:
    (labelled / "test" / "benign").rename(labelled / "test" / "bicycle")
    said = kdlight("evaluate", tiny_bundle.path, labelled)
    assert said.status == 2
    assert "bicycle" in said.err


def test_verify_passes_a_whole_bundle(kdlight: Run, tiny_bundle: Bundle) -> None:
    said = kdlight("verify", tiny_bundle.path, "--json")
    assert said.status == 0, said.err
    assert said.json["ok"] is True
    assert said.json["sha256"] == tiny_bundle.sha256


def test_verify_names_a_changed_byte(kdlight: Run, bundle_copy: Path) -> None:
    weights = bundle_copy / "student.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    said = kdlight("verify", bundle_copy)
    assert (said.status, said.out) == (2, "")
    assert "student.safetensors was changed" in said.err


def test_evaluate_holds_the_maps_against_masks(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path, tmp_path: Path
) -> None:
    """Every image is outlined whole: an even map and any other have the same share, and every peak is inside."""
    for picture in labelled.rglob("*.png"):
        mask = tmp_path / "masks" / picture.relative_to(labelled)
        mask.parent.mkdir(parents=True, exist_ok=True)
        with PIL.Image.open(picture) as opened:
            PIL.Image.new("L", opened.size, 255).save(mask)
    arguments = ("evaluate", tiny_bundle.path, labelled, "--masks", tmp_path / "masks", "--explain", "gradcam")
    found = kdlight(*arguments, "--json").json["localization"]
    assert (found["method"], found["area"]) == ("gradcam", 1.0)
    assert found["teacher"]["all"]["lift"]["value"] == pytest.approx(1)
    assert "Lift over an even map" in kdlight(*arguments).out
    refused = kdlight("evaluate", tiny_bundle.path, labelled, "--masks", labelled.parent / "absent")
    assert refused.status == 2
    assert "does not exist; a folder of masks" in refused.err


def test_the_figures_of_the_maps_stand_under_their_own_number_of_images(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path, tmp_path: Path
) -> None:
    """Two of twelve images are outlined, so the maps' means are over two at most, whatever the answers' are over."""
    for picture in sorted(labelled.rglob("*.png"))[:2]:
        mask = tmp_path / "masks" / picture.relative_to(labelled)
        mask.parent.mkdir(parents=True, exist_ok=True)
        with PIL.Image.open(picture) as opened:
            PIL.Image.new("L", opened.size, 255).save(mask)
    arguments = ("evaluate", tiny_bundle.path, labelled, "--masks", tmp_path / "masks", "--explain", "gradcam")
    found = kdlight(*arguments, "--json").json["localization"]
    lines = kdlight(*arguments).out.splitlines()
    counts = next(line for line in lines if line.startswith("n, outlined and answered rightly")).split()[-2:]
    assert counts == [str(found[role]["n"]) for role in ("teacher", "student")]
    heading = next(number for number, line in enumerate(lines) if "(gradcam)" in line)
    assert "outlines of 2 image(s), over those that each model answers rightly" in lines[heading]
    shares = [number for number, line in enumerate(lines) if line.startswith("Share of the map in the outlines")]
    assert shares
    assert shares[0] > heading
    assert [line.split() for line in lines[:heading] if line.startswith("n ")] == [["n", "12", "12"]]


def test_evaluate_counts_what_each_file_of_the_student_lost(kdlight: Run, tiny_bundle: Bundle, labelled: Path) -> None:
    said = kdlight("evaluate", tiny_bundle.path, labelled, "--ledger", "--json").json
    steps = {(step["before"], step["after"]): step for step in said["ledger"]["steps"]}
    assert list(steps) == [("teacher", "student"), ("student", "ONNX")]
    first = steps["teacher", "student"]
    assert first["changed"] == len(said["flips"])
    recall = {role: said[role]["recall"]["malignant"]["value"] for role in ("teacher", "student")}
    change = first["classes"]["malignant"]["counts"]
    assert (change["first_only"] - change["second_only"]) / 4 == pytest.approx(recall["teacher"] - recall["student"])
    assert steps["student", "ONNX"]["changed"] == 0
    assert "answers change" in kdlight("evaluate", tiny_bundle.path, labelled, "--ledger").out


def test_evaluate_says_how_often_sets_hold_the_truth(kdlight: Run, tiny_bundle: Bundle, labelled: Path) -> None:
    said = kdlight("evaluate", tiny_bundle.path, labelled, "--coverage", "--json").json
    (sets,) = said["coverage"]["student"]  # an older card has these alone
    assert (sets["kind"], sets["level"], sets["all"]["n"]) == ("lac", 0.9, 12)
    assert not sets["classes"]["benign"]["promised"]
    out = kdlight("evaluate", tiny_bundle.path, labelled, "--coverage").out
    assert "promised to hold the truth in 90%" in out


def test_evaluate_tells_what_an_answer_is_worth_at_a_prevalence(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path
) -> None:
    asked = ("evaluate", tiny_bundle.path, labelled, "--prevalence", "malignant=0.1")
    said = kdlight(*asked, "--json").json
    found, measured = said["facts"]["teacher"]["malignant"], said["teacher"]
    sens, spec = (measured[name]["malignant"]["value"] for name in ("recall", "specificity"))
    called = 0.1 * sens + 0.9 * (1 - spec)
    assert found["ppv"]["value"] == pytest.approx(0.1 * sens / called) if called else "ppv" not in found
    assert found["npv"]["value"] == pytest.approx(0.9 * spec / (1 - called))
    assert (found["positives"], found["negatives"]) == (4, 8)
    assert "PPV" in kdlight(*asked).out
    refused = kdlight("evaluate", tiny_bundle.path, labelled, "--prevalence", "melanoma=0.1")
    assert refused.status == 2
    assert "The classes are benign, malignant, normal" in refused.err


def test_evaluate_leaves_every_image_to_a_person_where_nothing_is_proven(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path
) -> None:
    asked = ("evaluate", tiny_bundle.path, labelled, "--triage", "0.05")
    found = kdlight(*asked, "--json").json["triage"]
    assert (found["threshold"], found["person"]["value"], found["least"]) == (None, 1, 59)
    assert found["calibrated"] + found["n"] == 12
    assert "prove no threshold; 59 or more" in kdlight(*asked).out
    assert kdlight("evaluate", tiny_bundle.path, labelled, "--triage", "5").status == 2


def test_evaluate_shows_groups_of_people_apart(kdlight: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    rows = ["path,class,split,sex"]
    for number in range(24):
        PIL.Image.fromarray(golden.draw(number, 64, color=False)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{('benign', 'malignant', 'normal')[number % 3]},test,{'fm'[number // 12]}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    said = kdlight("evaluate", tiny_bundle.path, tmp_path, "--ledger", "--json").json
    women, men = (said["subgroups"]["sex"][value] for value in "fm")
    assert women["n"] == men["n"] == 12
    for part in (women, men):
        assert part["change"]["value"] == pytest.approx(part["student"]["value"] - part["teacher"]["value"])
    mean = (women["student"]["value"] + men["student"]["value"]) / 2
    assert mean == pytest.approx(said["student"]["balanced_accuracy"]["value"])  # every class as often in both
    columns = said["ledger"]["steps"][0]["columns"]["sex"]
    assert columns["f"]["n"] == 12
    assert "student less teacher" in kdlight("evaluate", tiny_bundle.path, tmp_path).out


def test_a_bundle_from_before_says_that_it_cannot_tell_what_belongs(
    kdlight: Run, tiny_bundle: Bundle, labelled: Path
) -> None:
    said = kdlight("evaluate", tiny_bundle.path, labelled, "--eligibility", "--json")
    assert (said.status, said.out) == (2, "")
    assert "Tiny MRI does not know what its images look like" in said.err
