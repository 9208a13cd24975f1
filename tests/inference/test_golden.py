"""Golden cases pass on what was shipped and fail on what was changed, be it sealed again or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError, load
from kdlight.inference import golden
from tests.bundle_faults import operating


def test_inputs_are_the_same_everywhere_and_differ_from_each_other() -> None:
    first, again, second = golden.draw(0, 64, True), golden.draw(0, 64, True), golden.draw(1, 64, True)
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - second).mean() > 10
    gray = golden.draw(0, 64, False)
    assert np.array_equal(gray[..., 0], gray[..., 2])


def test_a_sound_bundle_passes_and_onnx_agrees_with_torch(tiny_bundle: Bundle) -> None:
    found = golden.check(tiny_bundle)
    assert (found.ok, found.bound, found.changed, found.fault) == (True, True, (), None)
    assert found.onnx_torch_difference <= 1e-4
    assert max(found.probability_change.values()) <= 1e-5


def of_card(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text())
        change(card)
        (folder / "card.json").write_text(json.dumps(card))

    return spoil


def exchange(card: dict[str, Any]) -> None:
    """The flags and texts stay with their places: what was the answer "benign" now reads "normal"."""
    first, last = card["classes"][0], card["classes"][2]
    first["name"], last["name"] = last["name"], first["name"]


def of_weights(role: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        state = load_file(folder / f"{role}.safetensors")
        change(state)
        save_file(state, folder / f"{role}.safetensors")

    return spoil


def nudge(state: dict[str, torch.Tensor]) -> None:
    """One weight of some hundred thousand, by so little that no answer tells."""
    state["classifier.weight"][0, 0] *= 1.001


def write_graph(folder: Path, graph: onnx.ModelProto) -> None:
    (folder / "student.onnx").write_bytes(graph.SerializeToString())
    bundles.write_card(folder, bundles.read_card(folder))


def other_head(folder: Path) -> None:
    """The ONNX file answers as another network would, on every image alike."""
    graph = onnx.load(folder / "student.onnx")
    bias = next(t for t in graph.graph.initializer if t.dims == [3])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([0.5, 0, 0]), bias.name))
    write_graph(folder, graph)


def other_maps(folder: Path) -> None:
    """The very same answers, drawn where the network did not look."""
    model = onnx.load(folder / "student.onnx")
    maker = next(node for node in model.graph.node if "maps" in node.output)
    for node in model.graph.node:
        node.input[:] = ["true" if name == "maps" else name for name in node.input]
    maker.output[:] = ["true"]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(-1), "minus"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["true", "minus"], ["maps"]))
    write_graph(folder, model)


CHANGES: dict[str, tuple[Callable[[Path], None], golden.Bound]] = {
    "exchanged class names": (of_card(exchange), "classes"),
    "another order of classes": (of_card(lambda card: card["classes"].reverse()), "classes"),
    "a removed must-not-miss flag": (of_card(lambda card: card["classes"][1].update(must_not_miss=False)), "card"),
    "another text for a class": (of_card(lambda card: card["classes"][1].update(words="Harmless")), "card"),
    "another temperature": (of_card(lambda card: card["calibration"]["student"].update(temperature=2.1)), "card"),
    "another threshold": (of_card(lambda card: card["conformal"]["teacher"].update(qhat=0.1)), "card"),
    "an added threshold": (of_card(lambda card: card.update(operating=operating())), "card"),
    "another level": (of_card(lambda card: card["conformal"].update(alpha=0.4)), "card"),
    "another window": (of_card(lambda card: card["input"].update(window="lung")), "card"),
    "another modality": (of_card(lambda card: card["eligibility"].update(modalities=["mri", "ct"])), "card"),
    "a finer margin": (of_card(lambda card: card["metrics"]["student"]["ece"].update(value=0.001)), "card"),
    "one weight of the student": (of_weights("student", nudge), "student.safetensors"),
    "one weight of the teacher": (of_weights("teacher", nudge), "teacher.safetensors"),
    "another ONNX file": (other_head, "student.onnx"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_exchanged_and_sealed_again_is_found(bundle_copy: Path, what: str) -> None:
    change, part = CHANGES[what]
    change(bundle_copy)
    bundles.seal(bundle_copy)
    found = golden.check(load(bundle_copy))
    assert not found.ok
    assert part in found.changed
    assert found.fault is not None


def test_an_operating_threshold_is_bound_and_what_it_gave_on_test_is_not(bundle_copy: Path) -> None:
    first, lower, measured = operating(), operating(threshold=0.2), operating()
    measured["malignant"]["teacher"][0] = measured["malignant"]["teacher"][0] | {"sensitivity": None}
    card = load(bundle_copy).card
    bound = [golden.meaning(card.replace(operating=one)) for one in (first, lower, measured, None)]
    assert bound[0] == bound[2]
    assert len(set(bound)) == 3


def forget(folder: Path) -> None:
    """Make a bundle's golden record one from before it bound anything."""
    file = folder / "golden" / "expected.json"
    record = json.loads(file.read_text())
    del record["bound"]
    file.write_text(json.dumps(record))


def test_an_older_record_passes_and_says_that_it_binds_nothing(bundle_copy: Path) -> None:
    forget(bundle_copy)
    bundles.seal(bundle_copy)
    found = golden.check(load(bundle_copy))
    assert (found.ok, found.bound) == (True, False)


@pytest.mark.parametrize("what", ["exchanged class names", "another ONNX file", "another temperature"])
def test_an_older_record_still_finds_what_changes_an_answer(bundle_copy: Path, what: str) -> None:
    CHANGES[what][0](bundle_copy)
    forget(bundle_copy)
    bundles.seal(bundle_copy)
    assert not golden.check(load(bundle_copy)).ok


@pytest.mark.parametrize("change", [other_head, other_maps])
def test_onnx_and_weights_must_agree_also_where_the_record_was_made_of_both(
    bundle_copy: Path, change: Callable[[Path], None]
) -> None:
    change(bundle_copy)
    bundle = load_sealed(bundle_copy)
    golden.record(bundle_copy, bundle)
    found = golden.check(load_sealed(bundle_copy))
    assert found.bound
    assert not found.changed
    assert not found.ok


def load_sealed(folder: Path) -> Bundle:
    bundles.seal(folder)
    return load(folder)


def test_teacher_and_student_cannot_be_exchanged(bundle_copy: Path) -> None:
    teacher, student = (bundle_copy / f"{role}.safetensors" for role in ("teacher", "student"))
    beside = teacher.rename(bundle_copy / "beside")
    student.rename(teacher)
    beside.rename(student)
    of_card(lambda card: card.update(teacher=card["student"], student=card["teacher"]))(bundle_copy)
    of_card(lambda card: card["teacher"].pop("onnx_bytes"))(bundle_copy)
    found = golden.check(load_sealed(bundle_copy))
    assert not found.ok
    assert {"card", "teacher.safetensors", "student.safetensors"} <= set(found.changed)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_weights_that_are_no_numbers_are_refused(bundle_copy: Path, role: str) -> None:
    of_weights(role, lambda state: state["classifier.weight"][1].fill_(float("nan")))(bundle_copy)
    with pytest.raises(BundleError, match="no finite numbers") as caught:
        golden.check(load_sealed(bundle_copy))
    assert caught.value.reason == "models"


@pytest.mark.parametrize(
    "record",
    [
        {"probabilities": {}},
        {"probabilities": {"teacher": [[0.33]], "student": [[0.33]]}},
        {"probabilities": {"teacher": [[float("nan")] * 3] * 4, "student": [[float("nan")] * 3] * 4}},
        [],
        None,
    ],
)
def test_damaged_cases_are_said(bundle_copy: Path, record: Any) -> None:
    (bundle_copy / "golden" / "expected.json").write_text(json.dumps(record))
    with pytest.raises(BundleError, match="golden cases cannot be read") as caught:
        golden.check(load_sealed(bundle_copy))
    assert caught.value.reason == "golden"


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_recorded_map_of_one_number_is_no_map(bundle_copy: Path, value: float) -> None:
    file = bundle_copy / "golden" / "maps.safetensors"
    save_file({name: torch.full((1,), value) for name in load_file(file)}, file)
    with pytest.raises(BundleError, match="golden cases cannot be read"):
        golden.check(load_sealed(bundle_copy))


def test_pictures_of_a_stranger_are_not_opened(bundle_copy: Path) -> None:
    for picture in (bundle_copy / "golden").glob("*.png"):
        picture.write_bytes(b"no picture")
    assert golden.check(load_sealed(bundle_copy)).ok


def test_what_leaves_the_answers_alone_may_change(bundle_copy: Path) -> None:
    of_card(lambda card: card.update(limits=["Another sentence."], version="1.0.1"))(bundle_copy)
    assert golden.check(load_sealed(bundle_copy)).ok


@pytest.mark.parametrize("name", sorted(path.name for path in bundles.shipped_folder().iterdir()))
def test_the_shipped_bundles_are_bound(name: str, tmp_path: Path) -> None:
    bundle = load(shutil.copytree(bundles.shipped_folder() / name, tmp_path / name))
    expected = golden.Expected.model_validate_json((bundle.path / "golden" / "expected.json").read_bytes())
    assert expected.bound == golden.digests(bundle)
