import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlight import metrics


def drawn(n: int, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, k) and labels drawn from exactly the probabilities the logits say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2
    p = scipy.special.softmax(logits, axis=1)
    return logits, (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, k - 1)


def test_softmax_equals_scipy_and_stands_large_logits() -> None:
    logits, _ = drawn(50)
    np.testing.assert_allclose(metrics.softmax(logits, 2.5), scipy.special.softmax(logits / 2.5, axis=1))
    np.testing.assert_allclose(metrics.softmax([[1e5, 0.0]]), [[1, 0]])


@pytest.mark.parametrize("made_sharper", [0.5, 1.0, 3.0])
def test_temperature_undoes_the_sharpening(made_sharper: float) -> None:
    logits, labels = drawn(20_000)
    found = metrics.fit_temperature(logits * made_sharper, labels)
    assert found == pytest.approx(made_sharper, rel=0.03)
    assert metrics.ece(metrics.softmax(logits * made_sharper, found), labels) < 0.015


def test_temperature_is_where_torch_sees_no_gradient() -> None:
    logits, labels = drawn(300, seed=1)
    t = torch.tensor(metrics.fit_temperature(logits * 2, labels), dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(torch.tensor(logits * 2) / t, torch.tensor(labels)).backward()
    assert t.grad is not None
    assert abs(float(t.grad)) < 1e-4


def test_perfect_and_reversed_logits_end_at_the_limits() -> None:
    logits = np.eye(3)[[0, 1, 2, 0]]
    assert metrics.fit_temperature(logits, [0, 1, 2, 0]) == pytest.approx(0.2, rel=0.01)
    assert metrics.fit_temperature(logits, [1, 2, 0, 1]) == pytest.approx(10, rel=0.01)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.sampled_from([0.05, 0.1, 0.2]), st.integers(0, 10_000))
def test_calibration_images_themselves_are_covered(n: int, alpha: float, seed: int) -> None:
    logits, labels = drawn(n, seed=seed)
    p = metrics.softmax(logits)
    qhat = metrics.conformal_qhat(p, labels, alpha)
    sets = metrics.prediction_sets(p, qhat)
    assert sets[np.arange(n), labels].mean() >= 1 - alpha
    assert 1 <= sets.sum(axis=1).mean() <= 4
    assert metrics.prediction_sets(p, 0.0).sum() == n


def test_qhat_is_the_higher_quantile_and_one_where_images_are_too_few() -> None:
    logits, labels = drawn(99)
    p = metrics.softmax(logits)
    scores = 1 - p[np.arange(99), labels]
    assert metrics.conformal_qhat(p, labels, 0.1) == np.sort(scores)[89]
    assert metrics.conformal_qhat(p[:8], labels[:8], 0.1) == 1.0
    assert metrics.prediction_sets(p, 1.0).all()


def test_new_images_are_covered_as_promised_on_average() -> None:
    covered = []
    for seed in range(40):
        logits, labels = drawn(1200, seed=seed)
        p = metrics.softmax(logits * 1.7)
        qhat = metrics.conformal_qhat(p[:200], labels[:200], 0.1)
        covered.append(metrics.prediction_sets(p[200:], qhat)[np.arange(1000), labels[200:]].mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize("alpha", [0, 1, -0.1])
def test_alpha_outside_0_to_1_is_refused(alpha: float) -> None:
    with pytest.raises(metrics.MetricError, match="Alpha"):
        metrics.conformal_qhat([[1.0, 0.0]], [0], alpha)


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(metrics.MetricError, match="finite logits"):
        metrics.fit_temperature([[np.nan, 0.0]], [0])
