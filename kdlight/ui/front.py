"""The pages, and the way to them: always through app.py."""

from __future__ import annotations

import streamlit as st

PASSED = "kdlight came through app.py"


def pages() -> list[st.Page]:
    """Every page, in the order of the menu."""
    titles = ("Read", "Compare", "Train", "Library")
    return [st.Page(f"pages/{t.lower()}.py", title=t, default=t == titles[0]) for t in titles]


def passed() -> None:
    """Called by app.py: the frame is drawn."""
    st.session_state[PASSED] = True


def door() -> None:
    """First on each page. Streamlit runs a page by itself, without the frame, where the first visit to a server goes
    straight to it; naming the pages tells it better, and it begins again with app.py."""
    if PASSED not in st.session_state:
        st.navigation(pages(), position="top")
        st.rerun()
