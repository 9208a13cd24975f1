"""A bundle that knows what its images look like, from its file to what a reading, a batch and a command say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from kdlight import bundle as bundles
from kdlight import storage
from kdlight.bundle import Bundle, BundleError
from kdlight.images import Image
from kdlight.inference import IneligibleError, Predictor, golden, learn, triage
from kdlight.inference.batch import File
from kdlight.inference.engines import OnnxEngine
from kdlight.inference.learn import STAGES, kinds_withheld, stages
from kdlight.inference.map_limits import scored
from kdlight.models import create_model
from tests.conftest import picture
from tests.tiny import SIZE


def drawn(count: int, seed: int) -> np.ndarray:
    """Bright above and dark below, with noise: which way up they are is to be seen. uint8 (count, S, S, 3)."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(200, 20, SIZE)[None, :, None, None]
    tilt = rng.uniform(-10, 10, (count, 1, 1, 1)) * np.linspace(-1, 1, SIZE)[None, None, :, None]
    gray = ramp + tilt + rng.normal(0, 6, (count, SIZE, SIZE, 1))
    return np.clip(gray, 0, 255).astype(np.uint8).repeat(3, axis=3)


def scan(pixels: np.ndarray) -> Image:
    image = picture()
    return Image(
        sha256="", format="png", bits=8, pixels=pixels[..., 0].astype(np.float32), windows=image.windows, modality="mri"
    )


@pytest.fixture(scope="module")
def knowing(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("knowing") / "tiny_mri"
    shutil.copytree(tiny_bundle.path, path)
    splits = {"train": drawn(80, 0), "val": drawn(60, 1), "test": drawn(60, 2)}
    card = learn.learn(bundles.load(path), splits)
    golden.bind(Bundle(path, card, ""))
    bundles.seal(path)
    return bundles.load(path)


def test_the_features_are_the_pooled_maps_of_the_torch_network(knowing: Bundle) -> None:
    """What each halving convolution takes in, folded or not; the last is what the logits are made of."""
    pixels = drawn(3, 9)
    found = stages(OnnxEngine.of(knowing, 1, stages=True), knowing.spec, pixels)
    x, student = knowing.spec.normalise(torch.from_numpy(pixels)), knowing.model("student")
    with torch.no_grad():
        maps = student.forward_with_features(x)[1]
    np.testing.assert_allclose(found[-1], maps[-1].mean(dim=(2, 3)).numpy(), atol=1e-4)
    model = onnx.load(knowing.onnx)
    halving = [n for n in model.graph.node if any(a.name == "strides" and list(a.ints) == [2, 2] for a in n.attribute)]
    assert len(found) == len(halving)  # all but the first take in a stage, and the last stage is added
    assert len(found) > STAGES


def test_own_images_are_read_and_what_is_planted_is_withheld(knowing: Bundle) -> None:
    shares = {one.kind: one for one in knowing.card.belonging.kinds}  # type: ignore[union-attr]
    assert shares["own"].share.value < 0.15
    assert shares["own"].n == 60
    for kind in ("turned by 90 degrees", "turned by 180 degrees", "inverted", "strong noise", "blank", "text page"):
        assert shares[kind].share.value > 0.9, kind
    assert "mirrored" not in shares  # an MRI may be
    assert kinds_withheld(knowing, drawn(60, 2)) == knowing.card.belonging.kinds  # type: ignore[union-attr]


def test_a_turned_image_is_withheld_and_named(knowing: Bundle) -> None:
    predictor = Predictor(knowing, threads=1)
    (own,) = drawn(1, 21)
    reading = predictor.read(scan(own))
    assert reading.eligibility.eligible
    assert 0 < (reading.eligibility.distance or 0) <= 1
    for change, kind in ((np.rot90(own), "turned"), (own[::-1], "upside_down"), (255 - own, "inverted")):
        with pytest.raises(IneligibleError) as caught:
            predictor.read(scan(change))
        assert kind in [misfit.kind for misfit in caught.value.withheld.eligibility.misfits]  # type: ignore[union-attr]
        told = caught.value.withheld.to_json()  # type: ignore[union-attr]
        assert (told["verdict"], told["teacher"], told["student"]) == ("withheld", None, None)
        with pytest.raises(IneligibleError):
            predictor.heat_maps(scan(change))
        marked = predictor.read(scan(change), confirmed=True)
        assert (marked.verdict, marked.eligibility.confirmed) == ("withheld", True)
        assert json.loads(json.dumps(marked.to_json()))["eligibility"]["misfits"][0]["kind"]


def test_maps_are_held_against_limits_that_random_weights_do_not_reach(knowing: Bundle) -> None:
    """Also not such as no part of the limits knows: as torch makes them, before any training."""
    (found,) = knowing.card.maps or ()
    assert (found.method, found.n, found.tested) == ("multilayer", 20, 20)
    assert [(rates.random_n, rates.random.value <= 0.15) for rates in found.passed.values()] == [(40, True)] * 2
    torch.manual_seed(9)
    planted = create_model("kdlight_nano", 3).eval().requires_grad_(False)
    x = knowing.spec.normalise(torch.from_numpy(drawn(10, 5)))
    values = np.array([scored(planted, one[None], 1.0, "multilayer") for one in x])
    assert (values >= (found.gain, found.shift)).all(axis=1).mean() <= 0.1


def test_a_reading_has_the_grade_of_its_maps(knowing: Bundle) -> None:
    predictor = Predictor(knowing, threads=1)
    reading = predictor.read(scan(drawn(1, 21)[0]), explain="multilayer")
    grade = reading.student.heat_map.grade  # type: ignore[union-attr]
    assert grade is not None
    assert grade.limits == knowing.card.map_limits("multilayer")
    assert grade.passed is not bool(grade.faults)
    told = json.loads(json.dumps(reading.to_json()))["student"]["heat_map"]["grade"]
    assert told["faults"] == list(grade.faults)
    shares = reading.student.probabilities
    least = min(shares, key=shares.__getitem__)
    other = predictor.read(scan(drawn(1, 21)[0]), explain="multilayer", class_name=least)
    assert other.student.heat_map.grade.limits is None  # type: ignore[union-attr]


def test_one_that_does_not_belong_does_not_stop_a_batch(knowing: Bundle) -> None:
    predictor = Predictor(knowing, threads=1)
    own = drawn(2, 22)
    first, last = predictor.read_all([predictor.prepare(scan(p)) for p in (own[0], 255 - own[1])])
    assert first.to_json()["student"]["prediction"]
    assert last.to_json()["student"] is None


def test_color_is_withheld_from_a_bundle_that_knows_gray_only(knowing: Bundle) -> None:
    with pytest.raises(IneligibleError) as caught:
        Predictor(knowing, threads=1).prepare(picture(color=True, side=SIZE))
    assert [misfit.kind for misfit in caught.value.withheld.eligibility.misfits] == ["color"]  # type: ignore[union-attr]


def test_a_bundle_from_before_reads_on_and_says_so(tiny_bundle: Bundle) -> None:
    assert Predictor(tiny_bundle, threads=1).read(scan(255 - drawn(1, 3)[0])).eligibility.distance is None
    with pytest.raises(ValueError, match="does not know what its images look like"):
        kinds_withheld(tiny_bundle, drawn(2, 3))


def test_what_it_knows_is_bound_to_the_golden_cases(knowing: Bundle, tmp_path: Path) -> None:
    assert golden.digests(knowing).keys() >= {"belonging.safetensors", "card"}
    path = tmp_path / "tiny_mri"
    shutil.copytree(knowing.path, path)
    looser = knowing.card.replace(belonging=knowing.card.belonging.replace(distance=99))  # type: ignore[union-attr]
    storage.write_json(path / "card.json", looser.to_json())
    bundles.seal(path)
    assert golden.check(bundles.load(path)).changed == ("card",)
    (path / bundles.LOOKS).write_bytes(b"nonsense")
    bundles.seal(path)
    with pytest.raises(BundleError, match=r"belonging\.safetensors cannot be read"):
        Predictor(bundles.load(path), threads=1)


def test_triage_leaves_what_does_not_belong_to_a_person(knowing: Bundle) -> None:
    predictor, own = Predictor(knowing, threads=1), drawn(2, 23)
    files = [File(Path(str(i)), predictor.prepare(scan(p))) for i, p in enumerate((own[0], 255 - own[1]))]
    first, last = triage.judged(predictor, files)
    assert first.prepared.eligibility.eligible  # type: ignore[union-attr]
    assert not last.prepared.eligibility.eligible  # type: ignore[union-attr]
