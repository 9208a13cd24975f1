"""The Predictor against the models run by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.contracts.reading import ROLES
from kdlight.explain import ExplainError, explain
from kdlight.explain.likeness import likeness
from kdlight.images import Image
from kdlight.inference import IneligibleError, Predictor, eligibility, golden
from tests.conftest import picture


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Bundle) -> Predictor:
    return Predictor(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def batch(tiny_bundle: Bundle) -> torch.Tensor:
    pictures = np.stack([golden.draw(i, tiny_bundle.spec.size, color=True) for i in range(6)])
    return tiny_bundle.spec.normalise(torch.from_numpy(pictures))


def by_hand(bundle: Bundle, role: str, image: Image) -> np.ndarray:
    """Calibrated probabilities (K,) from the torch network, in plain steps."""
    with torch.no_grad():
        logits = bundle.model(role)(bundle.spec.prepare(image)[None])[0].double().numpy()  # type: ignore[arg-type]
    powers = np.exp(logits / bundle.card.temperature(role))
    return powers / powers.sum()


def test_both_opinions_are_the_calibrated_models(predictor: Predictor, tiny_bundle: Bundle) -> None:
    for seed in range(3):
        image = picture(seed=seed)
        reading = predictor.read(image)
        for role in ROLES:
            opinion, expected = getattr(reading, role), by_hand(tiny_bundle, role, image)
            np.testing.assert_allclose(list(opinion.probabilities.values()), expected, atol=1e-4)
            assert tuple(opinion.probabilities) == tiny_bundle.classes
            assert opinion.prediction == tiny_bundle.classes[expected.argmax()]


def test_answers_differ_from_image_to_image(predictor: Predictor) -> None:
    answers = [predictor.read(picture(seed=s)).student.probabilities["benign"] for s in range(3)]
    assert np.ptp(answers) > 0.01


def test_the_onnx_student_agrees_with_torch(predictor: Predictor, batch: torch.Tensor) -> None:
    assert predictor.parity(batch) <= 1e-4
    assert np.ptp(predictor.probabilities("student", batch), axis=0).max() > 0.01


def test_the_folded_teacher_agrees_with_the_one_that_was_trained(
    predictor: Predictor, tiny_bundle: Bundle, batch: torch.Tensor
) -> None:
    with torch.no_grad():
        expected = tiny_bundle.model("teacher")(batch).numpy()
    np.testing.assert_allclose(predictor.logits("teacher", batch), expected, rtol=1e-4)


def test_prediction_sets_hold_the_top_class_and_all_above_the_threshold(
    predictor: Predictor, tiny_bundle: Bundle
) -> None:
    for seed in range(4):
        reading = predictor.read(picture(seed=seed))
        for role in ROLES:
            opinion = getattr(reading, role)
            limit = 1 - tiny_bundle.card.conformal.of(role).qhat
            expected = {c for c, p in opinion.probabilities.items() if p >= limit} | {opinion.prediction}
            assert set(opinion.prediction_set) == expected


def test_a_reading_says_what_it_is_made_from(predictor: Predictor, tiny_bundle: Bundle, tiny_image: Image) -> None:
    reading = predictor.read(tiny_image)
    assert (reading.bundle, reading.bundle_sha256) == ("tiny_mri", tiny_bundle.sha256)
    assert reading.image.sha256 == tiny_image.sha256
    assert reading.teacher.bytes == (tiny_bundle.path / "teacher.safetensors").stat().st_size
    assert reading.student.parameters == sum(p.numel() for p in tiny_bundle.model("student").parameters())
    assert reading.times_smaller > 5
    assert reading.map_similarity is None
    assert json.loads(json.dumps(reading.to_json()))["schema"] == "kdlight.reading/3"


def test_each_model_is_asked_once_and_no_speed_is_told_from_one_image(
    predictor: Predictor, tiny_image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(role: str) -> Callable[[torch.Tensor], np.ndarray]:
        engine = predictor._engines[role]  # type: ignore[index]
        return lambda x: (calls.append(role), engine(x))[1]  # type: ignore[func-returns-value]

    monkeypatch.setattr(predictor, "_engines", {role: counted(role) for role in ROLES})
    reading = predictor.read(tiny_image).to_json()
    assert calls == ["teacher", "student"]
    assert "times_faster" not in reading
    assert "seconds" not in reading["student"]


@pytest.mark.parametrize("method", ["gradcam", "scorecam"])
def test_heat_maps_lie_over_the_image(predictor: Predictor, tiny_bundle: Bundle, method: str) -> None:
    image = dataclasses.replace(picture(), pixels=picture().pixels[:60])
    reading = predictor.read(image, explain=method, class_name="malignant")
    x = tiny_bundle.spec.prepare(image)[None]
    for role in ROLES:
        heat = getattr(reading, role).heat_map
        expected = explain(tiny_bundle.model(role), x, 1, method)
        assert heat.values.shape == (60, 96)
        np.testing.assert_allclose(heat.values, tiny_bundle.spec.to_image_plane(expected, (60, 96)), atol=3e-2)
        assert (heat.method, heat.class_name, heat.flat) == (method, "malignant", False)
        assert (heat.grade is None) is (method == "scorecam")  # a slow method is graded on demand
    values = [getattr(reading, role).heat_map.values.ravel() for role in ROLES]
    assert reading.map_similarity == pytest.approx(np.corrcoef(values)[0, 1])
    assert reading.map_likeness == likeness(*(o.heat_map.values for o in reading.opinions))


@pytest.mark.parametrize("method", ["gradcam", "cam"])
def test_class_maps_come_out_of_the_pass_that_answers(
    predictor: Predictor, tiny_bundle: Bundle, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No second pass and no gradient; the map is the one that the method gives on torch."""
    image = picture(side=64, seed=5)
    x = tiny_bundle.spec.prepare(image)[None]
    expected = {
        (role, name): explain(tiny_bundle.model(role), x, index, method)
        for role in ROLES
        for index, name in enumerate(tiny_bundle.classes)
    }
    monkeypatch.setattr("kdlight.explain.explained", lambda *_: pytest.fail("a second pass was made"))
    for name in tiny_bundle.classes:
        maps = predictor.heat_maps(image, method, name)
        for role in ROLES:
            assert (maps[role].method, maps[role].class_name) == (method, name)
            np.testing.assert_allclose(maps[role].values, expected[role, name], atol=2e-3)
    assert np.ptp([heat.mean() for heat in expected.values()]) > 0.01
    assert predictor.read(image, explain=method).student.heat_map is not None


def test_a_student_file_without_class_maps_is_explained_on_torch(bundle_copy: Path, tiny_image: Image) -> None:
    """As bundles were before there was a second output."""
    with_maps = Predictor(bundles.load(bundle_copy), threads=1).heat_maps(tiny_image)["student"]
    graph = onnx.load(bundle_copy / "student.onnx")
    del graph.graph.output[1]
    onnx.save(graph, bundle_copy / "student.onnx")
    bundles.write_card(bundle_copy, bundles.read_card(bundle_copy))
    bundles.seal(bundle_copy)
    older = Predictor(bundles.load(bundle_copy), threads=1)
    x = older.spec.prepare(tiny_image)[None]
    assert older._engines["student"].answer(x).maps is None
    found = older.heat_maps(tiny_image)["student"]
    np.testing.assert_allclose(found.values, with_maps.values, atol=2e-3)
    assert found.note == with_maps.note


def test_heat_maps_alone_equal_those_of_a_reading(predictor: Predictor, tiny_image: Image) -> None:
    reading, maps = predictor.read(tiny_image, explain="gradcam"), predictor.heat_maps(tiny_image, "gradcam")
    for role in ROLES:
        opinion = getattr(reading, role)
        assert maps[role].class_name == opinion.prediction
        np.testing.assert_array_equal(maps[role].values, opinion.heat_map.values)


def test_large_images_get_a_map_of_512(predictor: Predictor) -> None:
    wide = dataclasses.replace(picture(), pixels=np.tile(picture(64).pixels, (16, 32)))
    assert predictor.heat_maps(wide)["student"].values.shape == (256, 512)


def test_progress_runs_through_both_models(predictor: Predictor, tiny_image: Image) -> None:
    seen: list[tuple[float, str]] = []
    predictor.read(tiny_image, explain="scorecam", progress=lambda share, words: seen.append((share, words)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert {words for _, words in seen} == {"Score-CAM of the teacher", "Score-CAM of the student"}


@pytest.mark.parametrize(
    ("image", "chosen", "reason"),
    [
        (picture(modality="ct"), None, "By its header this file is CT; Tiny MRI was trained on MRI."),
        (picture(modality="ct"), "mri", "By its header this file is CT; Tiny MRI was trained on MRI."),
        (picture(modality=None), "fundus", "You chose Fundus photograph; Tiny MRI was trained on MRI."),
        (picture(side=16), None, "The image is 16 x 16 pixels; at least 32 on each side were expected."),
        (
            dataclasses.replace(picture(), pixels=np.full((64, 64), 7, np.float32)),
            None,
            "Every pixel has the same value: there is nothing to read.",
        ),
    ],
)
def test_an_uncovered_file_is_read_only_when_confirmed(
    predictor: Predictor, image: Image, chosen: str | None, reason: str
) -> None:
    with pytest.raises(IneligibleError) as caught:
        predictor.read(image, modality=chosen)
    assert caught.value.reasons == (reason,)
    assert str(caught.value) == f"{reason} Confirm (--anyway) to read it nevertheless."
    with pytest.raises(IneligibleError):
        predictor.heat_maps(image, modality=chosen)
    found = predictor.read(image, modality=chosen, confirmed=True).eligibility
    assert (found.eligible, found.confirmed, found.reasons) == (False, True, (reason,))


def test_an_unstated_or_fitting_modality_is_no_reason(predictor: Predictor) -> None:
    for image, chosen in ((picture(modality=None), None), (picture(modality=None), "mri"), (picture(), None)):
        found = predictor.read(image, modality=chosen, confirmed=True).eligibility
        assert (found.eligible, found.confirmed, found.reasons) == (True, False, ())


def test_color_is_what_the_pixels_show(tiny_bundle: Bundle) -> None:
    def reasons(wanted: bool, image: Image) -> tuple[str, ...]:
        card = tiny_bundle.card.replace(eligibility={"modalities": ["mri"], "color": wanted})
        return eligibility(card, image).reasons

    tinted, gray = picture(color=True), picture()
    gray_in_rgb = dataclasses.replace(tinted, pixels=np.repeat(tinted.pixels[:, :, :1], 3, axis=2))
    assert reasons(True, tinted) == reasons(False, gray) == reasons(False, gray_in_rgb) == ()
    assert reasons(False, tinted) == ("The image is in color; Tiny MRI was trained on images that are gray.",)
    assert reasons(True, gray) == reasons(True, gray_in_rgb)
    assert reasons(True, gray) == ("The image is gray; Tiny MRI was trained on images that are in color.",)


def test_unknown_names_are_answered_with_the_known_ones(predictor: Predictor, tiny_image: Image) -> None:
    with pytest.raises(ExplainError, match="benign, malignant, normal was expected"):
        predictor.read(tiny_image, class_name="tumour")
    with pytest.raises(ExplainError, match=r"multilayer, gradcam, .* was expected"):
        predictor.heat_maps(tiny_image, "x-ray")
    with pytest.raises(ValueError, match="Unknown modality 'sonar'"):
        predictor.read(tiny_image, modality="sonar")


def test_denormals_are_flushed_inside_and_kept_outside(predictor: Predictor, tiny_image: Image) -> None:
    predictor.read(tiny_image, explain="gradcam")
    assert torch.tensor(1e-40).mul(1).item() != 0
