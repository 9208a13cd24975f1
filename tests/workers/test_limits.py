"""What a bundle may take of a server: memory, time, and a second chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError, OverLimitError
from kdlight.workers import BundleDisabled, Read, Verification, Verify, WorkerDied, WorkerError, Workers, trial
from tests.conftest import picture
from tests.inference.test_graphs import expanding_as_it_runs, looping, with_graph
from tests.workers.fake_child import Act, Ask
from tests.workers.test_workers import FAKE, LONG, ROOT

EVIL, OTHER = Path("evil"), Path("other")


@pytest.fixture(autouse=True)
def _tests_in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def workers() -> Iterator[Workers]:
    with closing(Workers(threads=1, module=FAKE, memory=200 * 2**20)) as started:
        yield started


def test_memory_has_an_end_and_the_process_lives_on(workers: Workers) -> None:
    assert workers.submit(Act("eat:100")).result(LONG).word == "100"
    pids = workers.pids
    with pytest.raises(WorkerError, match="MemoryError"):
        workers.submit(Act("eat:400")).result(LONG)
    assert workers.submit(Act("eat:100")).result(LONG).word == "100"
    assert workers.pids == pids


def test_a_step_that_takes_too_long_is_ended_and_the_next_request_is_answered(workers: Workers) -> None:
    workers.submit(Act("say:up")).result(LONG)
    slow, next_one = workers.submit(Ask("hang", EVIL, most=1.0)), workers.submit(Act("say:on"))
    with pytest.raises(WorkerDied, match=r"gave no sign of life for 1 s\). A new one is starting. Try again"):
        slow.result(LONG)
    assert next_one.result(LONG).word == "on"


def test_the_time_of_one_request_is_not_that_of_the_next(workers: Workers) -> None:
    workers.submit(Ask("say:quick", OTHER, most=0.2)).result(LONG)
    assert workers.submit(Act("sleep:0.5")).result(LONG)


@pytest.mark.parametrize("how", ["die", "hang", "raise:over"])
def test_two_strikes_disable_a_bundle_and_no_other(workers: Workers, how: str) -> None:
    workers.submit(Act("say:up")).result(LONG)
    for _ in range(2):
        assert workers.strikes.refusal(EVIL) is None
        with pytest.raises((WorkerDied, OverLimitError)):
            workers.submit(Ask(how, EVIL, most=1.0)).result(LONG)
    with pytest.raises(BundleDisabled, match="evil ended the reading process 2 times"):
        workers.submit(Ask("say:x", EVIL)).result(0)
    assert workers.submit(Ask("say:x", OTHER)).result(LONG).word == "x"
    assert workers.strikes.disabled.keys() == {EVIL}
    workers.strikes.clear(EVIL)
    assert workers.submit(Ask("say:x", EVIL)).result(LONG).word == "x"


def test_a_busy_machine_does_not_close_what_is_shipped(workers: Workers) -> None:
    for _ in range(3):
        workers.strikes.add(bundles.shipped_folder() / "busi3")
    assert not workers.strikes.disabled


def test_what_is_canceled_is_no_strike(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdlight.workers.pool.GRACE", 0.0)
    workers.submit(Act("say:up")).result(LONG)
    for _ in range(3):
        ticket = workers.submit(Ask("hang", EVIL))
        while not ticket.begun:
            assert not ticket.done
        ticket.cancel()
        assert workers.submit(Act("say:on")).result(LONG).word == "on"
    assert workers.strikes.refusal(EVIL) is None


def test_a_plain_reading_has_15_seconds() -> None:
    read = Read(EVIL, picture())
    assert (read.patience, Act("x").patience) == (15.0, None)
    assert Read(EVIL, picture(), "scorecam").patience == 60.0


def test_a_graph_that_repeats_never_reaches_the_runtime(bundle_copy: Path, tiny_bundle: Bundle) -> None:
    with_graph(bundle_copy, looping().SerializeToString())
    with closing(Workers(threads=1)) as workers:
        workers.submit(Read(tiny_bundle.path, picture())).result(LONG)
        pids, evil = workers.pids, workers.submit(Read(bundle_copy, picture()))
        with pytest.raises(BundleError, match="branches or repeats") as caught:
            evil.result(LONG)
        assert caught.value.reason == "models"
        assert workers.submit(Read(tiny_bundle.path, picture())).result(LONG).bundle == "tiny_mri"
        assert workers.pids == pids


def test_a_graph_that_grows_as_it_runs_meets_the_limit_and_is_disabled(bundle_copy: Path, tiny_bundle: Bundle) -> None:
    with_graph(bundle_copy, expanding_as_it_runs().SerializeToString())
    with closing(Workers(threads=1, memory=2 * 2**30)) as workers:
        for _ in range(2):
            with pytest.raises(OverLimitError, match="The student of Tiny MRI failed, or asked for more memory"):
                workers.submit(Read(bundle_copy, picture())).result(LONG)
        with pytest.raises(BundleDisabled):
            workers.submit(Read(bundle_copy, picture())).result(LONG)
        assert workers.submit(Read(tiny_bundle.path, picture())).result(LONG).bundle == "tiny_mri"


def test_a_trial_says_what_verify_says_and_leaves_no_process(tiny_bundle: Bundle, bundle_copy: Path) -> None:
    found = trial.verify(tiny_bundle.path)
    assert (found.ok, found.bound, found.fault, found.signature.state) == (True, True, None, "unsigned")
    (bundle_copy / "golden" / "maps.safetensors").write_bytes(b"x")
    bundles.seal(bundle_copy)
    with pytest.raises(BundleError) as caught:
        trial.verify(bundle_copy)
    assert caught.value.reason == "golden"


def test_verifying_clears_the_strikes(tiny_bundle: Bundle) -> None:
    with closing(Workers(threads=1)) as workers:
        for _ in range(2):
            workers.strikes.add(tiny_bundle.path)
        with pytest.raises(BundleDisabled):
            workers.submit(Read(tiny_bundle.path, picture())).result(LONG)
        verified: Verification = workers.submit(Verify(tiny_bundle.path)).result(LONG)
        assert verified.ok
        assert workers.submit(Read(tiny_bundle.path, picture())).result(LONG).bundle == "tiny_mri"
