"""What must stand beside every figure of a pair: that it has failed, and that its teacher began from random weights."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from kdlight.bundle import Card
from kdlight.reading import Role
from kdlight.ui import words


def failure(roles: Sequence[Role]) -> str | None:
    """Which models of a pair are no better than chance on their test images; None where both are."""
    if not roles:
        return None
    subject = "neither model is" if len(roles) > 1 else f"the {roles[0]} is not"
    return f"Failed: {subject} better than chance on the test images."


def untrained(card: Card) -> str | None:
    """That the teacher had nothing to start from, which holds its figures down; None where it had."""
    began = card.origin
    return "Teacher started from random weights." if began is not None and began.kind == "random" else None


def of(card: Card) -> list[str]:
    """All of it, the worst first; empty for most pairs."""
    return [said for said in (failure(card.at_chance), untrained(card)) if said]


def html(card: Card) -> str:
    """For a tile or the caption of a table; empty for most pairs."""
    return "".join(f'<div class="kd-line"><b>{words.safe(said)}</b></div>' for said in of(card))


def draw(card: Card) -> None:
    """Above a table of the pair's figures; nothing for most pairs."""
    if said := html(card):
        st.html(said)
