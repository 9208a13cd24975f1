"""The open scans of a session: how they are opened and closed, which one is shown, and its frames.

What a person uploads lives in this session's memory only: no file, no cache shared with others, and never its name.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image
import streamlit as st

from kdlight import images
from kdlight.images import Image, Kind, Sample
from kdlight.ui import sessions, theme
from kdlight.ui.read import readings
from kdlight.ui.read.drops import LIMIT_MB, MOST_BYTES, MOST_FILES, Rejected, turned_away

THUMBNAIL = 240
LINES = 12
"""Elements that a reading takes up on the page, or more."""
FRAMES_KEPT = 4
"""Decoded frames that a session holds of each scan."""
DECODED_BYTES = 256 << 20
"""What it holds of all of them; the frame that is looked at may be larger."""
CAUTIONS = {
    Kind.PHANTOM: "drawn by arithmetic, no answer to it means anything",
    Kind.UNSUITED: "no bundle is made for such a scan",
}
_numbers = itertools.count()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Scan:
    """One file as it came, with the frame that is looked at and what the person decided about it."""

    source: bytes | Path
    words: str
    """What the page calls it: the sample's name, or `Uploaded file`."""
    truth: str | None = None
    """Its true class in words, where a labeled set says so."""
    kind: Kind | None = None
    """What a sample is to the shipped bundles; None for every other file."""
    modality: str | None = None
    """As the person chose it; None where it is as the file proposes."""
    frame: int = 0
    frames: OrderedDict[int, Image] = field(default_factory=OrderedDict)
    number: int = field(default_factory=lambda: next(_numbers))
    """Sets it apart from every other scan, also from the same file dropped once more."""

    @property
    def caution(self) -> str | None:
        """Why no answer to it may be used, whatever the models say; None where nothing is known against it."""
        return CAUTIONS.get(self.kind) if self.kind is not None else None


def current() -> Scan | None:
    """The scan of this session that is looked at, also after another page was visited."""
    return st.session_state.get("scan")


def open_scans() -> list[Scan]:
    """Every open scan, in the order of the drop."""
    scans: list[Scan] = st.session_state.get("scans", [])
    return scans


def title(scan: Scan) -> str:
    """What the page calls a scan; of several, with the number that the picker gives it now."""
    scans = open_scans()
    return f"{scan.words} {scans.index(scan) + 1} of {len(scans)}" if len(scans) > 1 and scan in scans else scan.words


def rejected() -> Rejected | None:
    """What the last drop held that was not read."""
    return st.session_state.get("rejected upload")


def choose() -> Scan | None:
    """Drop zone, the file of several that is looked at, and samples; returns the scan that is shown, or None."""
    turn = st.session_state.setdefault("openings", 0)
    dropped = st.file_uploader(
        "Drop scans",
        key=f"drop-{turn}",
        accept_multiple_files=True,
        help=f"DICOM, PNG, JPEG, TIFF, BMP or WebP, up to {LIMIT_MB} MB each. Several are read one by one.",
    )
    lost = turned_away(f"drop-{turn}")
    if lost is not None:
        _reject(lost)
    if dropped:
        _take([file.getvalue() for file in dropped])
    if dropped or lost is not None:
        st.rerun()
    if current() is not None:
        _choose_file()
        with st.popover("Try a sample", icon=":material/photo_library:", width="stretch", key=f"samples-{turn}"):
            for sample in images.samples():
                st.button(sample.name, key=f"other {sample.name}", width="stretch", on_click=open_sample, args=[sample])
        several = len(open_scans()) > 1
        st.button(
            "Clear all scans" if several else "Clear the scan", icon=":material/close:", type="tertiary", on_click=clear
        )
    return current()


def frame(scan: Scan) -> Image:
    """The chosen frame, decoded in a child process. Raises ImageError where the file is refused.

    While a new file is read, nothing of the one before is on the page; then the page starts again.
    """
    if not scan.frames:
        for _ in range(LINES):
            st.empty()
        _decode(scan)
        st.rerun()
    if scan.frame not in scan.frames:
        _decode(scan)
    scan.frames.move_to_end(scan.frame)
    _forget_frames(scan)
    return scan.frames[scan.frame]


def choose_frame(scan: Scan, image: Image) -> None:
    """A slider where there are many frames; moving it starts the page again with that frame."""
    if image.frames > 1:
        number = st.slider("Frame", 1, image.frames, scan.frame + 1, key=f"frame-{scan.number}")
        if number - 1 != scan.frame:
            scan.frame = number - 1
            st.rerun()


def open_sample(sample: Sample) -> None:
    """Open a sample in place of whatever is open."""
    open_one(sample.data, sample.name, kind=sample.kind)
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
    return theme.png_address(square)


def clear() -> None:
    """Close every scan, with everything that was chosen, asked and answered about it."""
    readings.drop()
    sessions.dropped()
    for entry in ("scan", "scans", "readings", "confirmed", "modality", "encoded", "rejected upload"):
        st.session_state.pop(entry, None)


def open_one(source: bytes | Path, title: str, truth: str | None = None, kind: Kind | None = None) -> None:
    """Open one scan in place of all others."""
    _open([Scan(source, title, truth, kind)])


def switch_to(index: int) -> None:
    """Show another of the open scans; what was decided about each stays with it."""
    scans, now = open_scans(), current()
    readings.drop()
    if now is not None:
        now.modality = st.session_state.get("modality")
    chosen = scans[index]
    st.session_state["scan"] = chosen
    st.session_state.pop("modality", None)
    if chosen.modality is not None:
        st.session_state["modality"] = chosen.modality


def close_current() -> None:
    """Close the scan that is shown; the next open one takes its place."""
    scans, now = open_scans(), current()
    if now is None or len(scans) < 2:
        clear()
        return
    index = scans.index(now)
    st.session_state["scans"] = [scan for scan in scans if scan is not now]
    switch_to(min(index, len(scans) - 2))


def _decode(scan: Scan) -> None:
    with st.spinner("Reading the file"):
        scan.frames[scan.frame] = images.read(scan.source, frame=scan.frame, session=sessions.current())


def _forget_frames(scan: Scan) -> None:
    """Of the decoded frames keep those that were looked at last, of the scan that is shown before the others'."""
    others = [frames for other in open_scans() if other is not scan for frames in [other.frames] if frames]
    while len(scan.frames) > FRAMES_KEPT:
        scan.frames.popitem(last=False)
    while _decoded() > DECODED_BYTES and (others or len(scan.frames) > 1):
        (others.pop(0).clear() if others else scan.frames.popitem(last=False))


def _decoded() -> int:
    return sum(image.pixels.nbytes for scan in open_scans() for image in scan.frames.values())


def _take(contents: Sequence[bytes]) -> None:
    """The files of one drop; what the same drop held and was turned away stays said."""
    lost = rejected()
    size = sum(len(content) for content in contents)
    if len(contents) > MOST_FILES or size > MOST_BYTES:
        _reject(Rejected(len(contents), 0, too_many=True))
        return
    _open([Scan(content, "Uploaded file") for content in contents])
    if lost is not None and lost.coming:
        st.session_state["rejected upload"] = lost


def _reject(lost: Rejected) -> None:
    """Nothing of the scan before stays on the page beside a file that was not read."""
    clear()
    st.session_state["rejected upload"] = lost
    if not lost.coming:
        _new_zone()


def _open(scans: list[Scan]) -> None:
    """Show them in place of what was open."""
    clear()
    _new_zone()
    for scan in scans:
        if isinstance(scan.source, bytes):
            sessions.hold(scan, len(scan.source))
    st.session_state["scans"], st.session_state["scan"] = scans, scans[0]


def _new_zone() -> None:
    """The widgets that brought files start anew: the drop zone and the server let go of their copies."""
    st.session_state["openings"] = st.session_state.get("openings", 0) + 1
    sessions.let_go()


def _choose_file() -> None:
    """Which of several files is looked at."""
    scans, now = open_scans(), current()
    if len(scans) < 2 or now is None:
        return
    turn, index = st.session_state["openings"], scans.index(now)
    key = f"file-{turn}-{len(scans)}-{index}"
    chosen = st.number_input(f"File, of {len(scans)}", 1, len(scans), index + 1, key=key)
    if chosen - 1 != index:
        switch_to(int(chosen) - 1)
        st.rerun()
