"""The dual models' loss and averages against computations made by hand."""

import copy

import pytest
import torch
from torch.nn import functional as F

from kdlight.distillers import Batch, View, create_distiller
from kdlight.distillers.base import update_average
from kdlight.distillers.dual import Dual, targets
from kdlight.models.weight_selection import select_weights
from tests.distillers.small import Small, pictures

T = 2.0
Y = torch.tensor([0, 1, 2, 0])


def pair() -> tuple[Small, Small]:
    """A student of 4 channels, selected from a teacher of 8; answers differ from image to image."""
    torch.manual_seed(0)
    student, teacher = Small(4, dropout=0.2), Small(8)
    select_weights(teacher, student)
    with torch.no_grad():
        student.classifier.weight.mul_(8)
    return student, teacher


def build(**options: bool | float | str) -> Dual:
    method = create_distiller("dual", *pair(), temperature=T, **options)
    assert isinstance(method, Dual)
    return method


def batch(seed: int = 1) -> Batch:
    return Batch(pictures(4, seed), Y)


def kl(own: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    p, q = torch.softmax(own.double() / T, 1), torch.softmax(target.double() / T, 1)
    return T**2 * (q * (q / p).log()).sum(1).mean()


@pytest.mark.parametrize("both", [False, True])
def test_each_model_learns_from_labels_and_from_the_average_of_the_other(both: bool) -> None:
    method = build(weight=0.7, both=both).eval()
    with torch.no_grad():
        for average in method.averages:
            average.classifier.weight.add_(torch.randn_like(average.classifier.weight))
        a, b = method.student(batch().x), method.partner(batch().x)
        of_a, of_b = (average(batch().x) for average in method.averages)
        found = method(batch())
    for_a, for_b = ((of_a + of_b) / 2,) * 2 if both else (of_b, of_a)
    expected = 0.7 * (kl(a, for_a) + kl(b, for_b)) + F.cross_entropy(b, Y)
    assert not torch.allclose(of_a, of_b, atol=1e-2)
    assert float(found["distill"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(found["total"]) == pytest.approx(float(expected + F.cross_entropy(a, Y)), rel=1e-4)


def test_a_single_model_follows_its_own_average() -> None:
    method = build(dual=False).eval()
    with torch.no_grad():
        method.averages[0].classifier.weight.mul_(-3).add_(0.1)
        expected = kl(method.student(batch().x), method.averages[0](batch().x))
        assert float(method(batch())["distill"]) == pytest.approx(float(expected), rel=1e-4)
    assert expected > 1e-5
    assert method.partner is None


def test_targets_are_those_of_the_other() -> None:
    one, two = torch.zeros(1, 2), torch.ones(1, 2)
    assert [t.tolist() for t in targets([one, two], both=False)] == [[[1, 1]], [[0, 0]]]
    assert [t.tolist() for t in targets([one, two], both=True)] == [[[0.5, 0.5]], [[0.5, 0.5]]]
    assert targets([], both=True) == []


def test_the_partner_takes_the_half_that_the_student_leaves() -> None:
    method = build()
    large = method.teacher_model.state_dict()["body.0.weight"]
    torch.testing.assert_close(method.student.state_dict()["body.0.weight"], large[::2])
    torch.testing.assert_close(method.partner.state_dict()["body.0.weight"], large[1::2])


def test_averages_are_those_made_by_hand() -> None:
    method = build(momentum=0.6)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05)
    by_hand = [copy.deepcopy(m.state_dict()) for m in method.learners()]
    method.train()
    for step, momentum in enumerate([1 / 2, 0.6, 0.6]):  # 1 - 1 / 2 is below 0.6, 1 - 1 / 3 is not
        optimizer.zero_grad()
        method(batch(step))["total"].backward()
        if step == 0:
            by_hand[1] = copy.deepcopy(method.averages[1].state_dict())
        optimizer.step()
        method.after_step()
        for kept, model in zip(by_hand, method.learners(), strict=True):
            for name, value in model.state_dict().items():
                mixed = momentum * kept[name] + (1 - momentum) * value
                kept[name] = mixed if value.is_floating_point() else value.clone()
    for kept, average in zip(by_hand, method.averages, strict=True):
        for name, value in average.state_dict().items():
            torch.testing.assert_close(value, kept[name], rtol=1e-4, atol=1e-6)
        assert not average.training
        assert all(not p.requires_grad and p.grad is None for p in average.parameters())


def test_momentum_0_copies_and_1_keeps() -> None:
    average, model = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    before = average.weight.detach().clone()
    with torch.no_grad():
        update_average(average, model, 1.0)
        assert torch.equal(average.weight, before)
        update_average(average, model, 0.0)
    torch.testing.assert_close(average.weight, model.weight)


def trained(method: str, **options: bool) -> dict[str, torch.Tensor]:
    """The student after three steps, dropout and all."""
    distiller = create_distiller(method, *pair(), **options)
    optimizer = torch.optim.SGD([p for p in distiller.parameters() if p.requires_grad], lr=0.05)
    torch.manual_seed(7)
    for step in range(3):
        optimizer.zero_grad()
        distiller.train()(batch(step))["total"].backward()
        optimizer.step()
        distiller.after_step()
    return {k: v.clone() for k, v in distiller.student.state_dict().items()}


def test_without_self_distillation_the_student_learns_exactly_as_alone() -> None:
    alone = trained("alone")
    for dual in (False, True):
        found = trained("dual", dual=dual, self_distill=False)
        assert all(torch.equal(found[k], alone[k]) for k in alone)
    taught = trained("dual")
    assert any(not torch.equal(taught[k], alone[k]) for k in alone)


def test_the_first_batch_sets_the_partners_batch_norm() -> None:
    method = build().train()
    x = batch().x * 3 + 1
    method(Batch(x, Y))
    body = method.averages[1].body
    made = F.conv2d(x, body[0].weight, body[0].bias, stride=4)
    torch.testing.assert_close(body[1].running_mean, made.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_partner_and_averages_are_in_the_checkpoint() -> None:
    method, other = build(), build()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05)
    method(batch())["total"].backward()
    optimizer.step()
    method.after_step()
    other.load_state_dict(method.state_dict())
    assert int(other.steps) == 1
    torch.testing.assert_close(other.partner.classifier.weight, method.partner.classifier.weight)
    torch.testing.assert_close(other.averages[0].classifier.weight, method.averages[0].classifier.weight)


def test_unlabelled_images_teach_by_the_averages_alone() -> None:
    method = build().eval()
    with torch.no_grad():
        found = method(Batch(batch().x, torch.full((4,), -1)))
        a, b = method.student(batch().x), method.partner(batch().x)
    assert float(found["task"]) == 0
    assert float(found["distill"]) == pytest.approx(float(kl(a, b) + kl(b, a)), rel=1e-3, abs=1e-7)


def test_a_consecutive_partner_takes_the_second_half() -> None:
    method = build(selection="consecutive")
    large = method.teacher_model.state_dict()["body.0.weight"]
    torch.testing.assert_close(method.partner.state_dict()["body.0.weight"], large[4:])


@pytest.mark.parametrize(
    "wrong", [{"weight": -1.0}, {"temperature": 0.0}, {"momentum": 1.0}, {"selection": "random"}, {"layers": "last"}]
)
def test_values_out_of_range_are_named(wrong: dict[str, float | str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        create_distiller("dual", Small(4), Small(8), **wrong)


def test_a_partner_needs_a_larger_model_of_the_family() -> None:
    with pytest.raises(ValueError, match="give a teacher, or dual off"):
        create_distiller("dual", Small(4), None)
    single = create_distiller("dual", Small(4), None, dual=False)
    own = View(torch.randn(4, 3), [])
    assert torch.isfinite(single.eval().distill(own, View(own.logits, []), batch()))
