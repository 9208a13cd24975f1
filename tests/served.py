"""The app as a person starts it, and a window on it without a browser: what such a window is told, and may do."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0
"""Seconds for what a busy machine may take long for: the first start of everything."""


@contextmanager
def serving(home: Path, *more: str, **environment: str) -> Iterator[str]:
    """The app on a free port, with its library and runs below `home`; gives its address.

    The log is server.log in `home`, the number of the process stands in server.pid.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"KDLIGHT_LIBRARY": str(home / "library"), "KDLIGHT_RUNS": str(home / "runs")}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    command += ["--server.port", str(port), "--server.address", "127.0.0.1", *more]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **places, **environment}, stdout=log, stderr=log
        )
    (home / "server.pid").write_text(str(process.pid), encoding="utf-8")
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health", process, home / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"The app did not start: {log.read_text(encoding='utf-8')[-2000:]}")


def memory(home: Path) -> float:
    """MB that the server itself holds, without its children."""
    return float(psutil.Process(int((home / "server.pid").read_text(encoding="utf-8"))).memory_info().rss / 1e6)


class Answer:
    """What the server said to one request."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()


def ask(
    address: str, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """One request, its headers just as they are given."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    try:
        given = dict(headers or {})
        connection.putrequest(method, path, skip_host="Host" in given)
        for name, value in given.items():
            connection.putheader(name, value)
        if body is not None and "Transfer-Encoding" not in given:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Window:
    """A window of a browser on the app; `cookies` of another one make it a second window of that browser."""

    def __init__(self, address: str, cookies: Mapping[str, str] | None = None, resume: str = "") -> None:
        self.address, self.said = address, []  # type: tuple[str, list[ForwardMsg]]
        self.cookies = dict(cookies or {}) or self._visit()
        protocols: list[Any] = ["streamlit", self.cookies["_streamlit_xsrf"], *([resume] if resume else [])]
        self._connection = connect(
            address.replace("http", "ws") + "/_stcore/stream",
            origin=address,  # type: ignore[arg-type]
            subprotocols=protocols,
            additional_headers={"Cookie": self.cookie},
            max_size=None,
        )
        self.socket = self._connection.__enter__()
        self.session = ""
        self.run()

    def _visit(self) -> dict[str, str]:
        given: dict[str, str] = {}
        for path, accept in (("/", "text/html"), ("/_stcore/health", "*/*")):
            for cookie in ask(self.address, path, headers={"Accept": accept}).headers.get_all("Set-Cookie", []):
                given |= {name: morsel.value for name, morsel in SimpleCookie(cookie).items()}
        return given

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def order(self, fill: Callable[[BackMsg], Any]) -> None:
        """Send one message."""
        message = BackMsg()
        fill(message)
        self.socket.send(message.SerializeToString())

    def run(self, fill: Callable[[Any], Any] = lambda states: None) -> list[ForwardMsg]:
        """Have the page run, with the states of widgets that `fill` sets, and wait until it is done."""
        message = BackMsg()
        message.rerun_script.query_string = ""
        fill(message.rerun_script.widget_states)
        self.socket.send(message.SerializeToString())
        return self.wait()

    def wait(self) -> list[ForwardMsg]:
        """What the page says until it has run to its end."""
        self.said = []
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            said = ForwardMsg()
            said.ParseFromString(self.socket.recv(timeout=PATIENCE))  # type: ignore[arg-type]
            self.said.append(said)
            kind = said.WhichOneof("type")
            if kind == "new_session":
                self.session = said.new_session.initialize.session_id or self.session
            if kind == "script_finished" and said.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                return self.said
        raise TimeoutError("the page did not come to its end")

    def elements(self, kind: str) -> list[Any]:
        """The elements of one kind that the last run drew."""
        new = [said.delta.new_element for said in self.said if said.WhichOneof("type") == "delta"]
        return [getattr(element, kind) for element in new if element.WhichOneof("type") == kind]

    def upload(self, content: bytes, file: str = "", session: str = "", cookie: str | None = None) -> Answer:
        """Put a file into a session, this window's own where no other is named."""
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="scan"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
        headers = {
            "Cookie": self.cookie if cookie is None else cookie,
            "X-Xsrftoken": self.cookies["_streamlit_xsrf"],
            "Content-Type": f"multipart/form-data; boundary={edge}",
        }
        path = f"/_stcore/upload_file/{session or self.session}/{file or uuid.uuid4()}"
        return ask(self.address, path, "PUT", headers, body)

    def drop(self, *contents: bytes) -> list[ForwardMsg]:
        """Drop files into the page's drop zone and wait until the page has drawn them."""
        zone = self.elements("file_uploader")[0].id
        files = [str(uuid.uuid4()) for _ in contents]
        for file, content in zip(files, contents, strict=True):
            assert self.upload(content, file).status == 204

        def fill(states: Any) -> None:
            state = states.widgets.add(id=zone)
            for file, content in zip(files, contents, strict=True):
                place = f"/_stcore/upload_file/{self.session}/{file}"
                added = state.file_uploader_state_value.uploaded_file_info.add(
                    file_id=file, name="scan", size=len(content)
                )
                added.file_urls.file_id = file
                added.file_urls.upload_url = added.file_urls.delete_url = place

        return self.run(fill)

    def press(self, label: str) -> list[ForwardMsg]:
        """Press a button by its label."""
        button = next(one for one in self.elements("button") if one.label == label)
        return self.run(lambda states: states.widgets.add(id=button.id, trigger_value=True))

    def close(self) -> None:
        self._connection.__exit__(None, None, None)
