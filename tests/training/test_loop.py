"""The loop learns, chooses by validation, and goes on exactly where it was stopped."""

from pathlib import Path

import pytest
import torch

from kdlight.distillers import Batch, create_distiller
from kdlight.models.mobilenet import MobileNet, Shape
from kdlight.preprocessing import InputSpec
from kdlight.runs import EpochRecord
from kdlight.training.batches import shuffled
from kdlight.training.checkpoint import CheckpointError
from kdlight.training.data import Arrays
from kdlight.training.loop import Loop, Schedule, fit, logits_of

SPEC = InputSpec(size=32)
SHAPE = Shape(8, ((1, 8, 1), (2, 8, 1)), 16, dropout=0.2, strides=(1, 2))


class Shifted:
    """Each image a little darker or brighter."""

    policy, size = "shifted", 32

    def draw(self, count: int, generator: torch.Generator | None = None) -> torch.Tensor:
        return torch.randint(-5, 6, (count, 1, 1, 1), generator=generator)

    def see(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        return (pixels.int() + draws).clamp(0, 255).byte()


plain = Shifted()


@pytest.fixture
def split() -> Arrays:
    """Dark and bright squares: 24 images that two classes tell apart."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 2
    pixels = torch.randint(0, 60, (24, 32, 32, 3), generator=generator) + labels[:, None, None, None] * 120
    return Arrays(pixels.byte(), labels)


def model() -> MobileNet:
    torch.manual_seed(1)
    return MobileNet(SHAPE, 2)


def schedule(epochs: int, **changes: float) -> Schedule:
    return Schedule(epochs, 5e-3, 0.01, 8, 0.1, int(changes.get("patience", 0)), "32-true", seed=0)


def run(
    split: Arrays, epochs: int, checkpoint: Path | None = None, stop: int = 0
) -> tuple[MobileNet, list[EpochRecord]]:
    net, logs = model(), []
    for log in fit(
        Loop.of(create_distiller("alone", net, None), split, schedule(epochs), SPEC, plain),
        split,
        "student",
        checkpoint,
    ):
        logs.append(log)
        if len(logs) == stop:
            break
    return net, logs


def test_it_learns_what_can_be_learned(split: Arrays) -> None:
    net, logs = run(split, 6)
    assert logs[-1].task < logs[0].task
    assert max(log.val_balanced_accuracy for log in logs) == 1.0
    assert (logits_of(net, split, SPEC).argmax(1) == split.labels).float().mean() == 1.0
    assert not net.training


def test_a_batch_holds_the_images_and_views_that_seed_and_epoch_draw(split: Arrays) -> None:
    class Watching(type(create_distiller("alone", model(), None))):  # type: ignore[misc]
        def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
            seen.append(batch)
            return super().forward(batch)  # type: ignore[no-any-return]

    seen: list[Batch] = []
    list(fit(Loop.of(Watching(model(), None), split, schedule(2), SPEC, plain), split, "student"))
    for epoch, batches in enumerate((seen[:3], seen[3:])):
        generator = torch.Generator().manual_seed(epoch)
        order = torch.randperm(24, generator=generator)
        draws = plain.draw(24, generator)
        for batch, index in zip(batches, order.split(8), strict=True):
            expected = SPEC.normalise(plain.see(split.pixels[index], draws[index]))
            assert torch.equal(batch.index, index)  # type: ignore[arg-type]
            assert torch.equal(batch.x, expected)
            assert torch.equal(batch.y, split.labels[index])


def test_a_run_that_was_stopped_goes_on_exactly(split: Arrays, tmp_path: Path) -> None:
    whole, logs = run(split, 4)
    run(split, 4, tmp_path / "c.safetensors", stop=2)
    resumed, rest = run(split, 4, tmp_path / "c.safetensors")
    assert [log.epoch for log in rest] == [3, 4]
    assert [log.loss for log in rest] == [log.loss for log in logs[2:]]
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_epochs_before_validation_counts_neither_stop_a_run_nor_are_its_best(
    split: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter((0.9, 0.5, 0.5, 0.5, 0.6, 0.4, 0.4, 0.4))
    monkeypatch.setattr("kdlight.training.loop.validate", lambda *_: (1.0, next(scores)))
    method, seen = create_distiller("alone", model(), None), []
    method.best_epoch_from = 0.5
    for log in fit(Loop.of(method, split, schedule(8, patience=1), SPEC, plain), split, "student"):
        seen.append({k: v.clone() for k, v in method.student.state_dict().items()})
        assert log.best == (log.epoch == 5)
    assert len(seen) == 6
    assert all(torch.equal(v, seen[4][k]) for k, v in method.student.state_dict().items())


def test_the_last_epoch_counts_whatever_the_method_says(split: Arrays) -> None:
    method = create_distiller("alone", model(), None)
    method.best_epoch_from = 1.0
    logs = list(fit(Loop.of(method, split, schedule(2), SPEC, plain), split, "student"))
    assert [log.best for log in logs] == [False, True]


def test_a_broken_checkpoint_is_refused(split: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    run(split, 2, path, stop=1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"is damaged: it cannot be read\. Delete it"):
        run(split, 2, path)


def test_a_damaged_checkpoint_costs_an_epoch_and_is_told(
    split: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.safetensors"
    whole, logs = run(split, 4)
    run(split, 4, path, stop=3)
    data = bytearray(path.read_bytes())
    data[-7] ^= 4
    path.write_bytes(data)
    resumed, rest = run(split, 4, path)
    assert [log.epoch for log in rest] == [3, 4]
    assert [log.loss for log in rest] == [log.loss for log in logs[2:]]
    assert "Training goes on from the one before, epoch 2." in capsys.readouterr().err
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_early_stopping_counts_epochs_without_a_better_validation(split: Arrays) -> None:
    constant = Arrays(split.pixels[:2], torch.tensor([0, 0]))
    net = model()
    steady = Schedule(50, 1e-7, 0.0, 8, 0.0, 3, "32-true", 0)
    logs = list(fit(Loop.of(create_distiller("alone", net, None), split, steady, SPEC, plain), constant, "student"))
    assert len(logs) < 50
    assert [log.best for log in logs[-3:]] == [False] * 3


def test_the_rate_rises_then_falls_to_zero() -> None:
    plan = Schedule(10, 1.0, 0.0, 8, 0.1, 0, "32-true", 0)
    rates = [plan.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5, abs=0.01)
    assert rates[-1] < 0.001


def test_a_loss_that_is_no_number_ends_the_run_with_a_sentence(split: Arrays) -> None:
    net = model()
    with torch.no_grad():
        net.classifier.weight.fill_(float("nan"))
    loop = fit(Loop.of(create_distiller("alone", net, None), split, schedule(2), SPEC, plain), split, "student")
    with pytest.raises(ValueError, match="The loss is NaN or infinite after epoch 1"):
        next(loop)


def test_a_last_batch_of_one_joins_its_neighbor(split: Arrays) -> None:
    odd = Arrays(split.pixels[:17], split.labels[:17])
    _, logs = run(odd, 1)
    assert logs[0].epoch == 1
    assert logs[0].loss > 0


def test_the_mean_of_the_last_epochs_ends_a_training_that_averages(split: Arrays, tmp_path: Path) -> None:
    """Weights of epochs 3 and 4 of 4, also over a stop between them; batch norm then sees the training images."""
    plan = Schedule(4, 5e-3, 0.01, 8, 0.1, 0, "32-true", seed=0, swa=0.5)
    net, seen = model(), []
    distiller = create_distiller("alone", net, None)
    for log in fit(Loop.of(distiller, split, plan, SPEC, plain), split, "student", tmp_path / "a.safetensors"):
        seen.append(net.classifier.weight.detach().clone())
        if log.epoch == 3:
            break
    again = model()
    for _ in fit(
        Loop.of(create_distiller("alone", again, None), split, plan, SPEC, plain),
        split,
        "student",
        tmp_path / "a.safetensors",
    ):
        seen.append(again.classifier.weight.detach().clone())
    torch.testing.assert_close(again.classifier.weight, (seen[2] + seen[3]) / 2)
    norm = next(m for m in again.modules() if isinstance(m, torch.nn.BatchNorm2d))
    first = again.stem[0](SPEC.normalise(split.pixels))
    torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("images", "count", "sizes"), [(326, None, [55, 55, 54, 54, 54, 54]), (65, None, [33, 32])])
def test_no_batch_of_a_mean_over_batches_is_short(images: int, count: int | None, sizes: list[int]) -> None:
    found = shuffled(torch.arange(images), 0, count)
    assert [len(part) for part in found] == sizes
    assert torch.cat(found).sort().values.tolist() == list(range(images))
    assert sum(len(part) for part in shuffled(torch.arange(images), 0, 7)) == 7


def test_an_epoch_is_told_before_it_is_kept(split: Arrays, tmp_path: Path) -> None:
    """Or a training killed in between would go on past it."""
    file, told = tmp_path / "a.safetensors", []
    loop = Loop.of(create_distiller("alone", model(), None), split, schedule(3), SPEC, plain)
    logs = fit(loop, split, "student", file, lambda record: told.append((record.epoch, file.exists())))
    assert [log.epoch for log in logs] == [1, 2, 3]
    assert told == [(1, False), (2, True), (3, True)]


def test_the_mean_of_a_set_sorted_by_class_knows_how_its_classes_differ() -> None:
    """Batches of one class each would give batch norm the spread within a class: a tenth of the whole."""
    labels = torch.arange(128) // 64
    noise = torch.randint(0, 40, (128, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    dark_then_bright = Arrays((noise + labels[:, None, None, None] * 180).byte(), labels)
    plan = Schedule(2, 5e-3, 0.01, 32, 0.1, 0, "32-true", seed=0, swa=0.5)
    net = model()
    list(
        fit(
            Loop.of(create_distiller("alone", net, None), dark_then_bright, plan, SPEC, plain),
            dark_then_bright,
            "student",
        )
    )
    norm = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    first = net.stem[0](SPEC.normalise(dark_then_bright.pixels))
    torch.testing.assert_close(norm.running_var, first.var((0, 2, 3)), rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_images_are_learned_with_mixed_labels(split: Arrays, name: str) -> None:
    class Watching(type(create_distiller("alone", model(), None))):  # type: ignore[misc]
        def task(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
            share = batch.target[:, 1]  # type: ignore[index]
            torch.testing.assert_close(batch.target.sum(1), torch.ones(len(share)))  # type: ignore[union-attr]
            bright = SPEC.normalise(torch.full((1, 32, 32, 3), 150).byte()).mean()
            dark = SPEC.normalise(torch.full((1, 32, 32, 3), 30).byte()).mean()
            level = (batch.x.mean((1, 2, 3)) - dark) / (bright - dark)  # 0 for class 0, 1 for class 1
            torch.testing.assert_close(level, share, rtol=0, atol=0.06)
            seen.append(share)
            return super().task(logits, batch)  # type: ignore[no-any-return]

    seen: list[torch.Tensor] = []
    plan = Schedule(3, 5e-3, 0.01, 8, 0.1, 0, "32-true", seed=0, **{name: 1.0})
    list(fit(Loop.of(Watching(model(), None), split, plan, SPEC, plain), split, "student"))
    shares = torch.cat(seen)
    assert ((shares > 0.05) & (shares < 0.95)).any()
