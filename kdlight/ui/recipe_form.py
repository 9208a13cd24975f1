"""Train, before the run: four steps that make a recipe, each with a sensible choice already made."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from kdlight.config import DataConfig, DistillConfig, Recipe, RecipeError, read_recipe, shipped
from kdlight.modality import MODALITIES
from kdlight.preprocessing import STAGES
from kdlight.ui import waiting, words

TRIAL = "kdlight-synthetic"
OWN = "own"
SOURCES = {TRIAL: "Drawn shapes (try it)", OWN: "Mine"}
INITS = {
    "teacher": "the trained teacher",
    "selection": "the teacher's first weights",
    "random": "random numbers",
    "general": "a lesson on all sets before",
    "published": "the student's own published weights",
}


@st.cache_resource(show_spinner="Looking up models and methods")
def catalog() -> dict[str, Any]:
    """Models and methods as the registries hold them; asked once per server, in a process of its own."""
    from kdlight.ui.jobs import Job

    found: dict[str, Any] = Job("catalog").wait(120)
    return found


def data_step() -> Recipe | None:
    """Which images: drawn ones, a shipped recipe's set, or the person's own. None until a path is given."""
    recipes = shipped()
    st.subheader("1  Data", anchor=False)
    source = st.segmented_control(
        "Images",
        [TRIAL, OWN],
        default=TRIAL,
        required=True,
        format_func=SOURCES.__getitem__,
    )
    if source == TRIAL:
        st.html(
            '<div class="kd-line">180 drawn pictures of three shapes: a whole training without data of yours.</div>'
        )
        return read_recipe(recipes[TRIAL])
    path = st.text_input("Folder, .npz or .csv on this machine", placeholder="/path/to/images", key="train data")
    st.caption("Laid out as <split>/<class>/<file> or <class>/<file>. Without splits they are carved by group.")
    left, right = st.columns(2)
    kind = left.selectbox("Modality", list(MODALITIES), format_func=lambda name: MODALITIES[name].words)
    size = right.select_slider("Input side, px", [64, 96, 128, 160, 192, 224], 128)
    stages = stages_control()
    if not path.strip():
        return None
    _check(path.strip())
    title = path.strip().rstrip("/").rpartition("/")[2]
    name = "".join(c if c.isalnum() else "_" for c in title.lower()).strip("_")[:40] or "own"
    augmentation = kind if kind in catalog()["augmentations"] else "standard"
    data = DataConfig(path=path.strip(), modality=kind, name=name, title=title, size=size, augmentation=augmentation)
    return Recipe(replace(data, stages=stages))


def stages_control() -> tuple[str, ...]:
    """Which stages every image goes through before a model sees it, in the order in which they are meant to stand."""
    chosen = st.pills(
        "Preprocessing, between resizing and normalizing",
        list(STAGES),
        selection_mode="multi",
        format_func=lambda name: STAGES[name].title,
        help="Made for photographs of skin. The trained pair keeps the stages and shows each on Read, before and "
        "after.  \n" + "  \n".join(f"**{s.title}**: {s.summary}" for s in STAGES.values()),
    )
    stages = tuple(name for name in STAGES if name in chosen)
    if stages:
        said = ", ".join(STAGES[name].title.lower() for name in stages)
        st.html(f'<div class="kd-line">After resizing, in this order: {said}. The same in training and in use.</div>')
    return stages


def teacher_step(recipe: Recipe) -> Recipe:
    """The big model."""
    st.subheader("2  Teacher", anchor=False)
    left, right = st.columns(2)
    known = [name for name in catalog()["models"] if name == "mobilenetv2"]
    name = left.selectbox(
        "Network", known, format_func=words.architecture, accept_new_options=True, help="Any timm:<name> works as well."
    )
    epochs = right.number_input("Epochs", 1, 1000, recipe.teacher.epochs, key="teacher epochs")
    weights = st.text_input(
        "First weights",
        recipe.teacher.weights,
        placeholder="a .safetensors or .pth file, or empty",
        help="Empty asks timm for ImageNet weights; offline the teacher starts from random weights and says so.",
    )
    return replace(recipe, teacher=replace(recipe.teacher, name=name, epochs=int(epochs), weights=weights.strip()))


def student_step(recipe: Recipe) -> Recipe:
    """The small model."""
    st.subheader("3  Student", anchor=False)
    left, right = st.columns(2)
    known = {name: line for name, line in catalog()["models"].items() if name.startswith("kdlight_")}
    name = left.selectbox("Network", list(known), format_func=words.architecture, help="  \n".join(known.values()))
    epochs = right.number_input("Epochs", 1, 1000, recipe.train.epochs, key="student epochs")
    inits = [init for init in INITS if init != "general" or name in catalog()["general"]]
    first = inits.index(recipe.student.init) if recipe.student.init in inits else 0
    init = left.selectbox("First weights from", inits, first, format_func=INITS.__getitem__)
    right.space("small")
    alone = right.toggle(
        "Train it alone too",
        recipe.train.alone,
        help="The same student without its teacher: shows what the teacher gave, and takes longer.",
    )
    student = replace(recipe.student, name=name, init=init)
    return replace(recipe, student=student, train=replace(recipe.train, epochs=int(epochs), alone=alone))


def method_step(recipe: Recipe) -> Recipe:
    """The method, with one knob per keyword of its signature."""
    st.subheader("4  Method", anchor=False)
    methods: dict[str, Any] = {n: m for n, m in catalog()["methods"].items() if n != "alone"}
    names = list(methods)
    first = names.index(recipe.distill.method) if recipe.distill.method in names else 0
    name = st.selectbox(
        "Distillation", names, first, format_func=lambda n: f"{n.upper() if len(n) < 4 else n} · {methods[n]['paper']}"
    )
    st.html(f'<div class="kd-line">{words.safe(methods[name]["summary"])}</div>')
    options = _knobs(name, methods[name], recipe.distill.options if name == recipe.distill.method else {})
    return replace(recipe, distill=DistillConfig(name, options))


def checked(recipe: Recipe) -> str | None:
    """The recipe as TOML, or None with the reason on the page."""
    try:
        return Recipe.from_mapping(_parsed(recipe.to_toml())).to_toml()
    except RecipeError as error:
        st.error(words.plain(error))
        return None


def launch(toml: str) -> bool:
    """Estimate or start; True when the person wants to start."""
    row = st.container(horizontal=True)
    started = row.button("Start training", type="primary", icon=":material/play_arrow:")
    if row.button("Estimate the time", icon=":material/timer:"):
        waiting.begin("estimate", "estimate", recipe=toml)
    _estimated(toml)
    return started


def _estimated(toml: str) -> None:
    """How long it will take, from ten batches of each stage; nothing once the recipe is another."""
    found = waiting.result("estimate")
    asked = waiting.job("estimate")
    if found is not None and asked is not None and getattr(asked, "arguments", {}).get("recipe") == toml:
        st.html(
            f'<div class="kd-line">About <span class="kd-strong">{words.duration(found["seconds"])}</span> for '
            f"{found['images']} images on this machine, from a trial of ten batches each.</div>"
        )


def _knobs(method: str, described: Mapping[str, Any], start: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    columns = st.columns(max(2, min(4, len(described["knobs"]))))
    for number, (name, default) in enumerate(described["knobs"].items()):
        value = start.get(name, default)
        with columns[number % len(columns)]:
            found[name] = _knob(name, value, described["help"].get(name), f"{method} {name}")
    return found


def _knob(name: str, value: Any, line: str | None, key: str) -> Any:
    """A switch, a slider for what goes from 0 to 1, a number field, or a choice among the words of its line."""
    label = name.replace("_", " ")
    if isinstance(value, bool):
        return st.toggle(label, value, help=line, key=key)
    if isinstance(value, float) and "0 to 1" in (line or ""):
        return st.slider(label, 0.0, 1.0, value, 0.01, help=line, key=key)
    if isinstance(value, (int, float)):
        least, step = reach(value, line or "")
        shown = "%d" if isinstance(value, int) else "%g"
        return st.number_input(label, least, value=value, step=step, format=shown, help=line, key=key)
    known = choices(line or "")
    return st.selectbox(label, known, known.index(value), help=line, key=key) if value in known else value


def choices(line: str) -> list[str]:
    """The words of a line such as "reuse, retrain or end_to_end."."""
    return [word for word in re.split(r",\s*|\s+or\s+", line.rstrip(".")) if word]


def reach(value: float, line: str) -> tuple[float | None, float]:
    """Least value and step of a knob: the least from the words of its line, the step from the size of its value.

    Both have the value's type. A float moves by half its decade (4 by 0.5, 0.07 by 0.005), a whole number by a quarter.
    """
    whole = isinstance(value, int)
    step = max(1, value // 4) if whole else 0.5 * 10 ** math.floor(math.log10(abs(value))) if value else 0.5
    lows = {"1 or above": 1, "0 or above": 0, "above 0": 1 if whole else step / 10}
    return next((type(value)(low) for said, low in lows.items() if said in line), None), step


def _check(path: str) -> None:
    """Counts per class and split, duplicates, groups: what `kdlight data check` says."""
    if st.button("Check the images", icon=":material/fact_check:"):
        waiting.begin("check", "check", path=path)
    found = waiting.result("check")
    asked = waiting.job("check")
    if found is None or getattr(asked, "arguments", {}).get("path") != path:
        return
    rows = [
        {"class": name, **{s: found["counts"][s].get(name, 0) for s in found["splits"]}} for name in found["classes"]
    ]
    st.dataframe(rows, hide_index=True, width="content")
    for problem in found["problems"]:
        st.warning(words.plain(problem), icon=":material/warning:")
    if not found["problems"]:
        st.html(
            f'<div class="kd-line">{found["images"]} images, {found["groups"]} groups: nothing wrong was found.</div>'
        )


def _parsed(toml: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(toml)
