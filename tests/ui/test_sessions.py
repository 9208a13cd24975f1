"""What is said to be gone is gone: uploads, pixels and whole sessions, and how much of them there may be."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from starlette.formparsers import MultiPartParser
from streamlit.testing.v1 import AppTest

from kdlight.images.limits import LIMITS
from kdlight.ui import gate, sessions
from kdlight.ui.read import scans
from tests.served import Window, memory
from tests.ui.conftest import KEPT, png, upload

BOUND = 25.0
"""MB that the server may hold more than before, for caches of its own."""


def scan(side: int, seed: int = 0) -> bytes:
    """A DICOM file of side x side pixels of 16 bits that no other seed gives."""
    file = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False)))
    values = np.random.default_rng(seed).integers(0, 4000, (side, side), dtype=np.uint16)
    file.Rows = file.Columns = side
    file.PixelRepresentation, file.PixelData = 0, values.tobytes()
    del file.SmallestImagePixelValue, file.LargestImagePixelValue
    written = io.BytesIO()
    file.save_as(written)
    return written.getvalue()


def settled(home: Path, before: float, seconds: float) -> float:
    """MB more than before, once they are below BOUND or the time is over."""
    until = time.monotonic() + seconds
    while (more := memory(home) - before) > BOUND and time.monotonic() < until:
        time.sleep(1)
    return more


def test_scans_leave_nothing_behind_once_they_are_cleared_or_their_windows_closed(server: str, home: Path) -> None:
    first = Window(server)
    first.drop(scan(64))
    first.press("Clear the scan")
    time.sleep(sessions.SWEPT + 1)
    before = memory(home)
    first.drop(*[scan(3900, seed) for seed in range(6)])
    assert memory(home) - before > 6 * 30
    first.press("Clear all scans")
    assert settled(home, before, sessions.LINGERS + 3 * sessions.SWEPT) < BOUND
    for seed in range(6):
        other = Window(server)
        other.drop(scan(1500, seed))
        other.close()
    assert settled(home, before, KEPT + sessions.LINGERS + 3 * sessions.SWEPT) < BOUND


def test_an_upload_never_touches_the_disk() -> None:
    assert MultiPartParser.spool_max_size > LIMITS.bytes


class Runtimes:
    """A runtime that knows which sessions are connected, and is told which to close."""

    def __init__(self, *connected: str) -> None:
        self.connected, self.closed, self.freed = set(connected), [], []  # type: ignore[var-annotated]
        self.uploaded_file_mgr = self

    def is_active_session(self, session: str) -> bool:
        return session in self.connected

    def close_session(self, session: str) -> None:
        self.closed.append(session)

    def remove_session_files(self, session: str) -> None:
        self.freed.append(session)


def test_a_session_ends_a_minute_after_its_window_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_seen", {})
    runtime: Any = Runtimes("here")
    now = time.monotonic()
    for name in ("here", "gone"):
        sessions.remember(name, "browser")
    sessions.close_ended(runtime, now + sessions.kept() - 1)
    assert runtime.closed == []
    sessions.close_ended(runtime, now + sessions.kept() + 1)
    assert (runtime.closed, runtime.freed, [*sessions._seen]) == (["gone"], ["gone"], ["here"])
    runtime.connected.clear()
    sessions.close_ended(runtime, now + sessions.kept() + 2)
    assert "here" in sessions._seen  # it was connected a second ago


def test_the_server_gives_up_its_copy_as_soon_as_a_scan_is_open(app: AppTest) -> None:
    upload(app, png())
    assert [len(one.source) for one in app.session_state["scans"]] == [len(png())]
    assert app.sidebar.file_uploader[0].value == []


def test_decoded_frames_of_many_scans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "DECODED_BYTES", 3 * 40 * 40 * 4)
    first = scans.Scan(png(), "Uploaded file")
    image = scans.images.read(png())
    every = [scans.Scan(png(), "Uploaded file") for _ in range(5)] + [first]
    for one in every:
        one.frames[0] = image
    monkeypatch.setattr(scans, "open_scans", lambda: every)
    scans._forget_frames(first)
    assert [len(one.frames) for one in every] == [0, 0, 0, 1, 1, 1]
    first.frames |= dict.fromkeys(range(1, 4), image)
    scans._forget_frames(first)
    assert [len(one.frames) for one in every] == [0, 0, 0, 0, 0, 3]
    assert 0 not in first.frames  # the one that was looked at first goes first


def test_a_session_and_the_server_have_room_for_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: dict[str, dict[str, Any]] = {}
    runtime: Any = type("Runtime", (), {"uploaded_file_mgr": type("Manager", (), {"file_storage": stored})})
    monkeypatch.setattr(sessions, "get_instance", lambda: runtime)
    monkeypatch.setattr(sessions, "SESSION_BYTES", 1_000_000)
    monkeypatch.setattr(sessions, "SERVER_BYTES", 1_500_000)
    monkeypatch.setattr(sessions, "current", lambda: "mine")
    monkeypatch.setattr(sessions, "_opened", WeakKeyDictionary())
    kept = scans.Scan(b"", "Uploaded file")
    sessions.hold(kept, 600_000)
    assert sessions.full("mine", 400_001) is sessions.Full.SESSION
    assert sessions.full("mine", 400_000) is None
    assert sessions.full("other", 900_001) is sessions.Full.SERVER
    assert sessions.full("third", 900_000) is None
    assert sessions.refused() is sessions.Full.SESSION
    assert sessions.refused() is None
    stored["other"] = {str(number): type("File", (), {"data": b""}) for number in range(14)}  # empty, yet they count
    assert sessions.held("other") == 14 * sessions.LEAST_BYTES
    assert sessions.full("third", 900_000) is sessions.Full.SERVER
    del kept
    assert sessions.held("mine") == 0


def test_what_had_no_room_is_said_in_a_sentence() -> None:
    lost = scans.Rejected(2, 0, full=sessions.Full.SERVER)
    assert lost.sentence == (
        "2 files were not read. All sessions together may hold 4 GB of files, and they do. "
        "Try again when others have closed theirs."
    )
    assert scans.Rejected(1, 0, full=sessions.Full.SESSION).sentence == (
        "One file was not read. A session may hold 1 GB of files. Clear the open scans, or drop fewer."
    )


def test_the_pixels_under_a_token_go_with_the_session_that_keeps_them() -> None:
    shown = sessions.Frame(b"pixels", "one")
    token = shown.token
    assert sessions._frames[token] is shown
    assert gate.MEDIA.match(f"media/{'0' * 8}.bin")
    del shown
    assert token not in sessions._frames
