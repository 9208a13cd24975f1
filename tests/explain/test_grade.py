"""What is measured of maps made by hand, against second writings; and what a grade makes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from kdlight.contracts.map_grade import MapFault, MapLimits, MapMeasures
from kdlight.explain import explain, similarity
from kdlight.explain.body import body, outside
from kdlight.explain.grade import ALIKE, Mapped, _blurred, _ranks, gains, judged, measured, stability, words
from kdlight.explain.randomized import randomized
from kdlight.models import create_model

SQUARE = (slice(8, 24), slice(32, 48))


def bright(x: Tensor) -> np.ndarray:
    """The probability of a model that sees one square alone: a fifth of its brightness."""
    return (x[:, :, *SQUARE].mean((1, 2, 3)) / 5).numpy()


def lit() -> Tensor:
    x = torch.zeros(1, 3, 64, 64)
    x[:, :, *SQUARE] = 5
    return x


def on(part: tuple[slice, slice]) -> np.ndarray:
    heat = np.zeros((64, 64), dtype=np.float32)
    heat[part] = np.random.default_rng(0).uniform(0.5, 1, (16, 16))
    return gaussian_filter(heat, 1) / 2


def test_a_map_of_what_decides_gains_and_one_beside_it_does_not() -> None:
    found, beside = gains(on(SQUARE), lit(), bright), gains(on((slice(44, 60), slice(4, 20))), lit(), bright)
    assert min(found) > 0.2
    assert max(beside) < 0


def test_the_gains_are_those_of_a_second_writing() -> None:
    """Share by share, with a sort for each map; the maps laid elsewhere are averaged over every place."""
    heat, x = on(SQUARE), lit()
    picture = x[0].numpy()
    blurred = np.stack([gaussian_filter(plane, 6.4) for plane in picture])

    def left(order: np.ndarray, inside: bool) -> float:
        answers = []
        for share in (0.1, 0.3, 0.5):
            part = np.zeros(order.size, dtype=bool)
            part[np.argsort(order, axis=None, kind="stable")[order.size - round(share * order.size) :]] = True
            changed = np.where(part.reshape(order.shape) == inside, picture, blurred)
            answers.append(float(bright(torch.from_numpy(changed[None]))[0]))
        return float(np.mean(answers))

    ranks = _ranks(heat)
    places = [np.roll(ranks, (dy, dx), (0, 1)) for dy in range(16, 49, 8) for dx in range(16, 49, 8)]
    deletion = np.mean([left(one, False) for one in places]) - left(ranks, False)
    insertion = left(ranks, True) - np.mean([left(one, True) for one in places])
    assert gains(heat, x, bright) == pytest.approx((deletion, insertion), abs=0.1)
    assert left(ranks, True) > 0.95


def test_equal_values_are_ranked_by_their_distance_to_the_strong_parts_then_by_place() -> None:
    """As a sort by three keys has them: the map, its blur, the place."""
    heat = np.maximum(gaussian_filter(np.random.default_rng(1).standard_normal((64, 64)), 4), 0).astype(np.float32)
    heat[:, 40:] = 0  # beyond the reach of the blur
    heat /= heat.max()
    assert (heat == 0).mean() > 0.5
    smooth = _blurred(heat, 1 / 8, "nearest")
    expected = np.empty(heat.size)
    expected[np.lexsort((smooth.ravel(), heat.ravel()))] = np.arange(heat.size) / heat.size
    np.testing.assert_array_equal(_ranks(heat).ravel(), expected)


@pytest.fixture(scope="module")
def student() -> nn.Module:
    torch.manual_seed(0)
    return create_model("kdlight_nano", 3).eval().requires_grad_(False)


def mapped(model: nn.Module, seed: int = 0) -> Mapped:
    picture = gaussian_filter(np.random.default_rng(seed).standard_normal((3, 64, 64)), (0, 4, 4)).astype(np.float32)
    x = torch.from_numpy(picture / picture.std())[None]
    return Mapped(model, x, 1, "gradcam", {}, explain(model, x, 1, "gradcam"))


def test_stability_is_the_correlation_over_what_both_images_show(student: nn.Module) -> None:
    one = mapped(student)
    expected = []
    for left, right in ((2, 0), (0, 2)):
        x = nn.functional.pad(one.x, (left, right, left, right), mode="replicate")
        x = x[:, :, right : right + 64, right : right + 64]
        moved = explain(student, x, 1, "gradcam")
        start = 2 * left
        there, here = moved[start : 60 + start, start : 60 + start], one.heat[2:-2, 2:-2]
        expected.append(np.corrcoef(there.ravel(), here.ravel())[0, 1])
    assert stability(one) == pytest.approx(np.mean(expected), abs=1e-4)


def test_random_weights_reach_as_far_down_as_they_are_asked_to_and_leave_the_model_alone(student: nn.Module) -> None:
    before = {name: value.clone() for name, value in student.state_dict().items()}
    changed = []
    for share in (0.0, 0.5, 1.0):
        twin = randomized(student, share, 64).state_dict()
        changed.append([n for n, v in before.items() if v.dim() > 1 and not torch.equal(v, twin[n])])
    weights = [name for name in before if before[name].dim() > 1]
    assert changed[0] == weights[-1:]
    assert weights[-len(changed[1]) :] == changed[1]
    assert 0.4 < len(changed[1]) / len(weights) < 0.6
    assert changed[2] == weights
    assert all(torch.equal(value, student.state_dict()[name]) for name, value in before.items())


def test_random_weights_keep_what_a_picture_shows_of_unit_size(student: nn.Module) -> None:
    """Unlike those that are only drawn: through the student's layers these end below a thousandth of a unit."""
    for seed in range(3):
        logits = randomized(student, 1.0, 64, seed)(mapped(student, seed).x)
        assert 0.05 < float(logits.abs().mean()) < 20


def test_a_map_is_held_against_that_of_random_weights_and_of_the_mirrored_image(student: nn.Module) -> None:
    one = mapped(student)
    found = measured(one, lambda x: student(x).softmax(1)[:, 1].numpy(), mirror=True, air=False)
    assert found is not None
    assert found.random_weights == pytest.approx(
        similarity(one.heat, explain(randomized(student, 1.0, 64), one.x, 1, "gradcam")) or 0.0
    )
    mirrored = explain(student, torch.flip(one.x, (3,)), 1, "gradcam")[:, ::-1]
    assert found.mirror == pytest.approx(similarity(one.heat, mirrored) or 0.0)
    assert found.gain == pytest.approx((found.deletion + found.insertion) / 2)
    assert found.outside is None


def test_a_flat_map_is_not_measured_and_fails(student: nn.Module) -> None:
    one = replace(mapped(student), heat=np.zeros((64, 64), np.float32))
    assert measured(one, bright, mirror=True, air=True) is None
    assert judged(None, None).faults == ("flat",)
    assert judged(None, None).passed is False
    assert words(judged(None, None), True).startswith("Flat")


GOOD = MapMeasures(0.3, 0.3, 0.3, 0.1, 0.1, 0.1, shift=0.9, noise=0.9)
LIMITS = MapLimits(gain=0.1, shift=0.8)


@pytest.mark.parametrize(
    ("change", "faults", "told"),
    [
        ({}, (), "Passed: "),
        ({"shift": 0.79}, ("unstable",), "moved by 2 pixels (likeness 0.79, at least 0.80"),
        ({"gain": 0.09}, ("unsupported",), "little more than on other parts (gain 0.09, at least 0.10"),
        ({"random_weights": ALIKE}, ("model_blind",), "random weights give much the same map (likeness 0.70"),
        ({"gain": -0.1, "shift": 0.0}, ("unstable", "unsupported"), "moved by 2 pixels"),
        ({"outside": 0.31}, (), "31% of it lies outside the body."),
    ],
)
def test_a_map_passes_that_reaches_every_limit(
    change: dict[str, float], faults: tuple[MapFault, ...], told: str
) -> None:
    found = judged(replace(GOOD, **change), LIMITS)
    assert (found.faults, found.passed) == (faults, not faults)
    assert told in words(found, False)


def test_without_limits_nothing_is_said_of_passing() -> None:
    found = judged(replace(GOOD, shift=0.0), None)
    assert (found.faults, found.passed) == ((), None)
    assert "no limits" in words(found, False)
    assert words(None, False) == ""


def test_the_body_is_the_largest_part_with_what_is_dark_inside_and_without_the_marker() -> None:
    rows, columns = np.mgrid[:64, :64]
    disk = (rows - 34) ** 2 + (columns - 34) ** 2 <= 20**2
    picture = np.where(disk, 0.6, 0.0)
    picture[30:38, 30:38] = 0.0  # a lung
    picture[2:8, 2:10] = 1.0  # a marker
    found = body(picture)
    assert found is not None
    assert np.abs(found.sum() - disk.sum()) <= 130  # the rim of one pixel
    assert found[34, 34]
    assert not found[:9, :11].any()
    heat = np.zeros((64, 64))
    heat[2:8, 2:10] = 1  # 48 on the marker
    heat[40, 30:42] = 3  # 36 inside
    assert outside(heat, picture) == pytest.approx(48 / 84)
    assert body(np.zeros((64, 64))) is None
    assert outside(heat, np.zeros((64, 64))) is None


def test_similarity_is_pearson() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 5)), rng.random((5, 5))
    za, zb = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    assert similarity(a, b) == pytest.approx((za * zb).mean())
    assert similarity(a, 1 - a) == pytest.approx(-1)
    assert similarity(a, np.zeros((5, 5))) is None
    with pytest.raises(ValueError, match="one shape was expected"):
        similarity(a, a[:3])
