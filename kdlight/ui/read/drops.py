"""What a drop zone turned away: Streamlit tells its browser only, and a component of ours tells the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from kdlight.images.limits import LIMITS
from kdlight.ui import sessions

LIMIT_MB = LIMITS.bytes >> 20
MOST_FILES, MOST_BYTES = 2000, 512 << 20
"""What one drop may hold."""
_watch = st.components.v2.component("kdlight_drops", js=(Path(__file__).parent / "drops.js").read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class Rejected:
    """Files that never arrived."""

    files: int
    too_large: int
    """How many of them are larger than one file may be; the others' upload broke off."""
    coming: int = 0
    """Files of the same drop that are still on their way."""
    too_many: bool = False
    """The drop as a whole holds more than one drop may."""
    full: sessions.Full | None = None
    """What had no place for them."""

    @property
    def sentence(self) -> str:
        """What happened, what was expected, what to do."""
        if self.too_many:
            return (
                f"{self.files} files were not read: one drop may hold {MOST_FILES:,} files and {MOST_BYTES >> 20} MB. "
                "Drop fewer at a time."
            )
        several = self.files > 1
        subject = f"{self.files} files were" if several else "One file was"
        if self.full is not None:
            return f"{subject} not read. {self.full.sentence}"
        if self.too_large:
            return (
                f"{subject} not read: {'they are' if several else 'it is'} larger than {LIMIT_MB} MB, the limit for "
                "one file. Export a single image or series and drop that."
            )
        return f"{subject} not read: the upload broke off. Drop {'them' if several else 'it'} again."


def turned_away(zone: str) -> Rejected | None:
    """What the drop zone with this key has just turned away; None in every other run of the page."""
    data = {"zone": zone, "limit": LIMITS.bytes}
    with st.container(key=f"kd_unseen_{zone}"):
        answer: Any = _watch(key=f"watch {zone}", data=data, on_rejected_change=lambda: None).rejected
    if not answer:
        return None
    return Rejected(int(answer["failed"]), int(answer["large"]), int(answer["coming"]), full=sessions.refused())
