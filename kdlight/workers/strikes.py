"""Bundles whose models took a reading process with them: after two times a server asks them no more."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from kdlight.bundle import is_shipped
from kdlight.workers.errors import WorkerError

MOST = 2


class BundleDisabled(WorkerError):
    """The bundle ended the reading process before; it is asked no more until it was verified."""


class Strikes:
    """How often each bundle did. Safe to ask from any thread."""

    def __init__(self) -> None:
        self._counts: Counter[Path] = Counter()
        self._changing = threading.Lock()

    def add(self, bundle: Path | None) -> None:
        """One more. A shipped bundle gets none: it is as trusted as this code, and a busy machine must not close it."""
        if bundle is not None and not is_shipped(bundle):
            with self._changing:
                self._counts[bundle] += 1

    def clear(self, bundle: Path | None) -> None:
        """It was verified or came anew."""
        if bundle is not None:
            with self._changing:
                self._counts.pop(bundle, None)

    def refusal(self, bundle: Path | None) -> BundleDisabled | None:
        """Why a bundle is asked no more; None where it may be asked."""
        return None if bundle is None else self.disabled.get(bundle)

    @property
    def disabled(self) -> dict[Path, BundleDisabled]:
        """The bundles that are asked no more, with the sentence for people."""
        with self._changing:
            out = [path for path, count in self._counts.items() if count >= MOST]
        sentence = "{} ended the reading process {} times or overtaxed it, and is not asked again on this server. "
        advice = "Verify it in the Library, or delete it and import it again."
        return {path: BundleDisabled(sentence.format(path.name, MOST) + advice) for path in out}
