"""A server under strangers' bytes: it lives, and another person's scan stays that person's."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.served import Window, ask, memory

Trials = Callable[[], Iterator[np.random.Generator]]
BOUND = 60.0
"""MB that the server may hold more than before, for caches of its own and for sessions that are about to end."""
PATHS = ["/", "/frame/", "/media/", "/_stcore/upload_file/", "/_stcore/stream", "/_stcore/metrics", "/component/"]
METHODS = ["GET", "PUT", "DELETE", "POST", "OPTIONS", "HEAD", "TRACE", "X"]
NAMES = ["Host", "Origin", "Cookie", "Range", "Content-Length", "X-Xsrftoken", "Sec-Fetch-Site", "Transfer-Encoding"]


def picture(side: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.tile(np.arange(side, dtype=np.uint8), (side, 1))).save(file, "PNG")
    return file.getvalue()


def frames(random: np.random.Generator, address: str, victim: Window) -> None:
    """Messages that are none, or nearly one, on a socket of one's own."""
    message = BackMsg()
    message.rerun_script.query_string = "x" * int(random.integers(0, 300))
    state = message.rerun_script.widget_states.widgets.add(id=f"$$ID-{random.bytes(4).hex()}-x")
    state.json_value = random.bytes(20).hex()
    content = bytearray(message.SerializeToString())
    for place in random.integers(0, len(content), int(random.integers(0, 4))):
        content[place] = random.integers(0, 256)
    resume = [victim.session] if random.random() < 0.5 else []
    place = address.replace("http", "ws") + "/_stcore/stream"
    with (
        contextlib.suppress(WebSocketException, OSError, TimeoutError),
        connect(place, subprotocols=["streamlit", "x", *resume]) as stranger,  # type: ignore[list-item]
    ):
        for _ in range(3):
            stranger.send(bytes(content) if random.random() < 0.6 else random.bytes(int(random.integers(1, 400))))
        if random.random() < 0.3:
            stranger.send("text")


def requests(random: np.random.Generator, address: str, victim: Window) -> None:
    """Requests for what is another's, in any form."""
    tail = random.choice(
        [victim.session, f"{victim.session}/{random.bytes(8).hex()}", "../" * 5, random.bytes(9).hex()]
    )
    path = str(random.choice(PATHS)) + str(tail)
    values = [address, "evil.example", "cross-site", "bytes=0-9", "kdlight_browser=x", "9" * 20, "-1", "chunked", ""]
    headers = {str(name): str(random.choice(values)) for name in random.choice(NAMES, int(random.integers(0, 4)))}
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        answer = ask(address, path, str(random.choice(METHODS)), headers, b"" if random.random() < 0.5 else None)
        assert answer.status != 500


def torn(random: np.random.Generator, address: str, victim: Window) -> None:
    """A connection that is cut off in the middle of a request, or says what is no HTTP at all."""
    whole = (
        f"PUT /_stcore/upload_file/{victim.session}/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    )
    content = whole.encode()[: int(random.integers(1, len(whole)))] if random.random() < 0.6 else random.bytes(200)
    place = urlsplit(address)
    with contextlib.suppress(OSError), socket.create_connection((place.hostname, place.port), timeout=2) as raw:
        raw.sendall(content)


def test_a_server_lives_and_keeps_what_is_anothers(server: str, home: Path, trials: Trials) -> None:
    victim = Window(server)
    victim.drop(picture(48))
    found = re.search(rb"/frame/[\w-]+", b"".join(said.SerializeToString() for said in victim.said))
    assert found
    place, own = found[0].decode(), {"Cookie": victim.cookie}
    pixels = ask(server, place, headers=own).body
    assert len(pixels) == 2 * 48 * 48
    before = memory(home)
    for random in trials():
        attack = (frames, requests, torn)[int(random.integers(3))]
        attack(random, server, victim)
        assert ask(server, place).status == 404
    assert ask(server, "/_stcore/health").body == b"ok"
    assert ask(server, place, headers=own).body == pixels
    victim.run()
    assert not victim.elements("exception")
    assert "Clear the scan" in {one.label for one in victim.elements("button")}
    assert memory(home) - before < BOUND
    victim.close()
