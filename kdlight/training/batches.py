"""How batches are made: shuffled, the next one prepared while this one is in use, in memory that is kept for both."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Made = TypeVar("Made")

TRIM, PAD, MAP = -1, -2, -3
"""glibc's M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD (malloc.h)."""


def index_batches(count: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """Shuffled index batches; a last batch of one joins its neighbor, since batch norm needs two."""
    parts = list(torch.split(torch.randperm(count, generator=generator), size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def shuffled(pixels: Tensor, seed: int, count: int | None = None) -> list[Tensor]:
    """Images (N, ...), or `count` of them, in even batches of 64 at most, for statistics that are means over batches.

    A set lies sorted by class, and a batch of one class varies less than the set does; a short last batch would count
    as much as a whole one.
    """
    index = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))[:count]
    return [pixels[part] for part in torch.tensor_split(index, math.ceil(len(index) / 64))]


def prefetch(make: Callable[[Item], Made], items: Iterable[Item]) -> Generator[Made, None, None]:
    """`make` of each item, in order, one item ahead in a thread of its own, never two at once.

    What `make` raises is raised where its result would have come. Closing the iterator waits for the thread. For what
    releases the interpreter (torch, numpy, reading files) and depends on its item alone: then the results are those of
    a plain loop.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="kdlight-prefetch") as pool:
        waiting: Future[Made] | None = None
        for item in items:
            coming = pool.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()


@cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to 2 GB; returns whether the system's allocator could be told so.

    A batch's maps are some MB each, which glibc returns to the system as they are freed: 4,000 page faults a step of
    kdlight nano at 128 px, 6 to 9 % of its time, and a third of MobileNetV2's forward pass where faults are dear.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    return all(libc.mallopt(what, value) for what, value in ((MAP, 2**30), (TRIM, 2**31 - 1), (PAD, 2**26)))
