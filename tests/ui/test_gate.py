"""A browser commands only what is its own: attacks on a running server, each by itself."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.web.server.starlette import starlette_websocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from kdlight.ui import gate, sessions
from tests.served import Window, ask
from tests.ui.conftest import png


@pytest.fixture
def window(server: str) -> Iterator[Window]:
    opened = Window(server)
    yield opened
    opened.close()


@pytest.fixture
def stranger(server: str) -> Iterator[Window]:
    """A window of another browser."""
    opened = Window(server)
    yield opened
    opened.close()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def handshake(address: str, **headers: Any) -> int:
    """The status of a request for the socket."""
    try:
        with connect(address.replace("http", "ws") + "/_stcore/stream", subprotocols=["streamlit"], **headers):  # type: ignore[list-item]
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/_stcore/host-config", "/compare", "/media/x.png"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "169.254.1.1", ""])
def test_a_server_goes_by_its_own_names_only(server: str, path: str, host: str) -> None:
    answer = ask(server, path, headers={"Host": host.format(port=port_of(server))})
    assert answer.status == 403
    assert b"Streamlit" not in answer.body


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST:{port}"])
def test_its_own_names_are_answered(server: str, host: str) -> None:
    assert ask(server, "/_stcore/health", headers={"Host": host.format(port=port_of(server))}).status == 200


ORIGINS = ["http://evil.example", "http://127.0.0.1:{other}", "http://localhost:{other}", "null", "", "file://"]
ORIGINS += ["http://[", "http://[::1"]  # no addresses at all


@pytest.mark.parametrize("origin", ORIGINS)
def test_pages_of_another_origin_get_nothing(server: str, window: Window, origin: str) -> None:
    given = origin.format(other=port_of(server) + 1)
    headers = {"Origin": given, "Cookie": window.cookie}
    assert ask(server, "/", headers=headers).status == 403
    assert ask(server, "/_stcore/host-config", headers=headers).status == 403
    place = f"/_stcore/upload_file/{window.session}/{uuid.uuid4()}"
    headers["X-Xsrftoken"] = window.cookies["_streamlit_xsrf"]
    assert ask(server, place, "DELETE", headers=headers).status == 403
    assert handshake(server, origin=given, additional_headers={"Cookie": window.cookie}) == 403


def test_its_own_origin_is_answered(server: str) -> None:
    assert ask(server, "/", headers={"Origin": server}).status == 200
    assert handshake(server, origin=server) == 101


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_embed_nothing_and_may_link_here(server: str, site: str) -> None:
    picture = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert ask(server, "/favicon.png", headers=picture).status == 403
    assert ask(server, "/favicon.png", headers={**picture, "Sec-Fetch-Site": "same-origin"}).status == 200
    assert ask(server, "/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}).status == 200


@pytest.mark.parametrize("path", ["/", "/compare", "/read", "/_stcore/health", "/favicon.png", "/media/none.png"])
def test_every_answer_says_what_it_may_be_used_for(server: str, path: str) -> None:
    headers = ask(server, path).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"] == gate.policy()


def test_no_script_runs_but_the_servers_own() -> None:
    policy = dict(part.split(" ", 1) for part in gate.policy().split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert re.fullmatch(r"'self' blob:( 'sha256-[A-Za-z0-9+/]{43}=')+", policy["script-src"])
    assert {"http:", "https:", "*", "'unsafe-eval'"}.isdisjoint(gate.policy().replace(";", "").split())


CLOSED = ["metrics", "metrics/", "metrics?families=x", "agent/openapi.json", "agent/interact", "script-health-check"]


@pytest.mark.parametrize("path", CLOSED)
def test_what_tells_of_all_sessions_is_closed(server: str, path: str) -> None:
    answer = ask(server, f"/_stcore/{path}")
    assert (answer.status, answer.body) == (404, b"There is nothing here.")


def test_each_browser_has_a_secret_that_no_script_reads(server: str) -> None:
    given = [ask(server, "/", headers={"Accept": "text/html"}).headers.get_all("Set-Cookie", []) for _ in range(2)]
    own = [next(one for one in cookies if one.startswith(sessions.COOKIE)) for cookies in given]
    assert own[0] != own[1]
    assert all("; HttpOnly; SameSite=Lax" in one for one in own)
    kept = ask(server, "/", headers={"Accept": "text/html", "Cookie": own[0].partition(";")[0]})
    assert sessions.COOKIE not in str(kept.headers)


def shown(window: Window) -> str:
    """The address of the pixels on a window's page."""
    text = b"".join(said.SerializeToString() for said in window.said)
    found = re.search(rb"/frame/[\w-]+", text)
    assert found
    return found[0].decode()


def test_pixels_are_for_the_session_that_is_shown_them(server: str, window: Window, stranger: Window) -> None:
    window.drop(png(40))
    place, own = shown(window), {"Cookie": window.cookie}
    pixels = ask(server, place, headers=own)
    assert (pixels.status, len(pixels.body)) == (200, 2 * 40 * 40)
    assert pixels.headers["Cache-Control"] == "no-store"
    for cookie in ("", stranger.cookie, f"{sessions.COOKIE}=", f"{sessions.COOKIE}=x"):
        assert ask(server, place, headers={"Cookie": cookie}).status == 404
    window.press("Clear the scan")
    assert ask(server, place, headers=own).status == 404


def test_pixels_are_gone_with_the_window(server: str) -> None:
    window = Window(server)
    window.drop(png(41))
    place, own = shown(window), {"Cookie": window.cookie}
    assert ask(server, place, headers=own).status == 200
    window.close()
    window = Window(server, window.cookies)  # another window of that browser
    assert ask(server, place, headers=own).status == 404
    window.close()


class Fetch:
    """A request of a browser."""

    def __init__(self, cookie: str) -> None:
        self.cookies = {sessions.COOKIE: cookie}


def test_media_are_for_the_sessions_that_refer_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.runtime.media_file_manager import MediaFileManager
    from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage

    manager = MediaFileManager(MemoryMediaFileStorage("/media"))
    manager._files_by_session_and_coord["mine"]["1"] = "aa"
    manager._files_by_session_and_coord["theirs"]["1"] = "bb"
    runtime: Any = type("Runtime", (), {"media_file_mgr": manager})
    monkeypatch.setattr(gate, "get_instance", lambda: runtime)
    monkeypatch.setattr(sessions, "is_own", lambda c, session: c.cookies[sessions.COOKIE] == session)
    mine, nobody = Fetch("mine"), Fetch("nobody")  # type: tuple[Any, Any]
    assert [file for file in ("aa", "bb", "download") if gate._may_fetch(mine, file)] == ["aa", "download"]
    assert [file for file in ("aa", "bb", "download") if gate._may_fetch(nobody, file)] == []


@pytest.mark.parametrize("path", ["media/aa.png", "media//aa.png", "media/x/aa.png", "media/aa", "media/aa.tar.gz"])
def test_a_medium_is_found_however_its_address_is_written(path: str) -> None:
    found = gate.MEDIA.match(path)
    assert found
    assert found[1] == "aa"


def test_files_go_into_ones_own_session_only(window: Window, stranger: Window) -> None:
    file = str(uuid.uuid4())
    assert window.upload(b"mine", file).status == 204
    assert stranger.upload(b"theirs", file, session=window.session).status == 403
    xsrf = f"_streamlit_xsrf={window.cookies['_streamlit_xsrf']}"
    assert window.upload(b"nobody's", file, cookie=xsrf).status == 403
    assert stranger.upload(b"x", session=str(uuid.uuid4())).status == 403
    headers = {"Cookie": stranger.cookie, "X-Xsrftoken": stranger.cookies["_streamlit_xsrf"]}
    place = f"/_stcore/upload_file/{window.session}/{file}"
    assert ask(window.address, place, "DELETE", headers).status == 403
    own = {"Cookie": window.cookie, "X-Xsrftoken": window.cookies["_streamlit_xsrf"]}
    assert ask(window.address, place, "PUT", {**own, "Transfer-Encoding": "chunked"}, b"0\r\n\r\n").status == 411
    assert ask(window.address, place, "DELETE", own).status == 204


def test_an_upload_without_room_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "is_own", lambda connection, session: True)
    monkeypatch.setattr(sessions, "full", lambda session, size: sessions.Full.SESSION if size > 9 else None)
    connection: Any = Fetch("mine")
    assert gate.of_upload(connection, "s", "9", "PUT") is None
    assert gate.of_upload(connection, "s", "10", "PUT") == (413, sessions.Full.SESSION.sentence)
    assert gate.of_upload(connection, "s", "10", "DELETE") is None
    for size in ("", "-1", "1e3", "9" * 13):
        refusal = gate.of_upload(connection, "s", size, "PUT")
        assert refusal
        assert refusal.status == 411


def test_nobody_takes_up_the_session_of_another_browser(window: Window, stranger: Window) -> None:
    with pytest.raises(InvalidStatus):
        Window(window.address, stranger.cookies, resume=window.session)
    window.close()
    with pytest.raises(InvalidStatus):
        Window(window.address, stranger.cookies, resume=window.session)
    again = Window(window.address, window.cookies, resume=window.session)
    assert again.session == window.session
    again.close()


def order(**fields: Any) -> BackMsg:
    message = BackMsg()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def operation(name: str) -> BackMsg:
    message = BackMsg()
    getattr(message.backend_operation_request, name).SetInParent()
    return message


FORBIDDEN = [
    order(clear_cache=True),
    order(set_run_on_save=True),
    order(load_git_info=True),
    order(debug_shutdown_runtime=True),
    order(debug_disconnect_websocket=True),
    operation("install_skills"),
    operation("dismiss_skills_nudge"),
    BackMsg(),
]


@pytest.mark.parametrize("message", FORBIDDEN, ids=[str(m.WhichOneof("type")) for m in FORBIDDEN])
def test_orders_that_concern_the_server_are_dropped(message: BackMsg) -> None:
    assert not gate.allowed(message.SerializeToString())


def test_the_orders_of_a_page_are_known_by_name() -> None:
    known = {field.name for field in BackMsg.DESCRIPTOR.oneofs_by_name["type"].fields}
    assert known >= gate.ORDERS
    assert gate.allowed(operation("deferred_file").SerializeToString())
    assert gate.allowed(order(stop_script=True).SerializeToString())


def test_clearing_caches_starts_and_leaks_no_worker(server: str, home: Path, window: Window) -> None:
    process = psutil.Process(int((home / "server.pid").read_text(encoding="utf-8")))
    window.drop(png(42))
    before = {child.pid for child in process.children(recursive=True)}
    for _ in range(20):
        window.order(lambda message: setattr(message, "clear_cache", True))
        window.run()
    assert shown(window)  # the session keeps its scan, too
    assert {child.pid for child in process.children(recursive=True)} <= before


def test_the_names_of_the_server_are_set() -> None:
    assert starlette_websocket.is_host_allowed("localhost:8501")
    assert not starlette_websocket.is_host_allowed("evil.example")
