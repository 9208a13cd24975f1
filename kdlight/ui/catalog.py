"""What the Train page offers: networks, methods with their options, augmentations. Made in a child, with torch."""

from __future__ import annotations

from typing import Literal

import streamlit as st
from pydantic import BaseModel, ConfigDict

from kdlight.options import Declared


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Method(_Entry):
    """A distillation method."""

    summary: str
    paper: str
    options: tuple[Declared, ...]


class Network(_Entry):
    """A network that goes by a name of ours."""

    role: Literal["teacher", "student"]
    summary: str
    family: str


class License(_Entry):
    """What weights may be used under."""

    words: str
    commercial: bool


class Published(_Entry):
    """Whether a network's published weights can be had now."""

    lacking: str | None
    """Why they cannot, as a clause; None where they can."""
    licenses: tuple[str, ...] = ()
    """Ids of what they are published under."""
    commercial: bool = True


class Catalog(_Entry):
    """All of them by name."""

    methods: dict[str, Method]
    networks: dict[str, Network]
    augmentations: tuple[str, ...]
    general: dict[str, License]
    """The students that kdlight ships pre-distilled weights of, and what those may be used under."""


@st.cache_resource(show_spinner="Looking up models and methods")
def catalog() -> Catalog:
    """What the registries hold; asked once per server, in a process of its own."""
    from kdlight.ui.jobs import Job

    return Catalog.model_validate(Job("catalog").wait(120))
