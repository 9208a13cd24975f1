"""The pages, and the way to them: always through app.py, and straight to one by its address."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route
from streamlit.file_util import get_static_dir

FRAME_DRAWN = "kdlight came through app.py"
TITLES = ("Read", "Compare", "Train", "Library")
"""In the order of the menu; the first is the front page."""
HOME = '<head><script>window.__streamlit = { BACKEND_BASE_URL: new URL(".", location.href).href };</script>'
"""A page's address lies one step below the server's: without this Streamlit asks for the server below the page."""


def pages() -> list[st.Page]:
    """Every page, in the order of the menu."""
    return [st.Page(f"pages/{t.lower()}.py", title=t, default=t == TITLES[0]) for t in TITLES]


def routes() -> list[Route]:
    """Each page by its own address: Streamlit's one document, told where the server is. The front page's is the root's.

    The server's health may be asked for below a page, too.
    """
    first, *others = (title.lower() for title in TITLES)
    documents = [Route(f"/{name}", _document) for name in others]
    return [Route(f"/{first}", _home), *documents, *(Route(f"/{name}/_stcore/health", _health) for name in others)]


def frame_drawn() -> None:
    """Called by app.py: the frame is drawn."""
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
    text = (Path(get_static_dir()) / "index.html").read_text(encoding="utf-8")
    return HTMLResponse(text.replace("<head>", HOME, 1), headers={"Cache-Control": "no-cache"})
