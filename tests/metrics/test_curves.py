from collections.abc import Callable

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics as sk

from kdlight import metrics

Make = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.mark.parametrize("coarse", [False, True])
def test_roc_equals_scikit_learn(coarse: bool, random_case: Make) -> None:
    p, y = random_case(0, k=3, coarse=coarse)
    fpr, tpr, thresholds = metrics.roc_curve(p[:, 1], y == 1)
    expected = sk.roc_curve(y == 1, p[:, 1], drop_intermediate=False)
    for found, wanted in zip((fpr, tpr, thresholds), expected, strict=True):
        np.testing.assert_allclose(found, wanted)


def test_roc_of_one_class_is_refused() -> None:
    with pytest.raises(metrics.MetricError, match="0 of 3 are positive"):
        metrics.roc_curve([0.1, 0.2, 0.3], [False, False, False])


def test_reliability_equals_scikit_learn_and_leaves_empty_bins_undefined(random_case: Make) -> None:
    p, y = random_case(1, n=2000, k=2)
    confidence, accuracy, count = metrics.reliability_curve(p, y, bins=10)
    right = p.argmax(axis=1) == y
    truth, mean = sklearn.calibration.calibration_curve(right, p.max(axis=1), n_bins=10)
    full = count > 0
    np.testing.assert_allclose(accuracy[full], truth)
    np.testing.assert_allclose(confidence[full], mean)
    assert count.sum() == 2000
    assert np.isnan(accuracy[0])
    gap = np.nansum(count * np.abs(accuracy - confidence)) / 2000
    confidence, accuracy, count = metrics.reliability_curve(p, y)
    gap = np.nansum(count * np.abs(accuracy - confidence)) / 2000
    assert gap == pytest.approx(metrics.ece(p, y))
