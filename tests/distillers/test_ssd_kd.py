"""SSD-KD's terms against loops and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlight.distillers import Batch, View
from kdlight.distillers.ssd_kd import SSDKD, cosines, gram_loss, turn
from tests.distillers.small import Small, pictures, small

OFF = {"alpha": 0.0, "rotated": 0.0, "similarity": 0.0, "distance": 0.0, "angle": 0.0, "gram": 0.0}


def built(**options: float) -> SSDKD:
    method = small("ssd_kd", **{**OFF, **options})
    assert isinstance(method, SSDKD)
    return method.eval()


def huber(gaps: list[float]) -> float:
    return float(np.mean([0.5 * g * g if abs(g) < 1 else abs(g) - 0.5 for g in gaps]))


def kl(own: torch.Tensor, other: torch.Tensor, temperature: float) -> float:
    """T^2 KL(other || own), mean over the rows."""
    p, q = F.softmax(own.double() / temperature, 1), F.softmax(other.double() / temperature, 1)
    return float(temperature**2 * (q * (q / p).log()).sum(1).mean())


def test_every_image_is_turned_by_its_own_angle() -> None:
    x = pictures(4)
    found = turn(x, torch.tensor([0, 1, 2, 3]))
    for i in range(4):
        np.testing.assert_array_equal(found[i].numpy(), np.rot90(x[i].numpy(), i, (1, 2)))


def test_gram_is_the_root_of_the_mean_squared_difference_of_channel_relations() -> None:
    rng = np.random.default_rng(0)
    own, other = rng.normal(size=(3, 6, 4, 4)), rng.normal(size=(3, 6, 5, 5))  # maps need not be of one size
    errors = []
    for mine, theirs in zip(own, other, strict=True):
        flat, goal = mine.reshape(6, 16), theirs.reshape(6, 25)
        errors.append((flat @ flat.T / (6 * 16) - goal @ goal.T / (6 * 25)) ** 2)
    found = gram_loss(torch.from_numpy(own), torch.from_numpy(other))
    assert float(found) == pytest.approx(np.sqrt(np.mean(errors)), rel=1e-4)


def test_gram_has_a_slope_where_the_relations_agree() -> None:
    maps = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = gram_loss(maps, maps.detach())
    loss.backward()
    assert loss.item() < 1e-3
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


def test_distances_and_angles_are_compared_as_park_compares_them() -> None:
    rng = np.random.default_rng(1)
    own, other = rng.normal(size=(4, 5)), rng.normal(size=(4, 7))

    def far(f: np.ndarray) -> np.ndarray:
        all_ = np.array([[np.linalg.norm(a - b) for b in f] for a in f])
        return all_ / all_[all_ > 0].mean()

    def angle(f: np.ndarray, i: int, j: int, k: int) -> float:
        to, fro = f[j] - f[i], f[k] - f[i]
        scale = np.linalg.norm(to) * np.linalg.norm(fro)
        return float(to @ fro / scale) if scale else 0.0

    views = [View(torch.zeros(4, 3), [torch.from_numpy(f).float()[:, :, None, None]]) for f in (own, other)]
    found = built(distance=25.0).relations(*views).item()
    assert found == pytest.approx(25 * huber((far(own) - far(other)).ravel().tolist()), rel=1e-4)
    triples = itertools.product(range(4), repeat=3)
    gaps = [angle(own, *t) - angle(other, *t) for t in triples]
    assert built(angle=50.0).relations(*views).item() == pytest.approx(50 * huber(gaps), rel=1e-4)


def test_cosines_of_all_pairs() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    expected = [[u @ v / np.linalg.norm(u) / np.linalg.norm(v) for v in b] for u in a]
    np.testing.assert_allclose(cosines(torch.from_numpy(a), torch.from_numpy(b)), expected, rtol=1e-5)


def test_turned_images_are_answered_and_related_to_upright_ones() -> None:
    method = built(rotated=2.7, similarity=10.0)
    x = pictures(6)
    batch = Batch(x, torch.zeros(6, dtype=torch.long))
    torch.manual_seed(3)
    quarters = torch.randint(1, 4, (6,))
    turned = torch.stack([torch.rot90(one, int(q), (1, 2)) for one, q in zip(x, quarters, strict=True)])
    with torch.no_grad():
        (own, f_own), (own_turned, f_own_turned) = (method.student.forward_with_features(v) for v in (x, turned))
        (other, f), (other_turned, f_turned) = (method.teacher_model.forward_with_features(v) for v in (x, turned))
        torch.manual_seed(3)
        found = float(method.turned(View(own, f_own), View(other, f), batch))
    rows = []
    for upright, rotated in ((f_own, f_own_turned), (f, f_turned)):
        u, v = upright[-1].mean((2, 3)), rotated[-1].mean((2, 3))
        rows.append(torch.stack([F.cosine_similarity(one[None], u) for one in v]))
    assert found == pytest.approx(2.7 * kl(own_turned, other_turned, 4.0) + 10 * kl(*rows, 0.5), rel=1e-3)


def test_the_total_has_the_published_weights() -> None:
    batch = Batch(pictures(6), torch.arange(6) % 3)
    parts = [{"alpha": 0.9}, {"rotated": 2.7}, {"similarity": 10.0}, {"distance": 25.0}, {"angle": 50.0}]
    expected = 0.0
    for options in (*parts, {"gram": 1000.0}):
        one = built(**options)
        torch.manual_seed(4)
        with torch.no_grad():
            expected += float(one(batch)["distill"])
    method = small("ssd_kd").eval()
    torch.manual_seed(4)
    with torch.no_grad():
        losses = method(batch)
        task = F.cross_entropy(method.student(batch.x), batch.y)
    assert float(losses["distill"]) == pytest.approx(expected, rel=1e-4)
    assert float(losses["total"]) == pytest.approx(0.1 * float(task) + expected, rel=1e-4)


def test_two_classes_images_alike_and_no_labels_keep_it_finite() -> None:
    method = small("ssd_kd", classes=2)
    x = torch.ones(4, 3, 20, 20)
    method(Batch(x, torch.full((4,), -1)))["total"].backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.parameters())


def test_what_is_kept_from_before_is_not_taken_for_turned_images(monkeypatch: pytest.MonkeyPatch) -> None:
    method = small("ssd_kd")
    assert isinstance(method.teacher_model, Small)
    asked = []
    ask = method.teacher_model.forward_with_features
    with torch.no_grad():
        before = View(*ask(pictures(4)))
    monkeypatch.setattr(method.teacher_model, "forward_with_features", lambda x: (asked.append(len(x)), ask(x))[1])
    method(Batch(pictures(4), torch.arange(4) % 3, teacher=before))
    assert asked == [4]


@pytest.mark.parametrize("options", [{"alpha": 1.1}, {"temperature": 0.0}, {"tau": 0.0}, {"gram": -1.0}])
def test_values_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"^distill\.{next(iter(options))} is .*; a number"):
        small("ssd_kd", **options)
