"""The left side of Read: modality, bundle and heat map. What is chosen here outlives a visit to another page."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from kdlight.bundle import Bundle
from kdlight.contracts.options import Value
from kdlight.contracts.reading import ROLES, HeatMap, Reading
from kdlight.explain import DEFAULT, EXPLAINERS
from kdlight.images import Image
from kdlight.ui import fields, shelf, widgets, words
from kdlight.ui.read.readings import Question
from kdlight.ui.read.scans import Scan

OWN_TOP = "each model's top class"
METHOD_HELP = "  \n".join(
    f"**{title}**, {EXPLAINERS[name].paper}: {EXPLAINERS[name].summary}" for name, title in words.METHODS.items()
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the person decided on this side of the page."""

    modality: str | None
    bundle: Bundle | None
    method: str | None
    """None: no heat map."""
    class_name: str | None
    """None: each model's own top class."""
    options: tuple[tuple[str, Value], ...]
    """Of the method."""
    confirmed: bool

    def question(self, image: Image) -> Question | None:
        """What to ask the models; None until modality and bundle are decided."""
        if self.bundle is None or self.modality is None:
            return None
        kind = (self.modality, self.method, self.class_name, self.confirmed, self.options)
        return Question(image.sha256, image.frame, self.bundle.sha256, *kind)

    def names(self) -> dict[str, str]:
        """What stands over each pane."""
        if self.bundle is None:
            return {"teacher": "Teacher", "student": "Student"}
        card = self.bundle.card
        return {role: f"{role.capitalize()} · {words.architecture(card.network(role).architecture)}" for role in ROLES}

    def maps(self, reading: Reading | None) -> dict[str, HeatMap]:
        """The maps to lay over the scan: none while they are off."""
        if reading is None or self.method is None:
            return {}
        return {opinion.role: opinion.heat_map for opinion in reading.opinions if opinion.heat_map is not None}


def settings(scan: Scan, image: Image) -> Settings:
    """Draw the controls of one scan and return what they say."""
    modality = _modality(image)
    bundle = shelf.choose(modality) if modality else None
    method, class_name, options = _heat_map(bundle) if bundle else (None, None, ())
    confirmed = bundle is not None and (image.sha256, bundle.sha256, modality) in confirmations()
    return Settings(modality, bundle, method, class_name, options, confirmed)


def confirmations() -> set[tuple[str, str, str | None]]:
    """What the person said yes to: this file, by this bundle, as this modality. Nothing else."""
    confirmed: set[tuple[str, str, str | None]] = st.session_state.setdefault("confirmed", set())
    return confirmed


def _modality(image: Image) -> str | None:
    proposed = image.modality
    origin = "from the file" if proposed else "not in the file, you decide"
    return widgets.modality(f"Modality ({origin})", "modality", proposed, image.sha256)


def _heat_map(bundle: Bundle) -> tuple[str | None, str | None, tuple[tuple[str, Value], ...]]:
    """Method, class and the method's options."""
    if not widgets.toggle("Heat map", "map"):
        return None, None, ()
    names = list(words.METHODS)
    method = widgets.select("Method", "method", names, DEFAULT, format_func=words.method, help=METHOD_HELP)
    values: dict[str, Value] = {}
    if declared := EXPLAINERS[method].options:
        with st.popover("Options of the method", type="tertiary", icon=":material/tune:"):
            values = fields.draw(declared, {}, method)
    options = [OWN_TOP, *bundle.classes]
    name = widgets.select(
        "Class of the map",
        "class of the map",
        options,
        OWN_TOP,
        of=bundle.sha256,
        format_func=lambda c: c if c == OWN_TOP else bundle.words(c),
    )
    return method, None if name in (None, OWN_TOP) else name, tuple(values.items())
