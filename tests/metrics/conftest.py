from collections.abc import Callable

import numpy as np
import pytest

from kdlight import metrics

Case = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def random_case() -> Callable[..., Case]:
    """Makes probabilities (n, k) that know something of their labels; `coarse` makes many ties."""

    def make(seed: int, n: int = 211, k: int = 4, coarse: bool = False) -> Case:
        rng = np.random.default_rng(seed)
        labels = rng.integers(k, size=n)
        logits = rng.normal(size=(n, k)) * 2
        logits[np.arange(n), labels] += 1
        return metrics.softmax(np.round(logits) if coarse else logits), labels

    return make
