"""The distance and the discriminant against independent writings of them, and images that do not belong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from kdlight.bundle.looks import Belonging
from kdlight.preprocessing.augment import AUGMENTATIONS
from kdlight.trust import belonging
from kdlight.trust.planted import PLANTED, misleading, planted

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(12, 12))
OWN = RNG.normal(size=(300, 12)) @ MIX + 3


@pytest.mark.parametrize("early", [12, 5])
def test_the_distance_is_mahalanobis_with_the_shrunk_covariance(early: int) -> None:
    """Of the signed roots of the first features, by SciPy and scikit-learn."""
    looks = belonging.fit(OWN, [OWN + 5], early=early)
    own = np.copysign(np.abs(OWN) ** 0.5, OWN)[:, :early]
    scaled = (own - own.mean(0)) / own.std(0)
    inverse = np.linalg.inv(LedoitWolf(assume_centered=True).fit(scaled).covariance_)
    for row in RNG.normal(size=(5, 12)) * 4:
        root = np.copysign(np.abs(row) ** 0.5, row)[:early]
        expected = mahalanobis((root - own.mean(0)) / own.std(0), np.zeros(early), inverse) / math.sqrt(early)
        assert belonging.distances(looks, row[None])[0] == pytest.approx(expected, rel=1e-3)


def test_the_head_is_a_linear_discriminant_with_equal_priors() -> None:
    groups = [OWN, OWN[:200] + 2 * MIX[0], OWN[:100] - MIX[1]]
    looks = belonging.fit(groups[0], groups[1:])
    spread = np.concatenate([(g - g.mean(0)) / OWN.std(0) for g in groups])
    shrinkage = LedoitWolf(assume_centered=True).fit(spread).covariance_
    oracle = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3)
    scaled = np.concatenate([(g - OWN.mean(0)) / OWN.std(0) for g in groups])
    oracle.fit(scaled, np.repeat([0, 1, 2], [300, 200, 100]))
    oracle.coef_ = np.linalg.solve(shrinkage, oracle.means_.T).T
    oracle.intercept_ = -0.5 * np.diag(oracle.means_ @ oracle.coef_.T)
    rows = RNG.normal(size=(6, 12)) * 3
    expected = oracle.predict_proba((rows - OWN.mean(0)) / OWN.std(0))
    np.testing.assert_allclose(belonging.probabilities(looks, rows), expected, atol=1e-3)


@pytest.mark.parametrize(("count", "rank"), [(1000, 971), (199, 194), (20, 20), (1, 1)])
def test_a_limit_lets_its_share_of_new_images_pass(count: int, rank: int) -> None:
    assert belonging.limit(RNG.permutation(np.arange(1.0, count + 1)), 0.97) == rank


def test_the_limit_holds_on_images_that_set_nothing() -> None:
    passed = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        train, held, new = (rng.normal(size=(n, 12)) @ MIX for n in (300, 200, 400))
        looks = belonging.fit(train, [train + 9])
        known = belonging.limits(looks, held, ["turned"], gray=True)
        passed.append(np.mean(belonging.distances(looks, new) <= known.distance))
    assert np.mean(passed) == pytest.approx(0.97, abs=0.006)


def judge() -> belonging.Judge:
    looks = belonging.fit(OWN, [OWN + 4 * MIX[0], OWN - 4 * MIX[0]])
    return belonging.Judge(looks, belonging.limits(looks, OWN, ["turned", "inverted"], gray=True))


def test_a_copy_is_named_and_what_is_far_is_unlike() -> None:
    middle = OWN.mean(0)
    own, copy, other, odd = judge().judge(np.stack([middle, middle + 4 * MIX[0], OWN[0] + 50, OWN[0] * np.nan]))
    assert own.misfits == ()
    assert own.distance < 0.5
    assert copy.misfits[0].kind == "turned"
    assert (copy.misfits[0].value or 0) > 0.99
    assert other.misfits[-1].kind == odd.misfits[-1].kind == "unlike"
    assert other.distance > 1
    assert other.misfits[-1].value == pytest.approx(other.distance * (other.misfits[-1].limit or 0))


def test_features_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="7 features were given; 12 were expected"):
        judge().judge(np.zeros((1, 7)))


@pytest.mark.parametrize(
    ("modality", "color", "faults"),
    [
        ("xray", False, {"turned", "upside_down", "mirrored", "inverted"}),
        ("mri", False, {"turned", "upside_down", "inverted"}),
        ("histopathology", True, {"inverted", "swapped_channels"}),
    ],
)
def test_what_training_shows_on_purpose_is_no_fault(modality: str, color: bool, faults: set[str]) -> None:
    policy = AUGMENTATIONS[modality]
    assert {kind for kind, _ in misleading(policy, color).values()} == faults
    assert set(planted(policy, color)) <= set(PLANTED)


def test_every_planted_kind_changes_the_images_and_keeps_their_form() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    for name, change in PLANTED.items():
        changed = change(pixels)
        assert (changed.shape, changed.dtype) == (pixels.shape, pixels.dtype), name
        assert not np.array_equal(changed, pixels), name
    np.testing.assert_array_equal(PLANTED["turned by 90 degrees"](pixels)[0, 0], pixels[0, :, -1])
    np.testing.assert_array_equal(PLANTED["channels swapped"](pixels)[..., 0], pixels[..., 2])


def test_tint_is_the_mean_distance_between_the_channels() -> None:
    gray = np.full((1, 4, 4, 3), 9, np.uint8)
    half = gray.copy()
    half[:, :2, :, 0] += 10
    assert belonging.tints(np.concatenate([gray, half])).tolist() == [0, 5]


def test_a_card_field_keeps_to_its_ranges() -> None:
    with pytest.raises(ValueError, match="distance"):
        Belonging(copies=("turned",), distance=0, odds=1, gray=True, level=0.9, n=5)
