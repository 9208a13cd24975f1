"""Train, of both networks: which weights they start from, whether those can be had, and which license they carry on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from kdlight.config import UNTRAINED, Recipe, TeacherConfig, read_recipe, shipped
from kdlight.ui import form, words
from kdlight.ui.jobs import Job
from kdlight.ui.knobs import help_of

INITS = {
    "selection": "From the teacher's starting weights",
    "teacher": "From the trained teacher",
    "random": "Random weights",
    "general": "Pre-distilled on seven data sets",
    "published": "The student's own published weights",
}
TIMM = "timm:"
NO_LICENSE = "license not stated"


def inits_of(teacher: str, student: str, general: Sequence[str]) -> list[str]:
    """Of INITS those that fit: parts of a teacher only within a family, what was published only of timm's networks.

    general: the students with pre-distilled weights.
    """
    kin = teacher == "mobilenetv2" and student.startswith("kdlight_")
    elsewhere = teacher.startswith(TIMM) and student.startswith(TIMM)
    fits = {
        "selection": kin or elsewhere,
        "teacher": kin or elsewhere,
        "random": True,
        "general": kin and student in general,  # alone it starts by selection
        "published": student.startswith(TIMM),
    }
    return [init for init in INITS if fits[init]]


def of_teacher(recipe: Recipe, of: str) -> str:
    """The teacher's file, empty for published weights; says before the start what will happen without one."""
    name = recipe.teacher.name
    file = form.text(
        st,
        "Starting weights",
        recipe.teacher.weights,
        f"teacher weights {of}",
        placeholder="a .safetensors or .pth file, or empty",
        help=help_of(TeacherConfig, "weights"),
    )
    if file:
        if is_lacking(file):
            st.error("No file is there. Name a .safetensors or .pth state dict, or leave it empty.")
        return file
    found = published(name)
    if found is None:
        _asking(name)
    elif found["lacking"]:
        st.warning(words.plain(f"Teacher starts from {UNTRAINED}: {found['lacking']}."), icon=":material/warning:")
    else:
        said = f"Starts from published weights of {words.architecture(name)} ({_named(found['licenses'])})."
        st.html(f'<div class="kd-line">{words.safe(said)}</div>')
    return ""


def is_lacking(file: str) -> bool:
    """Whether a file of weights is named that is not there."""
    return bool(file) and not os.path.isfile(os.path.expanduser(file))


def published(network: str) -> dict[str, Any] | None:
    """Whether a network's published weights can be had, and under which licenses; None until that is known."""
    asked = _asked(network)
    if not asked.done:
        return None
    if asked.error is not None:
        return {"lacking": asked.error.rstrip("."), "licenses": []}
    found: dict[str, Any] = asked.result
    return found


def license_of_pair(recipe: Recipe, init: str, pairs: Sequence[str]) -> str:
    """What the trained pair may be used under, as far as its starting weights decide it; with a line that says so.

    pairs: names of the shipped recipes, which say what the pre-distilled weights carry on.
    """
    if init == "general":
        known = (read_recipe(shipped()[name]) for name in pairs)
        carried = next(pair.data.weights_licence for pair in known if pair.student.init == init)
        bound = ", so it may not be used commercially" if _is_non_commercial(carried) else ""
        _say(f"These starting weights pass their license on to your pair{bound}: {carried}.")
        return carried
    if recipe.teacher.weights:
        _say("The license of the file that the teacher starts from passes on to your pair.")
        return f"that of {Path(recipe.teacher.weights).name}, which the teacher started from"
    networks = [recipe.teacher.name, *([recipe.student.name] if init == "published" else [])]
    if init == "published" and (answer := published(recipe.student.name)) is None:
        _asking(recipe.student.name)
    elif init == "published" and answer and answer["lacking"]:
        st.error(words.plain(f"The student cannot start from published weights: {answer['lacking']}."))
    answers = [found for found in map(published, networks) if found is not None]
    having = [found for found in answers if not found["lacking"]]
    ids = list(dict.fromkeys(one for found in having for one in found["licenses"]))
    if not having:
        if len(answers) == len(networks):
            _say("Random weights carry no license: only that of your images counts.")
        return recipe.data.weights_licence
    if any(map(_is_non_commercial, ids)):
        _say(f"The starting weights are under {_named(ids)}: your pair may not be used commercially.")
    elif ids:
        _say(
            f"The starting weights are free ({_named(ids)}): your pair may be used commercially, as far as the license "
            f"of your images allows it."
        )
    else:
        _say("The license of the starting weights is not stated: look it up before you pass the pair on.")
    return f"{_named(ids)} (its starting weights)"


@st.fragment(run_every=0.5)
def _asking(network: str) -> None:
    if published(network) is not None:
        st.rerun()
    st.html('<div class="kd-line">Looking for the published weights of this network.</div>')


@st.cache_resource(ttl=300, show_spinner=False)
def _asked(network: str) -> Job:
    """The job that looks; shared by all windows for a few minutes, after which the network may be another."""
    return Job("weights", network=network)


def _is_non_commercial(license_name: str) -> bool:
    """Of Creative Commons' names the part NC: CC BY-NC 4.0, cc-by-nc-4.0."""
    return "nc" in re.split(r"[^a-z]+", license_name.lower())


def _say(line: str) -> None:
    st.html(f'<div class="kd-line">{words.safe(line)}</div>')


def _named(ids: Sequence[str]) -> str:
    """License ids as people write them: apache-2.0 is Apache-2.0, cc-by-nc-4.0 is CC-BY-NC-4.0."""
    first = {"apache-2.0": "Apache-2.0"}
    return " and ".join(first.get(one, one.upper()) for one in ids) or NO_LICENSE
