"""Memory that was freed is used again: the same block costs no page fault the second time."""

import resource
import sys

import pytest
import torch

from kdlight.training.batches import keep_freed_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is meant")
def test_a_freed_block_is_not_asked_for_again() -> None:
    assert keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(12 * 2**20)  # 48 MB of float32: 12,288 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    for _ in range(3):
        faults()
    assert faults() < 1000
