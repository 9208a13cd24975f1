"""Train, before the run: four steps that make a recipe, each with a sensible choice already made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from kdlight.config import DataConfig, DistillConfig, Recipe, RecipeError, read_recipe, shipped
from kdlight.modality import MODALITIES
from kdlight.preprocessing import STAGES
from kdlight.ui import knobs, terms, waiting, words

TRIAL = "kdlight-synthetic"
OWN = "own"
SOURCES = {TRIAL: "Drawn shapes (try it)", OWN: "Mine"}
PAIRS = tuple(n for n in shipped() if n.startswith("kdlight-") and n not in (TRIAL, "kdlight-general"))
"""The recipes of the shipped pairs: one of them fills the form."""
SIZES = [64, 96, 128, 160, 192, 224]
TIMM = "timm:"
INITS = {
    "teacher": "the trained teacher",
    "selection": "the teacher's first weights",
    "random": "random numbers",
    "general": "an earlier lesson on seven sets",
    "published": "the student's own published weights",
}


@st.cache_resource(show_spinner="Looking up models and methods")
def catalog() -> dict[str, Any]:
    """Models and methods as the registries hold them; asked once per server, in a process of its own."""
    from kdlight.ui.jobs import Job

    found: dict[str, Any] = Job("catalog").wait(120)
    return found


@dataclass(frozen=True, slots=True)
class Start:
    """What the form begins with once the images are chosen."""

    recipe: Recipe
    of: str
    """The shipped recipe that fills the form; widgets of another one start anew."""
    named: bool
    """Whether there are images to train on."""


def data_step() -> Start:
    """Which images, drawn ones or the person's own, and the shipped recipe that the other steps begin with."""
    st.subheader("1  Data", anchor=False)
    source = st.segmented_control(
        "Images",
        [TRIAL, OWN],
        default=TRIAL,
        required=True,
        format_func=SOURCES.__getitem__,
    )
    if source == OWN:
        return _own()
    st.html('<div class="kd-line">180 drawn pictures of three shapes: a whole training without data of yours.</div>')
    drawn = read_recipe(shipped()[TRIAL])
    return Start(replace(drawn, distill=read_recipe(shipped()[PAIRS[0]]).distill), TRIAL, True)


def _own() -> Start:
    """The person's own images, and whose settings to begin with: the shipped pair's of that modality."""
    folder, left, middle, right = st.columns([5, 3, 3, 3])
    path = folder.text_input(
        "Folder, .npz or .csv on this machine",
        placeholder="/path/to/images",
        key="train data",
        help="Laid out as <split>/<class>/<file> or <class>/<file>. Without splits they are carved by group.",
    ).strip()
    kind = left.selectbox("Modality", list(MODALITIES), format_func=lambda name: MODALITIES[name].words)
    pairs = {name: read_recipe(shipped()[name]) for name in PAIRS}
    first = next((i for i, pair in enumerate(pairs.values()) if pair.data.modality == kind), 0)
    of = middle.selectbox(
        "Settings as for",
        list(pairs),
        first,
        format_func=lambda name: pairs[name].data.title,
        key=f"settings for {kind}",
        help="The recipe of a shipped pair fills steps 2 to 4; change there what you like.",
    )
    pair = pairs[of]
    sizes = sorted({*SIZES, pair.data.size})
    size = right.select_slider("Input side, px", sizes, pair.data.size, key=f"size of {of}")
    stages = stages_control()
    if path:
        _check(path)
    title = path.rstrip("/").rpartition("/")[2]
    name = "".join(c if c.isalnum() else "_" for c in title.lower()).strip("_")[:40] or OWN
    augmentation = kind if kind in catalog()["augmentations"] else "standard"
    data = DataConfig(
        path=path or OWN, modality=kind, name=name, title=title, size=size, augmentation=augmentation, stages=stages
    )
    return Start(replace(pair, data=data, train=replace(pair.train, scratch=False)), of, bool(path))


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


def teacher_step(start: Start, recipe: Recipe) -> Recipe:
    """The big model."""
    st.subheader("2  Teacher", anchor=False)
    name = _network("teacher")
    epochs = _epochs(st, recipe.teacher.epochs, f"teacher epochs {start.of}")
    weights = st.text_input(
        "First weights",
        recipe.teacher.weights,
        placeholder="a .safetensors or .pth file, or empty",
        help=terms.TEACHER_WEIGHTS,
    )
    return replace(recipe, teacher=replace(recipe.teacher, name=name, epochs=epochs, weights=weights.strip()))


def student_step(start: Start, recipe: Recipe) -> Recipe:
    """The small model."""
    st.subheader("3  Student", anchor=False)
    name = _network("student")
    left, right = st.columns(2)
    epochs = _epochs(left, recipe.train.epochs, f"student epochs {start.of}")
    views = int(right.number_input("Views", 0, 1000, recipe.train.views, key=f"views {start.of}", help=terms.VIEWS))
    inits = inits_of(recipe.teacher.name, name)
    first = inits.index(recipe.student.init) if recipe.student.init in inits else 0
    init = st.selectbox(
        "First weights from",
        inits,
        first,
        format_func=INITS.__getitem__,
        key=f"first weights {start.of} {recipe.teacher.name} {name}",
        help=terms.STUDENT_WEIGHTS,
    )
    alone = st.toggle("Train it alone too", recipe.train.alone, help=terms.ALONE)
    scratch = st.toggle("Train it from random weights too", recipe.train.scratch, help=terms.SCRATCH)
    train = replace(recipe.train, epochs=epochs, alone=alone, scratch=scratch, views=views)
    data = replace(recipe.data, weights_licence=_license(init, recipe))
    return replace(recipe, data=data, student=replace(recipe.student, name=name, init=init), train=train)


def inits_of(teacher: str, student: str) -> list[str]:
    """Of INITS those that fit: parts of a teacher only within a family, what was published only of timm's networks."""
    kin = teacher == "mobilenetv2" and student.startswith("kdlight_")
    elsewhere = teacher.startswith(TIMM) and student.startswith(TIMM)
    fits = {
        "teacher": kin or elsewhere,
        "selection": kin or elsewhere,
        "random": True,
        "general": kin and student in catalog()["general"],  # alone it starts by selection
        "published": student.startswith(TIMM),
    }
    return [init for init in INITS if fits[init]]


def _network(role: str) -> str:
    """One of kdlight's networks of this role, or any of timm's."""
    known = {
        name: line.partition(": ")[2] for name, line in catalog()["models"].items() if line.startswith(f"{role}: ")
    }
    lines = [f"**{words.architecture(name)}**: {line}" for name, line in known.items()]
    name: str = st.selectbox(
        "Network",
        list(known),
        format_func=words.architecture,
        accept_new_options=True,
        key=f"{role} network",
        help="  \n".join([*lines, "Or type timm:NAME for any network of timm."]),
    )
    return name


def _license(init: str, recipe: Recipe) -> str:
    """What the trained weights may be used under, with a line where the first weights say so and not the person."""
    if init != "general":
        return recipe.data.weights_licence
    pairs = (read_recipe(shipped()[name]) for name in PAIRS)
    found = next(pair.data.weights_licence for pair in pairs if pair.student.init == init)
    st.html(f'<div class="kd-line">These first weights pass their license on: {words.safe(found)}.</div>')
    return found


def _epochs(column: Any, value: int, key: str) -> int:
    return int(column.number_input("Epochs", 1, 1000, value, key=key, help=terms.EPOCHS))


def method_step(start: Start, recipe: Recipe) -> Recipe:
    """The method, with one knob per keyword of its signature."""
    st.subheader("4  Method", anchor=False)
    methods: dict[str, Any] = {n: m for n, m in catalog()["methods"].items() if n != "alone"}
    names = list(methods)
    first = names.index(recipe.distill.method) if recipe.distill.method in names else 0
    name = st.selectbox(
        "Distillation",
        names,
        first,
        format_func=lambda n: f"{n.upper() if len(n) < 4 else n} · {methods[n]['paper']}",
        help=terms.METHOD,
    )
    st.html(f'<div class="kd-line">{words.safe(methods[name]["summary"])}</div>')
    begin = recipe.distill.options if name == recipe.distill.method else {}
    return replace(recipe, distill=DistillConfig(name, knobs.draw(name, methods[name], begin, start.of)))


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
