"""What stands between a browser and Streamlit: who may ask for what, and what a page may load.

Streamlit checks names and origins of its socket only, serves uploads and media to whoever knows their address, and
takes orders from any client that concern every other one. All requests pass here first.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import streamlit as st
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from starlette.datastructures import MutableHeaders
from starlette.formparsers import MultiPartParser
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from streamlit.file_util import get_static_dir
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime import get_instance
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from kdlight.images.limits import LIMITS
from kdlight.ui import sessions

HOME = 'window.__streamlit = { BACKEND_BASE_URL: new URL(".", location.href).href };'
"""A page's address lies one step below the server's: without this Streamlit asks for the server below the page."""
COOKIE_SECONDS = 180 * 24 * 3600
CLOSED = re.compile(r"_stcore/(metrics|script-health-check|agent)(/|$)")
"""Addresses of Streamlit that tell of all sessions or act for them."""
UPLOAD = re.compile(r"_stcore/upload_file/([^/]+)/([^/]+)$")
MEDIA = re.compile(r"media/(?:.*/)?([^/.]*)[^/]*$")
ORDERS = {"rerun_script", "stop_script", "file_urls_request", "app_heartbeat", "backend_operation_request"}
"""What a browser may tell the server to do: nothing that concerns the server or another session."""
OPERATIONS = {"deferred_file", "dataframe_chunk"}
FETCHED = ("cross-site", "same-site")
"""What a browser says of a request that another site, or the same one on another port, makes it send."""
MultiPartParser.spool_max_size = 2 * LIMITS.bytes  # an upload never touches the disk


class Refusal(NamedTuple):
    """Why a request is not answered."""

    status: int
    sentence: str


class Gate:
    """The middleware around all of Streamlit."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, _dressed(HTTPConnection(scope), send))
        else:
            await self.app(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Only our own pages open a socket, each takes up its own session only, and its orders are sifted."""
        connection = HTTPConnection(scope)
        named = [entry.strip() for entry in connection.headers.get("sec-websocket-protocol", "").split(",")]
        if stranger(connection) or (len(named) > 2 and not sessions.may_resume(connection, named[2])):
            await WebSocket(scope, receive, send).close(1008)
            return

        async def sifted() -> Message:
            while True:
                message = await receive()
                if message["type"] != "websocket.receive" or allowed(message.get("bytes")):
                    return message

        await self.app(scope, sifted, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        path = _below_base(scope["path"])
        upload = UPLOAD.match(path)
        refusal = stranger(connection) or closed(connection, path)
        if refusal is None and upload and scope["method"] in ("PUT", "DELETE"):
            session, size = upload[1], connection.headers.get("content-length", "")
            refusal = of_upload(connection, session, size, scope["method"])
            if refusal is None:
                sessions.remember(session, connection.cookies[sessions.COOKIE])
                async with sessions.arriving(session, int(size or 0)):
                    await self.app(scope, receive, send)
                return
        if refusal is not None:
            await PlainTextResponse(refusal.sentence, refusal.status)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def stranger(connection: HTTPConnection) -> Refusal | None:
    """Whether the request names another server than this one, or was sent by a page of another origin."""
    host = connection.headers.get("host")
    if not is_host_allowed(host):
        return Refusal(403, "This server does not go by that name; whoever starts it may add it with HOSTS.")
    origin = connection.headers.get("origin")
    allowed_origins = st.get_option("server.corsAllowedOrigins")
    if origin is not None and origin not in allowed_origins and not _is_page_of(host, origin):
        return Refusal(403, "Only pages of this server may ask it; open its own address.")
    fetched = connection.headers.get("sec-fetch-site") in FETCHED
    if fetched and connection.headers.get("sec-fetch-mode") != "navigate":
        return Refusal(403, "Only pages of this server may ask it; open its own address.")
    return None


def _is_page_of(host: str | None, origin: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:  # no address at all
        return False
    return parts.scheme in ("http", "https") and parts.netloc == host


def closed(connection: HTTPConnection, path: str) -> Refusal | None:
    """Whether there is nothing at this address for this browser."""
    media = MEDIA.match(path)
    if CLOSED.match(path) or (media and not _may_fetch(connection, media[1])):
        return Refusal(404, "There is nothing here.")
    return None


def of_upload(connection: HTTPConnection, session: str, size: str, method: str) -> Refusal | None:
    """Whether a file may not be put into this session, or removed from it."""
    if not sessions.is_own(connection, session):
        return Refusal(403, "A file is uploaded only into a session of this browser; load the page again.")
    if method == "DELETE":
        return None
    if not re.fullmatch(r"[0-9]{1,12}", size):
        return Refusal(411, "The size of an upload was expected in its header Content-Length.")
    room = sessions.full(session, int(size))
    return Refusal(413, room.sentence) if room else None


def allowed(content: bytes | None) -> bool:
    """Whether the server may take this order. Streamlit itself closes the socket for what is none at all."""
    order = BackMsg()
    try:
        order.ParseFromString(content or b"")
    except DecodeError:
        return True
    kind = order.WhichOneof("type")
    if kind == "backend_operation_request":
        return order.backend_operation_request.WhichOneof("payload") in OPERATIONS
    return kind in ORDERS


def document() -> str:
    """Streamlit's one document for a page one step below the server's address."""
    return _index().replace("<head>", f"<head><script>{HOME}</script>", 1)


@cache
def policy() -> str:
    """The Content-Security-Policy: our own files, and what Streamlit cannot do without.

    Streamlit sets styles by script and loads the code of components from blobs; the two scripts that stand in its
    document are named by their digests.
    """
    inline = [HOME, *re.findall(r"<script>(.*?)</script>", _index(), re.DOTALL)]
    digests = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in inline)
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' blob: {digests}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


@cache
def _index() -> str:
    return (Path(get_static_dir()) / "index.html").read_text(encoding="utf-8")


def _below_base(path: str) -> str:
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return path.lstrip("/").removeprefix(f"{base}/" if base else "")


def _may_fetch(connection: HTTPConnection, file: str) -> bool:
    """Whether a session of this browser refers to the file; one that nobody refers to was made for a download."""
    referring: dict[str, dict[str, str]] = get_instance().media_file_mgr._files_by_session_and_coord
    owners = [session for session, files in list(referring.items()) if file in list(files.values())]
    return any(sessions.is_own(connection, session) for session in owners or list(referring))


def _dressed(connection: HTTPConnection, send: Send) -> Send:
    """`send` with the headers of every answer, and with a secret for a browser that asks for a page and has none."""
    wants_page = "text/html" in connection.headers.get("accept", "") and sessions.COOKIE not in connection.cookies

    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy()
            headers["X-Frame-Options"] = "DENY"
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            if wants_page:
                headers.append("Set-Cookie", _cookie(connection))
        await send(message)

    return dressed


def _cookie(connection: HTTPConnection) -> str:
    secure = "; Secure" if connection.url.scheme in ("https", "wss") else ""
    value = f"{sessions.COOKIE}={secrets.token_urlsafe(32)}"
    return f"{value}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
