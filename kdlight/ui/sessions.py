"""What a session holds on this server: whose browser it is, what it uploaded and is shown, and when all of it is gone.

A session is one window of the app; a browser has one secret cookie for all of its windows. What comes from a person
is handed out to that browser only, while the session runs.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import hashlib
import hmac
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

import streamlit as st
from starlette.requests import HTTPConnection
from streamlit.runtime import Runtime, exists, get_instance
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.url_util import make_url_path

COOKIE = "kdlight_browser"
SWEPT = 5.0
"""Seconds between two looks for sessions that ended."""
LINGERS = 15.0
"""Seconds after which nothing works any more on what was let go of: a reading that was canceled has ended."""
M_MMAP_THRESHOLD, MAPPED_BYTES = -3, 1 << 20
"""Whatever is larger is a mapping of its own, which goes back to the system as soon as it is freed."""
SESSION_BYTES, SERVER_BYTES = 1 << 30, 4 << 30
"""What one session, and all of them together, may hold of uploaded files: a full drop beside the one it replaces."""
LEAST_BYTES = 64 << 10
"""What a file counts for at least, so that many empty ones are bounded too."""
FRAME = "frame"


class Full(StrEnum):
    """Which room has no place for an upload."""

    SESSION = "session"
    SERVER = "server"

    @property
    def sentence(self) -> str:
        """What happened, what was expected, what to do."""
        if self is Full.SESSION:
            return f"A session may hold {SESSION_BYTES >> 30} GB of files. Clear the open scans, or drop fewer."
        return (
            f"All sessions together may hold {SERVER_BYTES >> 30} GB of files, and they do. Try again when others have "
            "closed theirs."
        )


@dataclass(eq=False)
class Frame:
    """Pixels that one session is shown. They are served for as long as that session keeps this object, no longer."""

    content: bytes
    session: str = field(default_factory=lambda: current())
    token: str = field(default_factory=secrets.token_urlsafe)

    def __post_init__(self) -> None:
        _frames[self.token] = self

    @property
    def address(self) -> str:
        return frame_path(self.token)


@dataclass(slots=True)
class _Seen:
    browser: str
    last: float
    app: ref[AppSession] | None
    """Streamlit's own object, whose state outlives its closing where Streamlit still has a hand on it."""


_frames: WeakValueDictionary[str, Frame] = WeakValueDictionary()
_seen: dict[str, _Seen] = {}
_opened: WeakKeyDictionary[Any, tuple[str, int]] = WeakKeyDictionary()
_arriving: Counter[str] = Counter()
_refused: dict[str, Full] = {}
_dropped: list[float] = []
"""When something was let go of last; empty once its memory was returned."""


def kept() -> float:
    """Seconds that a session whose window is closed may come back in: half of what Streamlit would grant, which by
    then still knows the session and can end it."""
    return float(st.get_option("server.disconnectedSessionTTL")) / 2


def current() -> str:
    """The id of the session that this run of the page belongs to; empty outside of one."""
    context = get_script_run_ctx()
    return context.session_id if context is not None else ""


def begin() -> None:
    """Take note of this session and its browser; on each run of the page."""
    remember(current(), st.context.cookies.get(COOKIE, ""))


def remember(session: str, browser: str) -> None:
    """Watch a session until it ends."""
    app = get_instance().get_app_session(session) if exists() else None
    _seen[session] = _Seen(browser, time.monotonic(), ref(app) if app is not None else None)


def browser() -> str:
    """This browser under a name that may be written down: a digest of its secret. Empty where it keeps no cookies."""
    secret = str(st.context.cookies.get(COOKIE, ""))
    return hashlib.sha256(secret.encode()).hexdigest()[:32] if secret else ""


def is_own(connection: HTTPConnection, session: str) -> bool:
    """Whether a request comes from the browser of this session, which is connected now."""
    client = get_instance().get_client(session) if exists() else None
    context = client.client_context if client is not None else None
    return context is not None and _same(context.cookies.get(COOKIE), connection.cookies.get(COOKIE))


def may_resume(connection: HTTPConnection, session: str) -> bool:
    """Whether a window that says it was this session comes from the session's browser; one that is unknown is new."""
    seen = _seen.get(session)
    return seen is None or _same(seen.browser, connection.cookies.get(COOKIE))


def frame_path(token: str) -> str:
    return make_url_path(str(st.get_option("server.baseUrlPath") or ""), f"{FRAME}/{token}")


def frame(connection: HTTPConnection, token: str) -> bytes | None:
    """The pixels under a token, for the browser of the session that is shown them; None for everyone else."""
    shown = _frames.get(token)
    return shown.content if shown is not None and is_own(connection, shown.session) else None


def hold(thing: Any, size: int) -> None:
    """Count an opened file of this session until `thing` is gone. size: bytes."""
    _opened[thing] = (current(), size)


def held(session: str | None = None) -> int:
    """Bytes of files that came and were not given up, of one session or of all."""
    stored: dict[str, dict[str, UploadedFileRec]] = getattr(get_instance().uploaded_file_mgr, "file_storage", {})
    sizes = [(owner, len(file.data)) for owner, files in list(stored.items()) for file in list(files.values())]
    sizes += [*_opened.values(), *_arriving.items()]
    return sum(max(size, LEAST_BYTES) for owner, size in sizes if session in (None, owner))


def full(session: str, size: int) -> Full | None:
    """Which room cannot take `size` more bytes from this session; the page is told with the next `refused`."""
    if held(session) + size > SESSION_BYTES:
        room = Full.SESSION
    elif held() + size > SERVER_BYTES:
        room = Full.SERVER
    else:
        return None
    _refused[session] = room
    return room


def refused() -> Full | None:
    """Why uploads of this session were refused since the last call."""
    return _refused.pop(current(), None)


def let_go() -> None:
    """Give up the server's copies of what this session uploaded: what it needs of them was taken."""
    context = get_script_run_ctx()
    if context is not None:
        context.uploaded_file_mgr.remove_session_files(context.session_id)


def dropped() -> None:
    """What was let go of is given back within LINGERS and SWEPT seconds, not when Python next looks for it."""
    _dropped[:] = [time.monotonic()]


@asynccontextmanager
async def arriving(session: str, size: int) -> AsyncIterator[None]:
    """Count an upload while it is on its way."""
    _arriving[session] += size
    try:
        yield
    finally:
        _arriving[session] -= size
        if not _arriving[session]:
            del _arriving[session]


def close_ended(runtime: Runtime, now: float) -> None:
    """End the sessions whose window has been closed for `kept` seconds, with all that the server holds for them."""
    for session, seen in list(_seen.items()):
        if runtime.is_active_session(session):
            seen.last = now
        elif now - seen.last >= kept():
            app = seen.app() if seen.app is not None else None
            if app is not None:
                app.session_state.clear()
            runtime.close_session(session)
            runtime.uploaded_file_mgr.remove_session_files(session)
            _refused.pop(session, None)
            del _seen[session]
            dropped()


def give_back(now: float) -> None:
    """Return the memory of what was dropped to the system, at each look until LINGERS are over."""
    if not _dropped:
        return
    if now - _dropped[0] > LINGERS:
        _dropped.clear()
    gc.collect()  # a page that starts anew leaves a circle of its frames behind, and in them the files
    _allocator("malloc_trim", 0)


@asynccontextmanager
async def sweeping(_app: st.App) -> AsyncIterator[None]:
    """While the server runs, ended sessions are closed without waiting for the next visit."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEPT)
            try:
                close_ended(get_instance(), time.monotonic())
                give_back(time.monotonic())
            except Exception:
                logging.getLogger(__name__).exception("Ended sessions could not be closed; trying again.")

    _allocator("mallopt", M_MMAP_THRESHOLD, MAPPED_BYTES)
    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()


def _allocator(function: str, *arguments: int) -> None:
    """Call the C library's allocator, where it is glibc's."""
    known = getattr(ctypes.CDLL(None), function, None)
    if known is not None:
        known(*arguments)


def _same(one: str | None, other: str | None) -> bool:
    return bool(one and other) and hmac.compare_digest(str(one).encode(), str(other).encode())
