"""Which bundles this server saw reproduce their golden cases: no process of it asks them again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from kdlight.contracts.reading import Reading
from kdlight.workers.requests import Accept, Compare, Comparison, R, Read, Request, Verification

PROVEN: set[str] = set()
"""Their digests."""


def told(request: Request[R]) -> Request[R]:
    """The request with what this server has seen of bundles."""
    known: Any = replace(request, proven=tuple(PROVEN)) if isinstance(request, Read | Compare | Accept) else request
    return cast(Request[R], known)


def proofs(answer: object) -> Iterator[str]:
    """Digests of the bundles that cannot have given this answer without reproducing their golden cases."""
    if isinstance(answer, Verification) and answer.ok:
        yield answer.sha256
    elif isinstance(answer, Reading | Comparison) and answer.bundle_sha256:
        yield answer.bundle_sha256
