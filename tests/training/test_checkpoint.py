"""A checkpoint is what was written, or the one before it is taken with a sentence: never other weights in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from kdlight.storage import load_arrays
from kdlight.training import checkpoint
from kdlight.training.checkpoint import CheckpointError, Progress

State = dict[str, torch.Tensor]


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A file as a bad disk or a torn copy leaves it: bits and bytes changed, a part zeroed, doubled, moved or gone."""
    data = bytearray(content)
    start, length = (int(rng.integers(len(data))), int(rng.integers(1, 200)))
    match int(rng.integers(6)):
        case 0:
            data[start] ^= 1 << int(rng.integers(8))
        case 1:
            for place in rng.integers(len(data), size=8):
                data[place] = int(rng.integers(256))
        case 2:
            data[start : start + length] = bytes(len(data[start : start + length]))
        case 3:
            del data[start:]
        case 4:
            data[start:start] = data[start : start + length]
        case _:
            part = data[start : start + length]
            del data[start : start + length]
            data.extend(part)
    return bytes(data)


class Training:
    """A small net that has made some steps, with its optimizer."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.progress = Progress.of(self.model, averaged=True)

    def epoch(self) -> None:
        self.model(torch.rand(4, 3, 8, 8)).square().sum().backward()
        self.optimizer.step()
        assert self.progress.mean is not None
        self.progress.mean.update_parameters(self.model)
        self.progress.take(self.model, 1.0, 0.5)

    def save(self, path: Path) -> None:
        checkpoint.save(path, self.model, self.optimizer, self.progress)

    def restore(self, path: Path) -> str:
        return checkpoint.restore(path, self.model, self.optimizer, self.progress)

    @property
    def state(self) -> list[Any]:
        """All that a training goes on with."""
        mean = self.progress.mean
        assert mean is not None
        moments = self.optimizer.state_dict()["state"]
        parts = [self.model.state_dict(), self.progress.best, mean.state_dict(), *moments.values()]
        flat = {f"{number} {k}": v.tolist() for number, part in enumerate(parts) for k, v in part.items()}
        return [self.progress.state.epoch, self.progress.state.best_accuracy, flat]


@pytest.fixture
def states(tmp_path: Path) -> list[list[Any]]:
    """Of the first and the second epoch; both checkpoints lie in the folder."""
    training, states = Training(), []
    for _ in range(2):
        training.epoch()
        training.save(tmp_path / "c.safetensors")
        states.append(training.state)
    return states


def test_no_damaged_checkpoint_goes_on_in_silence_with_anything_else(states: list[list[Any]], tmp_path: Path) -> None:
    """Of 200 damaged ones 33 went on with other weights, before they had a digest."""
    file = tmp_path / "c.safetensors"
    whole = file.read_bytes()
    fallen_back = 0
    for seed in range(200):
        content = damaged(whole, np.random.default_rng(seed))
        file.write_bytes(content)
        training = Training()
        sentence = training.restore(file)
        if sentence:
            fallen_back += 1
            assert training.state == states[0], seed
            assert sentence.startswith("c.safetensors is damaged: it ")
            assert sentence.endswith("Training goes on from the one before, epoch 1.")
        else:
            assert training.state == states[1], seed
    assert fallen_back > 180


def test_where_both_are_damaged_nothing_is_guessed(states: list[list[Any]], tmp_path: Path) -> None:
    for name in ("c.safetensors", "previous.c.safetensors"):
        data = bytearray((tmp_path / name).read_bytes())
        data[-1] ^= 1
        (tmp_path / name).write_bytes(data)
    with pytest.raises(
        CheckpointError, match=r"c.safetensors is damaged.* previous.c.safetensors .*Delete it to train"
    ):
        Training().restore(tmp_path / "c.safetensors")


def test_a_kill_between_the_two_files_costs_an_epoch_at_most(states: list[list[Any]], tmp_path: Path) -> None:
    (tmp_path / "c.safetensors").unlink()
    training = Training()
    assert training.restore(tmp_path / "c.safetensors") == ""
    assert training.state == states[0]


def test_a_finished_training_leaves_no_checkpoint(states: list[list[Any]], tmp_path: Path) -> None:
    checkpoint.remove(tmp_path / "c.safetensors")
    assert list(tmp_path.iterdir()) == []
    assert Training().restore(tmp_path / "c.safetensors") == ""


def older(path: Path) -> None:
    """The file as an older version wrote it, which had no digest."""
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
        state = (file.metadata() or {}).get("state")
    save_file(tensors, path, metadata={"state": state} if state else None)


def test_a_checkpoint_of_an_older_version_is_read(states: list[list[Any]], tmp_path: Path) -> None:
    older(tmp_path / "c.safetensors")
    training = Training()
    assert training.restore(tmp_path / "c.safetensors") == ""
    assert training.state == states[1]


@pytest.mark.parametrize("state", [{"epoch": -1}, {"epoch": "many"}, {"epoch": 1e300}, [], {"best_accuracy": 7}])
def test_an_older_checkpoint_whose_state_is_out_of_bounds_is_refused(
    states: list[list[Any]], tmp_path: Path, state: Any
) -> None:
    arrays, _ = load_arrays(tmp_path / "c.safetensors")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    save_file(tensors, tmp_path / "c.safetensors", metadata={"state": json.dumps(state)})
    with pytest.raises(CheckpointError, match="does not fit this recipe"):
        Training().restore(tmp_path / "c.safetensors")


def test_a_checkpoint_of_another_model_is_no_damage_and_is_refused(states: list[list[Any]], tmp_path: Path) -> None:
    other = Training()
    other.model = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r"does not fit this recipe .* Resume with the run's own recipe"):
        other.restore(tmp_path / "c.safetensors")


def test_weights_are_what_was_written_or_refused(tmp_path: Path) -> None:
    file, true = tmp_path / "student.safetensors", Training().model
    checkpoint.save_weights(file, true)
    whole, refused = file.read_bytes(), []
    for seed in range(100):
        file.write_bytes(damaged(whole, np.random.default_rng(seed)))
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
        try:
            checkpoint.load_weights(file, model)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in true.state_dict().items()), seed
    assert len(refused) > 90
    assert {*refused} == {"student.safetensors is damaged or gone; delete it and resume, which makes it anew."}
    file.write_bytes(whole)
    older(file)
    checkpoint.load_weights(file, true)
    with pytest.raises(CheckpointError, match="is of another model"):
        checkpoint.load_weights(file, nn.Linear(2, 2))
