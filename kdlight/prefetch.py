"""The next one is made while this one is in use."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Generator[Made, None, None]:
    """`make` of each item, in order, one item ahead in a thread of its own, never two at once.

    What `make` raises is raised where its result would have come. Closing the iterator waits for the thread. For what
    releases the interpreter (torch, numpy, reading files) and depends on its item alone: then the results are those of
    a plain loop.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="kdlight-ahead") as pool:
        waiting: Future[Made] | None = None
        for item in items:
            coming = pool.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()
