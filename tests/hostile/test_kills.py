"""Commands killed at any moment and gone on with: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.bundle import Bundle, load
from kdlight.data import synthetic
from kdlight.inference import golden
from kdlight.runs import Run
from tests.hostile.conftest import SECONDS

KILLS = 2
"""Of each command at least, however slow the machine."""
FORKS = """
import json, os, signal, sys, time
import torch, kdlight.training.run, kdlight.studies.run, kdlight.inference
from kdlight.cli import main

for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        status = 1
        os.dup2(2, 1)
        try:
            status = main(request["arguments"])
        finally:
            os._exit(status)
    end, status = time.monotonic() + request["seconds"], None
    while status is None:
        done, code = os.waitpid(child, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(code)
        elif time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.002)
    print(json.dumps(status), flush=True)
"""


class Commands:
    """Runs each command in a fork of a process that has everything imported, and kills it after some seconds."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "OMP_NUM_THREADS": "1", "KDLIGHT_CACHE": str(log.parent / "cache")},
        )

    def run(self, *arguments: str | Path, seconds: float = 300.0) -> int:
        """The exit status, -9 where it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"arguments": [str(argument) for argument in arguments], "seconds": seconds}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    @property
    def said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        self._process.communicate()
        self._log.close()


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    started = Commands(tmp_path_factory.mktemp("commands") / "said.txt")
    yield started
    started.close()


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A small training: its weights at hand, its images drawn."""
    import torch
    from safetensors.torch import save_file

    from kdlight.models import create_model

    torch.manual_seed(0)
    save_file(create_model("mobilenetv2", 3).state_dict(), tmp_path / "weights.safetensors")
    shapes = synthetic(tmp_path / "shapes", per_class=12, size=32)
    texts = ("train.epochs=4", "teacher.epochs=2", "data.size=32", "train.batch_size=64", f"data.path={shapes}")
    return [part for text in (*texts, f"teacher.weights={tmp_path / 'weights.safetensors'}") for part in ("-o", text)]


def moments(longest: float) -> Iterator[float]:
    """Seconds after which to kill, seeded, until the part's time is over."""
    rng, end, count = np.random.default_rng(0), time.monotonic() + SECONDS, 0
    while count < KILLS or time.monotonic() < end:
        yield float(rng.uniform(0, longest))
        count += 1


def epochs(folder: Path) -> list[tuple[str, int]]:
    return [(record.phase, record.epoch) for record in Run(folder).log()]


def whole(folder: Path, reference: Path) -> None:
    """A run that was killed again and again has learned what one that was left alone has."""
    assert epochs(folder) == epochs(reference)
    for name in ("teacher", "alone", "student", "predictions"):
        one, two = (path / f"{name}.safetensors" for path in (folder, reference))
        assert one.read_bytes() == two.read_bytes(), name
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in reference.iterdir()}
    assert load(folder / "bundle").card.metrics == load(reference / "bundle").card.metrics


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(
    commands: Commands, options: list[str], tmp_path: Path
) -> None:
    reference = tmp_path / "reference"
    began = time.monotonic()
    assert commands.run("train", "kdlight-synthetic", *options, "--out", reference) == 0, commands.said
    took = time.monotonic() - began
    out, kills, ended = tmp_path / "run", 0, 0
    for seconds in moments(0.6 * took):
        before = epochs(out) if out.exists() else []
        resume = ["--resume"] if (out / "log.jsonl").exists() else []
        status = commands.run("train", "kdlight-synthetic", *options, *resume, "--out", out, seconds=seconds)
        assert status in (-9, 0), commands.said
        assert not out.exists() or epochs(out)[: len(before)] == before
        kills += status == -9
        if status == 0:
            whole(out, reference)
            ended += 1
            out = tmp_path / f"run-{ended}"
    assert kills
    if out.exists():
        resume = ["--resume"] if Run(out).begun() else []
        assert commands.run("train", "kdlight-synthetic", *options, *resume, "--out", out) == 0, commands.said
        whole(out, reference)


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on(commands: Commands, options: list[str], tmp_path: Path) -> None:
    command = ("study", "kdlight-synthetic", *options, "-o", "train.epochs=2", "--seeds", "2", "--out")
    reference, out = tmp_path / "reference", tmp_path / "study"
    began = time.monotonic()
    assert commands.run(*command, reference) == 0, commands.said
    took = time.monotonic() - began
    for seconds in moments(0.6 * took):
        assert commands.run(*command, out, seconds=seconds) in (-9, 0), commands.said
    assert commands.run(*command, out) == 0, commands.said
    for seed in ("seed-0", "seed-1"):
        assert epochs(out / seed) == epochs(reference / seed)
        assert (out / seed / "predictions.safetensors").read_bytes() == (
            reference / seed / "predictions.safetensors"
        ).read_bytes()
    ours, theirs = (json.loads((path / "study.json").read_bytes()) for path in (out, reference))
    assert ours["seeds"] == theirs["seeds"]
    left = {path.name for path in out.iterdir()} - {path.name for path in reference.iterdir()}
    assert {name for name in left if not name.startswith(".study.json.")} == set()


@pytest.mark.slow
def test_a_prediction_that_is_killed_loses_and_doubles_nothing(
    commands: Commands, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for number in range(60):
        PIL.Image.fromarray(golden.draw(number, 64, color=False)).convert("L").save(scans / f"{number:03d}.png")
    command = ("predict", tiny_bundle.path, scans, "--confirm", "--out")
    began = time.monotonic()
    assert commands.run(*command, tmp_path / "reference") == 0, commands.said
    took = time.monotonic() - began
    before = b""
    for seconds in moments(took):
        resume = ["--resume"] if before else []
        assert commands.run(*command, out, *resume, seconds=seconds) in (-9, 0), commands.said
        content = (out / "readings.jsonl").read_bytes() if (out / "readings.jsonl").exists() else b""
        kept = before[: before.rfind(b"\n") + 1]
        assert content.startswith(kept)
        before = content
    assert commands.run(*command, out, *(["--resume"] if before else [])) == 0, commands.said
    names = [json.loads(line)["file"] for line in (out / "readings.jsonl").read_bytes().splitlines()]
    assert names == sorted(str(path) for path in scans.iterdir())
