"""What is prefetched is what a plain loop makes; memory that was freed costs no page fault the second time."""

import resource
import sys
import threading
import time

import pytest
import torch

from kdlight.training.batches import keep_freed_memory, prefetch


def test_results_come_in_order_whatever_they_take() -> None:
    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number**2

    assert list(prefetch(slow, range(20))) == [number**2 for number in range(20)]
    assert list(prefetch(slow, [])) == []


def test_the_next_is_made_while_this_one_is_in_use_and_no_further() -> None:
    made: list[int] = []
    done = [threading.Event() for _ in range(5)]

    def make(number: int) -> int:
        made.append(number)
        done[number].set()
        return number

    for number in prefetch(make, range(5)):
        expected = min(number + 1, 4)
        assert done[expected].wait(5)
        assert made == list(range(expected + 1))


def test_a_fault_comes_in_its_turn_and_the_thread_ends() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("no third")
        return number

    before, got = threading.active_count(), prefetch(make, range(5))
    assert [next(got), next(got)] == [0, 1]
    with pytest.raises(ValueError, match="no third"):
        next(got)
    assert threading.active_count() == before


def test_closing_early_leaves_no_thread() -> None:
    before = threading.active_count()
    seen = prefetch(lambda number: number, range(100))
    assert next(seen) == 0
    seen.close()
    assert threading.active_count() == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is meant")
def test_a_freed_block_is_not_asked_for_again() -> None:
    assert keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(12 * 2**20)  # 48 MB of float32: 12,288 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    for _ in range(12):  # until a block lies where it fits
        faults()
    assert faults() < 1000
