"""A real worker with a real bundle: what comes back is what the Predictor says in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from kdlight.bundle import Bundle, BundleError
from kdlight.contracts.reading import ROLES, Reading
from kdlight.explain import DEFAULT
from kdlight.inference import IneligibleError, Predictor
from kdlight.workers import Latency, Read, RequestCancelled, Verify, Workers
from kdlight.workers.proofs import PROVEN, told
from kdlight.workers.requests import Accept, Compare
from tests.bundle_faults import put, spoil
from tests.conftest import picture

LONG = 300.0


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with closing(Workers(threads=1)) as started:
        yield started


def test_a_reading_with_maps_is_the_predictors(workers: Workers, tiny_bundle: Bundle) -> None:
    got: Reading = workers.submit(Read(tiny_bundle.path, picture(), explain="gradcam")).result(LONG)
    expected = Predictor(tiny_bundle, threads=1).read(picture(), explain="gradcam")
    for role in ROLES:
        mine, theirs = getattr(expected, role), getattr(got, role)
        np.testing.assert_allclose(list(theirs.probabilities.values()), list(mine.probabilities.values()), atol=1e-5)
        assert (theirs.prediction, theirs.prediction_set) == (mine.prediction, mine.prediction_set)
        np.testing.assert_allclose(theirs.heat_map.values, mine.heat_map.values, atol=1e-3)
        assert theirs.heat_map.note == mine.heat_map.note
    assert got.map_similarity == pytest.approx(expected.map_similarity, abs=1e-3)
    assert got.to_json().keys() == expected.to_json().keys()
    assert (got.image, got.eligibility, got.bundle_sha256) == (
        expected.image,
        expected.eligibility,
        expected.bundle_sha256,
    )


def test_what_one_process_saw_reproduce_no_other_asks_again(workers: Workers, tiny_bundle: Bundle) -> None:
    workers.submit(Read(tiny_bundle.path, picture())).result(LONG)
    assert tiny_bundle.sha256 in PROVEN
    for request in (Read(tiny_bundle.path, picture()), Compare(tiny_bundle.path), Accept(tiny_bundle.path, "x")):
        assert tiny_bundle.sha256 in told(request).proven


def test_a_bundle_that_does_not_reproduce_is_refused_by_the_process(workers: Workers, bundle_copy: Path) -> None:
    spoil(bundle_copy, put([0.5, 0.5, 0.5], "input", "mean"))
    with pytest.raises(BundleError, match="does not reproduce what it was made with") as caught:
        workers.submit(Read(bundle_copy, picture())).result(LONG)
    assert caught.value.reason == "golden"


def test_heat_maps_for_a_chosen_class(workers: Workers, tiny_bundle: Bundle) -> None:
    reading = workers.submit(Read(tiny_bundle.path, picture(), DEFAULT, class_name="normal")).result(LONG)
    expected = Predictor(tiny_bundle, threads=1).heat_maps(picture(), class_name="normal")
    for role in ROLES:
        heat = getattr(reading, role).heat_map
        assert heat.class_name == "normal"
        np.testing.assert_allclose(heat.values, expected[role].values, atol=1e-3)


def test_refusals_come_back_as_themselves(workers: Workers, tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(IneligibleError) as caught:
        workers.submit(Read(tiny_bundle.path, picture(modality="ct"))).result(LONG)
    assert caught.value.reasons == ("By its header this file is CT; Tiny MRI was trained on MRI.",)
    with pytest.raises(BundleError, match="is no bundle"):
        workers.submit(Read(tmp_path, picture())).result(LONG)


def test_a_changed_bundle_is_noticed(workers: Workers, bundle_copy: Path) -> None:
    workers.submit(Read(bundle_copy, picture())).result(LONG)
    (bundle_copy / "SHA256SUMS").write_text((bundle_copy / "SHA256SUMS").read_text("utf-8"), "utf-8")
    with (bundle_copy / "student.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"student\.onnx was changed"):
        workers.submit(Read(bundle_copy, picture())).result(LONG)


def test_scorecam_can_be_cancelled(workers: Workers, tiny_bundle: Bundle) -> None:
    (pid,) = workers.pids
    ticket = workers.submit(Read(tiny_bundle.path, picture(), explain="scorecam"))
    while not ticket.progress[0]:
        assert not ticket.done
        time.sleep(0.01)
    ticket.cancel()
    with pytest.raises(RequestCancelled):
        ticket.result(LONG)
    assert workers.submit(Read(tiny_bundle.path, picture())).result(LONG).bundle_sha256 == tiny_bundle.sha256
    assert workers.pids == [pid]


def test_verify_and_latency_are_asked_of_a_worker_too(workers: Workers, tiny_bundle: Bundle) -> None:
    verified = workers.submit(Verify(tiny_bundle.path)).result(LONG)
    assert (verified.ok, verified.sha256) == (True, tiny_bundle.sha256)
    timed = workers.submit(Latency(tiny_bundle.path, size=32)).result(LONG)
    assert timed.times_faster > 0
    assert timed.size == 32
