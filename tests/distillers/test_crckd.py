"""CRCKD's terms against loops in numpy, its memory and its mean teacher by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlight.distillers import Batch, create_distiller
from kdlight.distillers.crckd import CRCKD, centroids, class_contrast, draw, relation_kl, rise
from kdlight.distillers.memory import EmbeddingMemory
from tests.distillers.small import Small, pictures, small


def built(classes: int = 3, **options: float) -> CRCKD:
    method = small("crckd", classes, **{"memory": 64, **options})
    assert isinstance(method, CRCKD)
    return method


def test_the_mean_teacher_is_the_average_that_the_paper_gives() -> None:
    method = built(decay=0.6)
    expected = None
    for n in range(6):
        with torch.no_grad():
            for p in method.student.parameters():
                p.add_(torch.randn_like(p))
            method.student.body[1].running_mean.add_(1)
        weight = method.student.classifier.weight.detach().clone()
        decay = min(1 - 1 / (n + 1), 0.6)
        expected = weight if expected is None else decay * expected + (1 - decay) * weight
        method.after_step()
        torch.testing.assert_close(method.mean_teacher.classifier.weight, expected)
    running = [1.0]
    for n in range(1, 6):
        decay = min(1 - 1 / (n + 1), 0.6)
        running.append(decay * running[-1] + (1 - decay) * (n + 1))
    torch.testing.assert_close(method.mean_teacher.body[1].running_mean, torch.full((5,), running[-1]))


def test_the_mean_teacher_is_kept_but_never_trained() -> None:
    method = built().train()
    assert not any(m.training for m in method.mean_teacher.modules())
    assert all(not p.requires_grad for p in method.mean_teacher.parameters())
    before = {k: v.clone() for k, v in method.mean_teacher.state_dict().items()}
    method(Batch(pictures(6), torch.arange(6) % 3, 0.5, index=torch.arange(6)))["total"].backward()
    assert all(torch.equal(v, before[k]) for k, v in method.mean_teacher.state_dict().items())
    assert {"mean_teacher.classifier.weight", "bank.student", "steps"} <= set(method.state_dict())
    assert method.embed_student.weight.grad is not None
    assert method.embed_mean.weight.grad is not None


def test_contrast_is_the_mean_over_positives_of_a_softmax_against_the_negatives() -> None:
    rng = np.random.default_rng(0)
    s = rng.normal(size=(4, 7)) * 3
    positive, negative = rng.random((4, 7)) < 0.4, rng.random((4, 7)) < 0.5
    negative &= ~positive
    positive[2], negative[3] = False, False  # nothing to compare: left out
    positive[0, 0], negative[0, 1], positive[1, 0], negative[1, 1] = True, True, True, True
    positive[0, 1], negative[0, 0], positive[1, 1], negative[1, 0] = False, False, False, False
    each = []
    for i in (0, 1):
        against = sum(math.exp(s[i, n]) for n in range(7) if negative[i, n])
        hits = [math.exp(s[i, p]) for p in range(7) if positive[i, p]]
        each.append(np.mean([-math.log(hit / (hit + against)) for hit in hits]))
    found = class_contrast(*(torch.from_numpy(v) for v in (s, positive, negative)))
    assert float(found) == pytest.approx(np.mean(each), rel=1e-6)
    none = torch.zeros(4, 7, dtype=torch.bool)
    assert float(class_contrast(torch.from_numpy(s), none, none)) == 0.0


def test_drawing_keeps_so_many_of_what_is_allowed() -> None:
    allowed = torch.rand(5, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    allowed[0, 3:] = False
    torch.manual_seed(0)
    kept = draw(allowed, 6)
    assert not (kept & ~allowed).any()
    assert kept.sum(1).tolist() == [min(6, int(n)) for n in allowed.sum(1)]
    assert torch.equal(draw(allowed, 40), allowed)
    assert draw(allowed[:0], 6).shape == (0, 40)
    assert not torch.equal(draw(allowed, 6), kept)  # by chance


def test_the_memory_averages_an_image_with_itself_and_forgets_the_one_it_replaces() -> None:
    memory = EmbeddingMemory(4, 128)
    first, second = (F.normalize(torch.randn(1, 128, generator=torch.Generator().manual_seed(s))) for s in (0, 1))
    memory.write(torch.tensor([5]), torch.tensor([2]), first, second, 0.5)
    assert memory.label.tolist() == [-1, 2, -1, -1]
    torch.testing.assert_close(memory.student[1], first[0])
    memory.write(torch.tensor([5]), torch.tensor([2]), second, second, 0.5)
    middle = (first[0] + second[0]).numpy() / 2
    np.testing.assert_allclose(memory.student[1], middle / np.linalg.norm(middle), rtol=1e-4, atol=1e-6)
    memory.write(torch.tensor([9]), torch.tensor([0]), second, first, 0.5)  # 9 mod 4 is the same place
    torch.testing.assert_close(memory.student[1], second[0])
    assert (memory.label[1].item(), memory.image[1].item()) == (0, 9)


def test_centroids_are_means_of_length_one_and_zero_for_a_class_that_is_not_there() -> None:
    bank = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 2, -1, 2, 0, -1])
    found = centroids(bank, label, 3).numpy()
    for c, rows in ((0, [0, 4]), (2, [1, 3])):
        mean = bank[rows].numpy().mean(0)
        np.testing.assert_allclose(found[c], mean / np.linalg.norm(mean), rtol=1e-5)
    assert found[1].tolist() == [0, 0, 0, 0]


def test_relations_are_compared_over_the_classes_that_are_there_only() -> None:
    method = built(classes=4, tau=0.2)
    rng = torch.Generator().manual_seed(0)
    embeddings, others = (F.normalize(torch.randn(5, 128, generator=rng), dim=1) for _ in range(2))
    method.bank.write(torch.arange(5), torch.tensor([3, 1, 3, 1, 1]), embeddings, others, 0.5)
    banks = [method.bank.student[:5].numpy(), method.bank.teacher[:5].numpy()]
    cos = []
    for bank, e in zip(banks, (embeddings, others), strict=True):
        means = [bank[rows].mean(0) for rows in ([1, 3, 4], [0, 2])]
        cos.append(np.array([[row @ m / np.linalg.norm(m) for m in means] for row in e.numpy()]) / 0.2)
    p, q = (np.exp(c) / np.exp(c).sum(1, keepdims=True) for c in cos)
    expected = (q * np.log(q / p)).sum(1).mean()
    assert float(method.relations(embeddings, others)) == pytest.approx(expected, rel=1e-4)
    assert float(relation_kl(*(torch.from_numpy(c * 0.2) for c in cos), 0.2)) == pytest.approx(expected, rel=1e-4)
    method.bank.label.fill_(-1)
    assert float(method.relations(embeddings, others)) == 0.0


def test_the_weight_of_the_answer_rises_over_the_ramp() -> None:
    for epoch in (0, 15, 30, 60):
        assert rise(epoch / 80 / 0.375) == pytest.approx(math.exp(-5 * (1 - min(epoch, 30) / 30) ** 2))
    method = built(ccd=0.0, crp=0.0).eval()
    with torch.no_grad():
        for p in method.mean_teacher.parameters():
            p.mul_(1.5)
        batch = Batch(pictures(6), torch.arange(6) % 3, index=torch.arange(6))
        own, other = method.student(batch.x).double(), method.mean_teacher(batch.x).double()
    p, q = own.softmax(1), other.softmax(1)
    kl = float((q * (q / p).log()).sum(1).mean())
    for progress in (0.0, 0.2, 0.9):
        found = method(Batch(batch.x, batch.y, progress, batch.index))["distill"].item()
        assert found == pytest.approx(rise(progress / 0.375) * kl, rel=1e-3)


def test_the_first_batch_finds_its_own_images_in_an_empty_memory() -> None:
    method = built(ccd=1.0, crp=0.0, tau=0.5).eval()
    batch = Batch(pictures(4), torch.tensor([0, 0, 1, -1]), index=torch.tensor([7, 8, 9, 10]))
    found = method(replace(batch, progress=0.25))["distill"].item()
    assert (method.bank.label >= 0).sum().item() == 3
    with torch.no_grad():
        features = method.student.forward_with_features(batch.x)[1][-1].mean((2, 3))
        mine = F.normalize(method.embed_student(features), dim=1)[:3].numpy()
        theirs = F.normalize(method.embed_mean(features), dim=1)[:3].numpy()  # the mean teacher is still the student
    expected = 0.0
    for anchors, bank in ((mine, theirs), (theirs, mine)):
        e = np.exp(anchors @ bank.T / 0.5)
        first = [-np.log(e[i, p] / (e[i, p] + e[i, 2])) for i in (0, 1) for p in (0, 1)]
        last = -np.log(e[2, 2] / e[2].sum())
        expected += (np.sum(first) / 2 + last) / 3
    assert found == pytest.approx(expected, rel=1e-4)


def test_images_are_remembered_from_the_start_and_related_to_classes_from_a_quarter_on() -> None:
    method = built(ccd=1.0, crp=1.0).eval()
    batch = Batch(pictures(4), torch.tensor([0, 0, 1, 2]), index=torch.arange(4))
    early = method(replace(batch, progress=0.24))["distill"].item()
    assert early == pytest.approx(0, abs=1e-5)  # the mean teacher is still the student
    assert (method.bank.label >= 0).sum().item() == 4
    assert method(replace(batch, progress=0.25))["distill"].item() > 0.1


def test_one_class_no_labels_or_no_index_keep_it_finite() -> None:
    method = built(classes=2)
    for y in (torch.zeros(4, dtype=torch.long), torch.full((4,), -1)):
        losses = method(Batch(pictures(4), y, 0.5, index=torch.arange(4)))
        losses["total"].backward()
        assert torch.isfinite(losses["total"]).item()
    assert torch.isfinite(method(Batch(pictures(4), torch.tensor([0, 1, 0, 1]), 0.5))["total"]).item()


def test_a_big_teacher_is_not_needed_and_one_that_is_given_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(pictures(4), torch.tensor([0, 1, 2, 1]), index=torch.arange(4))
    method = built().eval()
    monkeypatch.setattr(method.teacher_model, "forward_with_features", lambda x: pytest.fail("the teacher was asked"))
    alone = create_distiller("crckd", Small(5), None, memory=64).eval()
    alone.load_state_dict(method.state_dict())
    assert alone(batch)["total"].item() == pytest.approx(method(batch)["total"].item(), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tau": 0.0}, "tau is 0.0; a number above 0"),
        ({"positives": 0}, "positives"),
        ({"rampup": 0.0}, "rampup"),
        ({"decay": 1.0}, "decay"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        small("crckd", **options)
