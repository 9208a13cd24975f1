"""What the tests of quantization share."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def inputs() -> list[np.ndarray]:
    """Six batches (4, 3, 8, 8) for the small networks that the tests build."""
    return list(np.random.default_rng(1).normal(size=(6, 4, 3, 8, 8)).astype(np.float32))
