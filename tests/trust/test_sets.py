"""Sets by class and of all images: against MAPIE, by simulation, and with faults planted."""

from __future__ import annotations

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from kdlight import metrics
from kdlight.bundle import Card
from kdlight.bundle.fitted import Threshold
from kdlight.metrics.conformal import SET_KINDS, conformal_threshold, conformity, least_units, score_of
from kdlight.metrics.coverage import SetCoverage, coverage
from kdlight.trust import sets

NAMES = ("a", "b", "c")


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose inputs are its probabilities."""

    classes_ = np.arange(3)
    is_fitted_ = True

    def fit(self, x: np.ndarray, y: np.ndarray) -> Given:
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.argmax(axis=1))

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return x


class NoChance(np.random.RandomState):
    """Without the random part of APS, which MAPIE always draws where it calibrates."""

    def uniform(self, *_: object, size: int) -> np.ndarray:  # type: ignore[override]
        return np.zeros(size)


def drawn(n: int, seed: int, sharp: float = 1.0, prior: tuple[float, ...] = (0.6, 0.3, 0.1)) -> tuple[np.ndarray, ...]:
    """Probabilities (n, 3) of a model that is right more often in some classes than in others, and the labels (n,)."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, size=n, p=prior)
    logits = rng.normal(size=(n, 3)) + np.array([2.5, 1.5, 0.5])[y][:, None] * np.eye(3)[y]
    return metrics.softmax(sharp * logits), y


@pytest.mark.parametrize("kind", ["lac", "aps"])
@pytest.mark.parametrize("seed", range(5))
def test_mapie_gives_the_same_sets(kind: str, seed: int) -> None:
    (p, y), (new, _) = drawn(157, seed), drawn(300, seed + 100)
    theirs = SplitConformalClassifier(Given(), 0.9, kind, random_state=NoChance()).conformalize(p, y)
    options = {"include_last_label": False} if kind == "aps" else {}
    expected = theirs.predict_set(new, options)[1][:, :, 0]
    threshold = conformal_threshold(conformity(p, kind)[np.arange(157), y])  # type: ignore[arg-type]
    ours = metrics.prediction_sets(new, threshold, kind)  # type: ignore[arg-type]
    expected[np.arange(300), new.argmax(axis=1)] = True  # MAPIE may give an empty set
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.filterwarnings("ignore:WARNING. your conformalization dataset has less labels")
def test_mapie_given_one_class_sets_the_threshold_of_that_class() -> None:
    (p, y), (new, _) = drawn(400, 1), drawn(300, 2)
    found = sets.thresholds(p, y, np.arange(400), NAMES, 0.1)
    for c, name in enumerate(NAMES):
        alone = SplitConformalClassifier(Given(), 0.9, "lac").conformalize(p[y == c], y[y == c])
        limit = found.classes[name].lac
        np.testing.assert_array_equal(1 - new[:, c] <= limit, alone.predict_set(new)[1][:, c, 0])


def test_one_class_is_promised_what_only_its_own_threshold_keeps() -> None:
    """Over 300 calibrations: sets of all images hold the rare, hard class too seldom, those by class hold each."""
    held = {kind: np.zeros((300, 3)) for kind in SET_KINDS}
    for seed in range(300):
        (p, y), (new, truth) = drawn(200, seed), drawn(600, seed + 10_000)
        found = sets.thresholds(p, y, np.arange(200), NAMES, 0.1)
        for kind in SET_KINDS:
            whole = found.qhat if score_of(kind) == "lac" else found.aps
            own = [getattr(found.classes[name], score_of(kind)) for name in NAMES]
            limits = own if kind.startswith("class") else [whole] * 3
            hit = metrics.prediction_sets(new, limits, score_of(kind))[np.arange(600), truth]
            held[kind][seed] = [hit[truth == c].mean() for c in range(3)]
    noise = {kind: 2 * shares.std(axis=0) / np.sqrt(300) for kind, shares in held.items()}
    for kind in ("class_lac", "class_aps"):
        assert (held[kind].mean(axis=0) >= 0.9 - noise[kind]).all(), held[kind].mean(axis=0)
    assert held["lac"].mean(axis=0)[2] < 0.75


def test_patients_and_not_their_images_are_counted() -> None:
    """Ten images each of 8 patients promise nothing at 90 %, and of 9 the score that each patient's images reach."""
    scores = np.tile(np.arange(9) / 10, 10)
    groups = np.tile(np.arange(9), 10)
    assert conformal_threshold(scores[groups < 8], 0.1, groups[groups < 8]) is None
    assert conformal_threshold(scores, 0.1, groups) == 0.8
    assert conformal_threshold(scores, 0.1) == 0.8
    assert [least_units(alpha) for alpha in (0.1, 0.05, 0.2)] == [9, 19, 4]


def test_new_patients_are_held_although_their_images_are_alike() -> None:
    """40 patients of 1 to 20 images with one score each: by image the promise is broken, by patient it is kept."""
    by_patient, by_image = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        score, size = rng.random(40), rng.integers(1, 21, 40)
        size = np.where(score < 0.5, 20 * size, size)  # the easy ones have most images
        images, patients = np.repeat(score, size), np.repeat(np.arange(40), size)
        for groups, held in ((patients, by_patient), (None, by_image)):
            threshold = conformal_threshold(images, 0.1, groups)
            held.append(1.0 if threshold is None else threshold)  # of uniform scores the share at most the threshold
    assert np.mean(by_patient) >= 0.9 - 2 * np.std(by_patient) / 20
    assert np.mean(by_image) < 0.8


def test_a_class_with_too_few_images_says_so() -> None:
    p, y = drawn(60, 3, prior=(0.6, 0.3, 0.1))
    rare = np.flatnonzero(y == 2)[8:]
    p, y = np.delete(p, rare, axis=0), np.delete(y, rare)
    found = sets.thresholds(p, y, np.arange(len(y)), NAMES, 0.1)
    assert found.classes["c"].model_dump() == {"n": int((y == 2).sum()), "lac": None, "aps": None}
    assert found.classes["a"].lac is not None


@pytest.fixture
def card(tiny_bundle: object) -> Card:
    card: Card = tiny_bundle.card  # type: ignore[attr-defined]
    one = Threshold.model_validate(
        {
            "qhat": 0.6,
            "aps": 0.95,
            "n": 40,
            "classes": {
                "benign": {"n": 20, "lac": 0.7, "aps": 0.9},
                "malignant": {"n": 12, "lac": 0.99, "aps": 0.99},
                "normal": {"n": 8},
            },
        }
    )
    return card.replace(conformal=card.conformal.replace(teacher=one, student=one))


def test_a_card_says_what_it_promises(card: Card, tiny_bundle: object) -> None:
    classes, sets = ("benign", "malignant", "normal"), card.conformal
    assert sets.kind == "class_lac"
    assert sets.thresholds("teacher", "class_lac", classes) == {"benign": 0.7, "malignant": 0.99, "normal": 0.6}
    assert sets.thresholds("teacher", "aps", classes) == dict.fromkeys(classes, 0.95)
    assert sets.unpromised("student") == ("normal",)
    assert Card.model_validate(card.to_json()) == card
    older = tiny_bundle.card.conformal  # type: ignore[attr-defined]
    assert older.kind == "lac"
    assert older.thresholds("teacher", "class_lac", classes) is None
    assert older.unpromised("teacher") == ()


def test_sets_of_other_classes_are_refused(card: Card) -> None:
    strange = card.conformal.to_json()
    strange["teacher"]["classes"]["other"] = strange["teacher"]["classes"].pop("normal")
    with pytest.raises(ValueError, match="other classes"):
        Card.model_validate({**card.to_json(), "conformal": strange})


def measured(p: np.ndarray, y: np.ndarray, limits: list[float], n: int = 200) -> SetCoverage:
    calibrated: dict[str | None, int | None] = dict.fromkeys(NAMES, n)
    thresholds = dict(zip(NAMES, limits, strict=True))
    return coverage(p, y, thresholds, "class_lac", 0.9, {**calibrated, None: 3 * n})


def test_coverage_counts_by_hand() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.05, 0.9, 0.05]])
    found = measured(p, np.array([0, 1, 0, 2]), [0.5, 0.5, 0.5])
    assert found.all.n == 4
    assert found.all.share is not None
    assert found.all.share.value == 0.5
    assert found.classes["a"].share is not None
    assert found.classes["a"].share.value == 0.5
    assert found.classes["c"].share is not None
    assert found.classes["c"].share.value == 0
    assert found.size is not None
    assert found.size.value == 1


def test_a_promise_that_is_kept_is_seldom_called_broken_and_a_broken_one_often() -> None:
    """One-sided 5 %: fresh images of the same kind; a model made six times as sure; labels moved to the next class."""
    kept, sure, moved = [], [], []
    for seed in range(100):
        (p, y), (new, truth) = drawn(300, seed), drawn(300, seed + 5000)
        limits = [sets.thresholds(p, y, np.arange(300), NAMES, 0.1).classes[name].lac for name in NAMES]
        n = int((y == 2).sum())
        kept.append(measured(new, truth, limits, n).classes["c"].broken)
        power = new**6 / (new**6).sum(axis=1, keepdims=True)
        sure.append(measured(power, truth, limits, n).classes["c"].broken)
        moved.append(measured(new, (truth + 1) % 3, limits, n).all.broken)
    assert np.mean(kept) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)
    assert np.mean(moved) == 1
    assert np.mean(sure) > 0.2


def test_label_shift_breaks_the_promise_of_all_and_not_that_of_a_class() -> None:
    """The rare, hard class becomes the most frequent one: sets of all images fail, sets by class do not notice."""
    shares = {"lac": [], "class_lac": []}
    for seed in range(60):
        (p, y), (new, truth) = drawn(400, seed), drawn(800, seed + 900, prior=(0.1, 0.3, 0.6))
        found = sets.thresholds(p, y, np.arange(400), NAMES, 0.1)
        own = [found.classes[name].lac for name in NAMES]
        for kind, limits in (("lac", [found.qhat] * 3), ("class_lac", own)):
            shares[kind].append(metrics.prediction_sets(new, limits)[np.arange(800), truth].mean())
    assert np.mean(shares["lac"]) < 0.8
    assert np.mean(shares["class_lac"]) > 0.89
