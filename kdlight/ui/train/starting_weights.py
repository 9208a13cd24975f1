"""Train, of both networks: which weights they start from, whether those can be had, and which license they carry on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from kdlight.contracts.recipe import UNTRAINED, Recipe, TeacherConfig
from kdlight.reports.words import INITS
from kdlight.ui import places, theme, waiting, words
from kdlight.ui.fields import help_of
from kdlight.workers import Ticket
from kdlight.workers.requests import Catalog, FindWeights, Published

TIMM = "timm:"
REFUSED = "\0"
"""A file that a page may not name: one that is nowhere."""
NO_LICENSE = "license not stated"


def inits_of(teacher: str, student: str, known: Catalog) -> list[str]:
    """Of INITS those that fit: parts of a teacher only within a family, what was published only of timm's networks."""
    families = [known.networks[name].family if name in known.networks else "" for name in (teacher, student)]
    kin = bool(families[0]) and families[0] == families[1]
    elsewhere = teacher.startswith(TIMM) and student.startswith(TIMM)
    fits = {
        "selection": kin or elsewhere,
        "teacher": kin or elsewhere,
        "random": True,
        "general": kin and student in known.general,  # alone it starts by selection
        "published": student.startswith(TIMM),
    }
    return [init for init in INITS if fits[init]]


def of_teacher(recipe: Recipe, of: str) -> str:
    """The teacher's file, empty for published weights; says before the start what will happen without one."""
    name = recipe.teacher.name
    file = places.field(
        "Starting weights",
        f"teacher weights {of}",
        recipe.teacher.weights,
        placeholder="a .safetensors or .pth file, or empty",
        help=help_of(TeacherConfig, "weights"),
    )
    if file is None:
        return REFUSED
    if file:
        if is_lacking(file):
            st.error("No file is there. Name a .safetensors or .pth state dict, or leave it empty.")
        return file
    weights = published(name)
    if weights is None:
        _asking(name)
    elif weights.lacking:
        st.warning(words.plain(f"Teacher starts from {UNTRAINED}: {weights.lacking}."), icon=":material/warning:")
    else:
        _say(f"Starts from published weights of {words.architecture(name)} ({_named(weights.licenses)}).")
    return ""


def is_lacking(file: str) -> bool:
    """Whether a file of weights is named that is not there."""
    return bool(file) and not os.path.isfile(file)


def published(network: str) -> Published | None:
    """Whether a network's published weights can be had, and under which licenses; None until that is known."""
    ticket = _asked(network)
    if not ticket.done:
        return None
    try:
        return ticket.result(0)
    except ValueError as error:
        return Published(lacking=words.sentence(error).rstrip("."))


def license_of_pair(recipe: Recipe, init: str, known: Catalog) -> str:
    """What the trained pair may be used under, as far as its starting weights decide it; with a line that says so."""
    if init == "general":
        carried = known.general[recipe.student.name]
        bound = "" if carried.commercial else ", so it may not be used commercially"
        _say(f"These starting weights pass their license on to your pair{bound}: {carried.words}.")
        return carried.words
    if recipe.teacher.weights:
        _say("The license of the file that the teacher starts from passes on to your pair.")
        return f"that of {Path(recipe.teacher.weights).name}, which the teacher started from"
    return _license_of_published(recipe, init == "published")


def _license_of_published(recipe: Recipe, both: bool) -> str:
    """`both`: whether the student, too, starts from published weights."""
    student = published(recipe.student.name) if both else None
    if both and student is None:
        _asking(recipe.student.name)
    elif student and student.lacking:
        st.error(words.plain(f"The student cannot start from published weights: {student.lacking}."))
    answers = [weights for weights in (published(recipe.teacher.name), student) if weights is not None]
    having = [weights for weights in answers if not weights.lacking]
    names = _named(dict.fromkeys(one for weights in having for one in weights.licenses))
    if not having:
        if len(answers) == 1 + both:
            _say("Random weights carry no license: only that of your images counts.")
        return recipe.data.weights_licence
    if not all(weights.commercial for weights in having):
        _say(f"The starting weights are under {names}: your pair may not be used commercially.")
    elif names != NO_LICENSE:
        _say(
            f"The starting weights are free ({names}): your pair may be used commercially, as far as the license of "
            f"your images allows it."
        )
    else:
        _say("The license of the starting weights is not stated: look it up before you pass the pair on.")
    return f"{names} (its starting weights)"


@st.fragment(run_every=0.5)
def _asking(network: str) -> None:
    if published(network) is not None:
        st.rerun()
    theme.line("Looking for the published weights of this network.")


@st.cache_resource(ttl=300, show_spinner=False)
def _asked(network: str) -> Ticket[Published]:
    """What was asked; shared by all windows for a few minutes, after which the network may be another."""
    return waiting.submit(FindWeights(network))


def _say(line: str) -> None:
    theme.line(line)


def _named(ids: Iterable[str]) -> str:
    """License ids as people write them: apache-2.0 is Apache-2.0, cc-by-nc-4.0 is CC-BY-NC-4.0."""
    first = {"apache-2.0": "Apache-2.0"}
    return " and ".join(first.get(one, one.upper()) for one in ids) or NO_LICENSE
