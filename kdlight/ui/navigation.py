"""The pages, and the way to them: always through app.py, and straight to one by its address."""

from __future__ import annotations

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from kdlight.ui import gate, sessions

FRAME_DRAWN = "kdlight came through app.py"
TITLES = ("Read", "Compare", "Train", "Library")
"""In the order of the menu; the first is the front page."""


def pages() -> list[st.Page]:
    """Every page, in the order of the menu."""
    return [st.Page(f"pages/{t.lower()}.py", title=t, default=t == TITLES[0]) for t in TITLES]


def routes() -> list[Route]:
    """Each page by its own address: Streamlit's one document, told where the server is. The front page's is the root's.

    The server's health may be asked for below a page, too. Beside them the pixels that a session is shown.
    """
    first, *others = (title.lower() for title in TITLES)
    documents = [Route(f"/{name}", _document) for name in others]
    probes = [Route(f"/{name}/_stcore/health", _health) for name in others]
    return [Route(f"/{first}", _home), *documents, *probes, Route(sessions.frame_path("{token}"), _frame)]


def frame_drawn() -> None:
    """Called by app.py: the frame is drawn."""
    sessions.begin()
    st.session_state[FRAME_DRAWN] = True


def enter() -> None:
    """First on each page. Streamlit runs a page by itself, without the frame, where the first visit to a server goes
    straight to it; naming the pages tells it better, and it begins again with app.py."""
    if FRAME_DRAWN not in st.session_state:
        st.navigation(pages(), position="top")
        st.rerun()


def _home(request: Request) -> RedirectResponse:
    return RedirectResponse("./")


def _health(request: Request) -> RedirectResponse:
    return RedirectResponse("../../_stcore/health")


def _document(request: Request) -> HTMLResponse:
    return HTMLResponse(gate.document(), headers={"Cache-Control": "no-cache"})


async def _frame(request: Request) -> Response:  # in the loop: an idle thread would hold on to the pixels
    pixels = sessions.frame(request, request.path_params["token"])
    if pixels is None:
        return PlainTextResponse("There is nothing here.", 404)
    return Response(pixels, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})
