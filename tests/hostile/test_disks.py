"""Checkpoints on a bad disk, and commands on one that fills up at any point."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.cli import main
from kdlight.training.checkpoint import CheckpointError
from tests.cli.test_full_disk import largest
from tests.hostile.conftest import Trials
from tests.training.test_checkpoint import Training, damaged


def test_a_training_goes_on_with_what_was_written_or_not_at_all(trials: Trials, tmp_path: Path) -> None:
    """One or both of its checkpoints are damaged, each once or twice."""
    training, states, files = Training(), [], [tmp_path / "previous.c.safetensors", tmp_path / "c.safetensors"]
    for _ in range(2):
        training.epoch()
        training.save(files[1])
        states.append(training.state)
    whole = [file.read_bytes() for file in files]
    ends = {"newest": 0, "one before": 0, "refused": 0}
    for rng in trials():
        for file, content in zip(files, whole, strict=True):
            for _ in range(int(rng.integers(3))):
                content = damaged(content, rng)
            file.write_bytes(content)
        training = Training()
        try:
            sentence = training.restore(files[1])
        except CheckpointError:
            ends["refused"] += 1
            continue
        assert training.state == states[0 if sentence else 1]
        ends["one before" if sentence else "newest"] += 1
    assert all(ends.values())


def test_compress_on_a_disk_that_fills_up_anywhere_leaves_nothing(
    trials: Trials, tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small"
    most = max(path.stat().st_size for path in tiny_bundle.path.rglob("*"))
    for rng in trials():
        with largest(int(most * rng.random() ** 3)):
            status = main(["compress", str(tiny_bundle.path), "--precision", "fp16", "--out", str(out)])
        said = capsys.readouterr().err.splitlines()
        assert (status, len(said)) == (2, 1)
        assert said[0].startswith(f"kdlight: {out} is larger than a file may be here")
        assert list(tmp_path.iterdir()) == []
    assert main(["compress", str(tiny_bundle.path), "--precision", "fp16", "--out", str(out)]) == 0
    assert bundles.load(out).card.id == tiny_bundle.card.id
