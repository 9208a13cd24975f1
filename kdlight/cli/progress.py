"""Progress on stderr, so that stdout stays the answer's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from kdlight.runs.progress import bars


@contextlib.contextmanager
def counted(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is moved by calling what is yielded with (done, total); silent where stderr is no terminal."""
    with bars() as shown:
        task = shown.add_task(words, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
