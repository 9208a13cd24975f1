"""The scan on the table: how it gets there, how long it stays, and its frames.

What a person uploads lives in this session's memory only: no file, no cache shared with others, and never its name.
"""

from __future__ import annotations

import base64
import io
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image
import streamlit as st

from kdlight import images
from kdlight.images import Image, ImageError, Sample
from kdlight.ui import work

THUMBNAIL = 240
FRAMES_KEPT = 4
"""Decoded frames that a session holds."""


@dataclass(slots=True, eq=False)
class Scan:
    """One file as it came, with the frame that is looked at."""

    source: bytes | Path
    words: str
    """What the page calls it: the sample's name, or `uploaded file`."""
    frame: int = 0
    frames: OrderedDict[int, Image] = field(default_factory=OrderedDict)


def current() -> Scan | None:
    """The scan of this session, also after another page was visited."""
    return st.session_state.get("scan")


def choose() -> Scan | None:
    """Drop zone and samples; returns the scan on the table, or None."""
    turn = st.session_state.setdefault("scans laid", 0)
    dropped = st.file_uploader(
        "Drop a scan", key=f"drop-{turn}", help="DICOM, PNG, JPEG, TIFF, BMP or WebP, up to 64 MB."
    )
    if dropped is not None:
        put(dropped.getvalue(), "Uploaded file")
        st.rerun()
    if current() is not None:
        with st.popover("Try a sample", icon=":material/photo_library:", width="stretch", key=f"samples-{turn}"):
            for sample in images.samples():
                st.button(sample.name, key=f"other {sample.name}", width="stretch", on_click=lay, args=[sample])
        st.button("Clear the scan", icon=":material/close:", type="tertiary", on_click=clear)
    return current()


def frame(scan: Scan) -> Image:
    """The chosen frame, decoded in a child process. Raises ImageError where the file is refused."""
    if scan.frame not in scan.frames:
        with st.spinner("Reading the file"):
            scan.frames[scan.frame] = images.read(scan.source, frame=scan.frame)
    scan.frames.move_to_end(scan.frame)
    while len(scan.frames) > FRAMES_KEPT:
        scan.frames.popitem(last=False)
    return scan.frames[scan.frame]


def choose_frame(scan: Scan, image: Image) -> None:
    """A slider where there are many frames; moving it starts the page again with that frame."""
    if image.frames > 1:
        number = st.slider("Frame", 1, image.frames, scan.frame + 1, key=f"frame-{image.sha256[:12]}")
        if number - 1 != scan.frame:
            scan.frame = number - 1
            st.rerun()


def lay(sample: Sample) -> None:
    """Put a sample on the table."""
    put(sample.data, sample.name)
    if sample.modality is not None:
        st.session_state["modality"] = sample.modality


@st.cache_data(show_spinner=False, max_entries=32)
def thumbnail(name: str) -> str:
    """A sample as a PNG of 240 px at most, in the page itself: a file by its side could be gone before it is loaded.

    Samples are no patient's: this is the only picture that sessions share.
    """
    sample = next(s for s in images.samples() if s.name == name)
    picture = PIL.Image.fromarray(images.read(sample.data).display())
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    square = PIL.Image.new(picture.mode, (THUMBNAIL, THUMBNAIL))
    square.paste(picture, ((THUMBNAIL - picture.width) // 2, (THUMBNAIL - picture.height) // 2))
    file = io.BytesIO()
    square.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def clear() -> None:
    """Take the scan off the table, with all that was asked and said of it."""
    work.drop()
    for entry in ("scan", "readings", "confirmed", "modality", "encoded"):
        st.session_state.pop(entry, None)


def put(source: bytes | Path, title: str) -> None:
    """Lay a scan on the table in place of the last one.

    The widgets that brought it start anew: the drop zone lets go of its copy of the file, the samples fold up.
    """
    clear()
    st.session_state["scans laid"] = st.session_state.get("scans laid", 0) + 1
    st.session_state["scan"] = Scan(source, title)


__all__ = ["ImageError", "Scan", "choose", "choose_frame", "clear", "current", "frame", "lay", "put", "thumbnail"]
