"""Cached outputs are what the teacher gives for each image, and are never used for anything else."""

import logging
from pathlib import Path

import pytest
import torch

from kdlight.distillers import create_distiller
from kdlight.models.mobilenet import MobileNet, Shape
from kdlight.preprocessing import InputSpec
from kdlight.preprocessing.augment import Policy, RandomView
from kdlight.storage import ArrayCache
from kdlight.training import Arrays, teacher_cache
from kdlight.training.loop import Loop, Schedule, fit
from kdlight.training.teacher_cache import TeacherCache

SPEC = InputSpec(size=32)
SHAPE = Shape(8, ((1, 8, 1), (2, 8, 1)), 16, dropout=0.0, strides=(1, 2))
AUGMENT = RandomView(Policy(rotate=20, mirror=True, brightness=0.2), 32)
COUNT = 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "teacher_outputs"


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (COUNT, 32, 32, 3), generator=torch.Generator().manual_seed(0)).byte()


class Counting(MobileNet):
    asked = 0

    def forward_with_features(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        self.asked += len(x)
        return super().forward_with_features(x)


def teacher(seed: int = 0) -> Counting:
    torch.manual_seed(seed)
    return Counting(SHAPE, 3).eval()


def draws(view: int) -> object:
    return AUGMENT.draw(COUNT, torch.Generator().manual_seed(view))


def test_an_answer_is_the_teachers_own_for_each_image(pixels: torch.Tensor) -> None:
    model = teacher()
    view = TeacherCache.of(model, pixels, SPEC, AUGMENT, False).view(4, draws(4))
    picked = torch.tensor([17, 3, 11])
    seen = AUGMENT.see(pixels[picked].permute(0, 3, 1, 2), draws(4)[picked])  # type: ignore[index]
    with torch.no_grad():
        logits, maps = model.forward_with_features(SPEC.normalise(seen.permute(0, 2, 3, 1)))
    torch.testing.assert_close(view.logits[picked], logits)
    torch.testing.assert_close(view.features[-1][picked][:, :, 0, 0], maps[-1].mean((2, 3)), rtol=1e-3, atol=1e-3)


def test_a_view_is_asked_for_once(pixels: torch.Tensor) -> None:
    model = teacher()
    first = TeacherCache.of(model, pixels, SPEC, AUGMENT, False).view(0, draws(0))
    again = TeacherCache.of(model, pixels, SPEC, AUGMENT, False).view(0, draws(0))
    assert model.asked == COUNT
    assert torch.equal(first.logits, again.logits)
    TeacherCache.of(model, pixels, SPEC, AUGMENT, False).view(1, draws(1))
    assert model.asked == 2 * COUNT


@pytest.mark.parametrize("change", ["teacher", "pixels", "augmentation", "precision"])
def test_what_decides_an_answer_decides_its_place(pixels: torch.Tensor, change: str) -> None:
    before = TeacherCache.of(teacher(), pixels, SPEC, AUGMENT, False).key
    model, other = teacher(1 if change == "teacher" else 0), pixels.clone()
    other[0, 0, 0, 0] += 1 if change == "pixels" else 0
    augment = RandomView(Policy(rotate=21), 32) if change == "augmentation" else AUGMENT
    assert TeacherCache.of(model, other, SPEC, augment, change == "precision").key != before
    assert TeacherCache.of(teacher(), pixels, SPEC, AUGMENT, False).key == before


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
def test_a_damaged_file_is_said_and_asked_for_anew(
    pixels: torch.Tensor, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = TeacherCache.of(teacher(), pixels, SPEC, AUGMENT, False)
    whole = place.view(0, draws(0))
    path = place.cache.path(f"{place.key}-0")
    data = bytearray(path.read_bytes())
    data[-5] ^= 64
    path.write_bytes({"bit": bytes(data), "cut": bytes(data[:-20]), "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        again = place.view(0, draws(0))
    assert torch.equal(again.logits, whole.logits)
    assert place.teacher.asked == 2 * COUNT  # type: ignore[attr-defined]
    assert "damaged" in caplog.text
    assert torch.equal(place.view(0, draws(0)).logits, whole.logits)
    assert place.teacher.asked == 2 * COUNT  # type: ignore[attr-defined]


def test_old_teachers_go_first(pixels: torch.Tensor, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_cache, "CACHE", ArrayCache("teacher_outputs", 3000))
    places = [TeacherCache.of(teacher(seed), pixels, SPEC, AUGMENT, False) for seed in range(3)]
    for place in places:
        place.view(0, draws(0))
    assert places[-1].cache.path(f"{places[-1].key}-0").is_file()
    assert sum(f.stat().st_size for f in cache.rglob("*.safetensors")) <= 3000
    assert not places[0].cache.path(f"{places[0].key}-0").exists()


def test_a_student_learns_the_same_from_cached(pixels: torch.Tensor) -> None:
    labels = torch.arange(COUNT) % 3
    split = Arrays(pixels, labels)
    plan = Schedule(4, 5e-3, 0.01, 8, 0.1, 0, "32-true", seed=0, views=2)
    found = []
    for use in (True, False):
        torch.manual_seed(7)
        model, student = teacher(), MobileNet(SHAPE, 3)
        distiller = create_distiller("kd", student, model)
        cached = TeacherCache.of(model, pixels, SPEC, AUGMENT, False) if use else None
        losses = [log.loss for log in fit(Loop.of(distiller, split, plan, SPEC, AUGMENT, cached), split, "student")]
        found.append((losses, model.asked))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert found[0][1] == 2 * COUNT
    assert found[1][1] == 4 * COUNT
