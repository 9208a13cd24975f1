"""Deep and handcrafted features with an SVM (arXiv 2101.07866), as a baseline: fitted and measured, never stored.

Ours: the features (kdlight.baselines.features), the pooled features of a bundle's network as the deep ones, an RBF-SVM
on standardized features, each kind scaled so that a thousand numbers of one do not drown a hundred of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from kdlight.baselines.features import handcrafted
from kdlight.data import DataError, Dataset
from kdlight.data.splits import parted
from kdlight.metrics import Interval, Report, balanced_accuracy, difference, fit_temperature, report, softmax
from kdlight.metrics.report import IF_KNOWN, Measured

if TYPE_CHECKING:
    from kdlight.models import Classifier
    from kdlight.preprocessing import InputSpec

Features = dict[str, NDArray[np.float64]]
"""By split: (N, F)."""
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Candidates for C; the best on validation is taken."""
VAL, TEST = 0.15, 0.2
"""Shares carved by group where the set lacks these splits: those of a recipe that says nothing else."""
BATCH = 32


class Fitted(Report):
    """An SVM on the test split."""

    features: int
    C: float
    val_balanced_accuracy: float
    temperature: float


class Comparison(Measured):
    """Handcrafted features and, with a network, its own and both together."""

    split: str = "test"
    n: int
    handcrafted: Fitted
    deep: Annotated[Fitted | None, IF_KNOWN] = None
    both: Annotated[Fitted | None, IF_KNOWN] = None
    gain: Annotated[dict[str, Interval | None] | None, IF_KNOWN] = None
    """Balanced accuracy of both together less that of each alone, paired."""


def split(dataset: Dataset) -> Dataset:
    """The set with train, val and test, carved by group as a recipe would. Raises DataError as `parted` does."""
    return parted(dataset, {"val": VAL, "test": TEST}, seed=0)


def measure(
    dataset: Dataset,
    spec: InputSpec,
    network: Classifier | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Fit and measure an SVM for each kind of features of a set with three splits. Raises DataError."""
    parts = {name: dataset.split(name) for name in ("train", "val", "test")}
    _require_every_class(parts["train"])
    pixels = {name: part.images(spec) for name, part in parts.items()}
    rows: list[NDArray[np.float64]] = []
    for picture in (picture for pictures in pixels.values() for picture in pictures):
        rows.append(handcrafted(picture))
        if progress:
            progress(len(rows), sum(map(len, parts.values())))
    ends = np.cumsum([len(part) for part in parts.values()])
    by_hand = dict(zip(parts, np.split(np.stack(rows), ends[:-1]), strict=True))
    kinds: dict[str, tuple[Features, ...]] = {"handcrafted": (by_hand,)}
    if network is not None:
        deep = {name: pooled(network, spec, pictures) for name, pictures in pixels.items()}
        kinds |= {"deep": (deep,), "both": (by_hand, deep)}
    test = parts["test"]
    probabilities: dict[str, NDArray[np.float64]] = {}
    fitted: dict[str, Any] = {}
    labels = {name: part.labels for name, part in parts.items()}
    for kind, features in kinds.items():
        probabilities[kind], chosen = fit(features, labels, len(dataset.classes))
        scores = dict(report(probabilities[kind], test.labels, dataset.classes, test.groups)) | chosen
        fitted[kind] = Fitted(**scores, features=sum(part["test"].shape[1] for part in features))
    if network is not None:
        both = probabilities.pop("both")
        fitted["gain"] = {
            kind: difference(balanced_accuracy, both, p, test.labels, test.groups) for kind, p in probabilities.items()
        }
    return Comparison(n=len(test), **fitted)


def pooled(network: Classifier, spec: InputSpec, pixels: np.ndarray) -> NDArray[np.float64]:
    """Rendered pixels uint8 (N, S, S, 3) to the means of the network's last feature maps (N, C)."""
    import torch

    rows = []
    with torch.no_grad():
        for start in range(0, len(pixels), BATCH):
            x = spec.normalise(torch.from_numpy(pixels[start : start + BATCH].copy()))
            rows.append(network.eval().forward_with_features(x)[1][-1].mean(dim=(2, 3)).double().numpy())
    return np.concatenate(rows)


def together(kinds: Sequence[Features]) -> Features:
    """Kinds of features side by side, each standardized on train and divided by the root of its length.

    So two images lie a squared distance of about 2 apart in each kind: all kinds weigh alike.
    """
    scaled = []
    for kind in kinds:
        mean, deviation = kind["train"].mean(axis=0), kind["train"].std(axis=0)
        unit = np.where(deviation > 1e-12, deviation, 1) * np.sqrt(kind["train"].shape[1])
        scaled.append({name: (values - mean) / unit for name, values in kind.items()})
    return {name: np.concatenate([part[name] for part in scaled], axis=1) for name in kinds[0]}


def fit(
    kinds: Sequence[Features], labels: Mapping[str, NDArray[np.int64]], count: int
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """An RBF-SVM on train, C chosen on val by balanced accuracy: probabilities (N, count) on test, and what was chosen.

    The kernel is exp(-d^2 / (2 kinds)), so that two images of any kind are e^-1 alike on average. The margins of each
    class against the rest stand as logits; temperature scaling on val makes them probabilities.
    """
    from sklearn.svm import SVC

    scaled = together(kinds)
    tried = []
    for penalty in PENALTIES:
        machine = SVC(C=penalty, gamma=1 / (2 * len(kinds)), class_weight="balanced", decision_function_shape="ovr")
        machine.fit(scaled["train"], labels["train"])
        logits = {name: margins(machine, scaled[name], count) for name in ("val", "test")}
        tried.append((balanced_accuracy(softmax(logits["val"]), labels["val"]) or 0.0, penalty, logits))
    score, penalty, logits = max(tried, key=lambda one: one[0])
    temperature = fit_temperature(logits["val"], labels["val"])
    chosen = {"C": penalty, "val_balanced_accuracy": score, "temperature": temperature}
    return softmax(logits["test"], temperature), chosen


def margins(machine: Any, features: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """One column per class: (N, count); two classes have one margin, shared out to both sides."""
    values = np.asarray(machine.decision_function(features), dtype=np.float64)
    return values if count > 2 else np.stack([-values, values], axis=1) / 2


def _require_every_class(train: Dataset) -> None:
    absent = [name for name, count in train.counts().items() if not count]
    if absent or len(train.classes) < 2:
        raise DataError(
            f"The train split of {train.source.name} has {', '.join(absent) or 'one class only'}: an SVM needs images "
            f"of two classes or more, and some of each. Add images."
        )
