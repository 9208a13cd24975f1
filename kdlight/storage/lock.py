"""Of several processes one works: a lock on a file, which the kernel lets go when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from kdlight.storage.records import UnreadableError

TRIES, PAUSE = 10, 0.01
"""How often, and after how many seconds, a lock is asked for: a look whether it is held takes it for a moment."""


@contextlib.contextmanager
def locked(path: str | Path, inherited: int | None = None, mode: int = 0o644) -> Iterator[int]:
    """Hold the lock of a file, made where it lacks, and yield its descriptor, with which a child inherits the lock.

    The kernel lets it go when the last process that holds it closes it or ends, however it ends. inherited: the
    descriptor by which this process has it from its parent. mode: of a new file. Raises BlockingIOError where another
    process holds it, UnreadableError where something else than a file is there.
    """
    if inherited is not None and _same(inherited, path):
        os.set_inheritable(inherited, False)
        descriptor = inherited
    else:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, mode)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnreadableError(f"{path} is no plain file; remove it.")
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise
                time.sleep(PAUSE)
        if not _same(descriptor, path):
            raise BlockingIOError(errno.EAGAIN, "was removed by another process", str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: str | Path) -> bool | None:
    """Whether any process, this one too, holds a file's lock; None where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:  # a disk without locks
        return None
    finally:
        os.close(descriptor)


def _same(descriptor: int, path: str | Path) -> bool:
    """Whether a descriptor is of the file that is at `path` now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
