"""Train, before the run: four steps that make a recipe, each with a sensible choice already made."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from kdlight.bundle.study_record import SAME_WEIGHTS
from kdlight.contracts.modality import MODALITIES
from kdlight.contracts.recipe import (
    DataConfig,
    DistillConfig,
    Recipe,
    StudentConfig,
    TrainConfig,
    default_recipe,
    read_recipe,
    shipped,
)
from kdlight.preprocessing import STAGES
from kdlight.reports.words import INITS
from kdlight.ui import fields, places, shelf, theme, waiting, widgets, words
from kdlight.ui.fields import help_of
from kdlight.ui.markup import write
from kdlight.ui.train import starting_weights
from kdlight.workers.requests import Catalog, CheckData, EstimateTime, ListCatalog

TRIAL = "kdlight-synthetic"
OWN = "own"
NEUTRAL = "neutral"
SOURCES = {TRIAL: "Synthetic shapes (demo)", OWN: "My images"}
PAIRS = tuple(n for n in shipped() if n.startswith("kdlight-") and n not in (TRIAL, "kdlight-general"))
"""The recipes of the shipped pairs: one of them fills the form."""
SIZES = [64, 96, 128, 160, 192, 224]


@st.cache_resource(show_spinner="Looking up models and methods")
def catalog() -> Catalog:
    """What the registries hold; asked once per server, in a process of its own."""
    return waiting.submit(ListCatalog()).result(120)


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
    if widgets.segment("Images", "train images", [TRIAL, OWN], format_func=SOURCES.__getitem__) == OWN:
        return _own()
    theme.line("180 synthetic images of three shapes: a complete training without your data.")
    drawn = read_recipe(shipped()[TRIAL])
    return Start(drawn.changed(distill=read_recipe(shipped()[PAIRS[0]]).distill), TRIAL, True)


def _own() -> Start:
    """The person's own images, and whose settings to begin with: the shipped pair's of that modality, else neutral."""
    folder, left, middle, right = st.columns([5, 3, 4, 3])
    named = places.field(
        "Folder, .npz or .csv on this machine",
        "train data",
        place=folder,
        placeholder="/path/to/images",
        help="Laid out as <split>/<class>/<file> or <class>/<file>. Without splits they are carved by group.",
    )
    path = named or ""
    with left:
        first = next(iter(MODALITIES))
        kind = widgets.modality("Modality", "train modality", first) or first
    of, base = _settings(middle, kind, path)
    size = widgets.step("Input side, px", f"size of {of}", sorted({*SIZES, base.data.size}), base.data.size, right)
    stages = stages_control()
    present = bool(path) and _is_set(path)
    if present:
        _check(path)
    elif named:
        st.error("No labeled set is at this place: name a folder, an .npz or a .csv on this machine.")
    augmentation = kind if kind in catalog().augmentations else "standard"
    data = DataConfig(
        path=path or OWN,
        modality=kind,
        name=default_recipe(path or OWN, kind).name[:40],
        title=path.rstrip("/").rpartition("/")[2],
        size=size,
        augmentation=augmentation,
        stages=stages,
    )
    return Start(base.changed(data=data, train=base.train.changed(scratch=False)), of, present)


def _settings(place: Any, kind: str, path: str) -> tuple[str, Recipe]:
    """Whose settings to begin with, and these: the shipped pair's of that modality at first, else neutral ones."""
    pairs = {name: read_recipe(shipped()[name]) for name in PAIRS}
    of = widgets.select(
        "Copy settings from",
        f"settings for {kind}",
        [NEUTRAL, *pairs],
        next((name for name, pair in pairs.items() if pair.data.modality == kind), NEUTRAL),
        place=place,
        format_func=lambda name: pairs[name].data.title if name in pairs else "Defaults",
        help="Fills steps 2 to 4 from the recipe of a shipped pair, or with defaults that belong to none. "
        "Change there what you like.",
    )
    if of not in pairs:
        return of, default_recipe(path or OWN, kind)
    with place:
        shelf.written_out(pairs[of].data.title)
    return of, pairs[of]


def _is_set(path: str) -> bool:
    """Whether a folder, an .npz or a .csv is there, also where PATH#TASK asks it another question."""
    sets = [place for place in (path, path.rpartition("#")[0]) if place]
    return any(os.path.isdir(p) or (os.path.isfile(p) and p.lower().endswith((".npz", ".csv"))) for p in sets)


def stages_control() -> tuple[str, ...]:
    """Which stages every image goes through before a model sees it, in the order in which they are meant to stand."""
    chosen = widgets.several(
        "Preprocessing, between resizing and normalizing",
        "train stages",
        list(STAGES),
        format_func=lambda name: STAGES[name].title,
        help="Made for photographs of skin. The trained pair keeps the stages and shows each on Read, before and "
        "after.  \n" + "  \n".join(f"**{s.title}**: {s.summary}" for s in STAGES.values()),
    )
    stages = tuple(name for name in STAGES if name in chosen)
    if stages:
        order = ", ".join(STAGES[name].title.lower() for name in stages)
        theme.line(f"After resizing, in this order: {order}. The same in training and in use.")
    return stages


def teacher_step(start: Start, recipe: Recipe) -> Recipe:
    """The big model."""
    st.subheader("2  Teacher", anchor=False)
    name = _network("teacher", start, recipe.teacher.name)
    epochs = _epochs(st, recipe.teacher.epochs, f"teacher epochs {start.of}")
    recipe = recipe.changed(teacher=recipe.teacher.changed(name=name, epochs=epochs))
    file = starting_weights.of_teacher(recipe, start.of)
    return recipe.changed(teacher=recipe.teacher.changed(weights=file))


def student_step(start: Start, recipe: Recipe) -> Recipe:
    """The small model."""
    st.subheader("3  Student", anchor=False)
    name = _network("student", start, recipe.student.name)
    recipe = recipe.changed(student=recipe.student.changed(name=name))
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    epochs = _epochs(left, recipe.train.epochs, f"student epochs {start.of}")
    views = widgets.number(
        "Fixed augmentations",
        f"views {start.of}",
        recipe.train.views,
        0,
        right,
        max_value=1000,
        help=help_of(TrainConfig, "views"),
    )
    inits = starting_weights.inits_of(recipe.teacher.name, name, catalog())
    init = widgets.select(
        "Starting weights",
        f"starting weights {start.of} {recipe.teacher.name} {name}",
        inits,
        recipe.student.init if recipe.student.init in inits else inits[0],
        format_func=INITS.__getitem__,
        help=help_of(StudentConfig, "init"),
    )
    data = recipe.data
    if start.of != TRIAL or init != recipe.student.init:
        data = data.changed(weights_licence=starting_weights.license_of_pair(recipe, init, catalog()))
    train = _baselines(start, recipe.train.changed(epochs=epochs, views=views), init)
    return recipe.changed(data=data, student=recipe.student.changed(init=init), train=train)


def _baselines(start: Start, train: TrainConfig, init: str) -> TrainConfig:
    """Which students are trained beside it without the teacher."""
    drawn = start.of == TRIAL
    switches = {
        "alone": ("Also train it without the teacher", train.alone, "train alone"),
        "scratch": ("Also train it from random weights", train.scratch, "train scratch"),
        "same_start": (
            "Also train it from the same starting weights without the teacher",
            not drawn,
            f"train same start {drawn}",
        ),
    }
    chosen = {
        name: widgets.toggle(label, key, value, help=help_of(TrainConfig, name))
        for name, (label, value, key) in switches.items()
        if name != "same_start" or init not in SAME_WEIGHTS
    }
    return train.changed(**{"same_start": False, **chosen})


def _network(role: str, start: Start, default: str) -> str:
    """One of kdlight's networks of this role, or any of timm's; the settings' own at first."""
    known = {name: network.summary for name, network in catalog().networks.items() if network.role == role}
    lines = [f"**{words.architecture(name)}**: {line}." for name, line in known.items()]
    network: str = widgets.select(
        "Network",
        f"{role} network {start.of}",
        list(known),
        default,
        format_func=words.architecture,
        accept_new_options=True,
        help="  \n".join([*lines, "Or type timm:NAME for any network of timm."]),
    )
    return network


def _epochs(column: Any, value: int, key: str) -> int:
    return widgets.number("Epochs", key, value, 1, column, max_value=1000, help=help_of(TrainConfig, "epochs"))


def method_step(start: Start, recipe: Recipe) -> Recipe:
    """The method, with one control for each of its options."""
    st.subheader("4  Method", anchor=False)
    methods = {name: method for name, method in catalog().methods.items() if name != "alone"}
    names = list(methods)
    name = widgets.select(
        "Distillation",
        f"distillation {start.of}",
        names,
        recipe.distill.method if recipe.distill.method in names else names[0],
        format_func=lambda n: n.upper() if len(n) < 4 else n,
        help=help_of(DistillConfig, "method"),
    )
    about = f"{methods[name].summary} {methods[name].paper}."
    theme.line(about)
    begin = recipe.distill.options if name == recipe.distill.method else {}
    return recipe.changed(
        distill=DistillConfig(method=name, **fields.draw(methods[name].options, begin, f"{name} {start.of}"))
    )


def launch(recipe: Recipe, begin: Callable[[Recipe], None]) -> None:
    """Start, or estimate first; nothing where the recipe names weights that are not there, which the page then says.

    `begin` is called with the recipe before the page is drawn again.
    """
    if starting_weights.is_lacking(recipe.teacher.weights):
        return
    row = st.container(horizontal=True)
    row.button("Start training", type="primary", icon=":material/play_arrow:", on_click=begin, args=[recipe])
    if row.button("Estimate the time", icon=":material/timer:"):
        waiting.begin("estimate", EstimateTime(recipe))
    _estimated(recipe)


def _estimated(recipe: Recipe) -> None:
    """How long it will take, from ten batches of each phase; nothing once the recipe is another."""
    estimate = waiting.result("estimate", EstimateTime(recipe))
    if estimate is not None:
        theme.line(
            write(
                'About <span class="kd-strong">{}</span> for {} images on this machine, '
                "from a trial of ten batches each.",
                words.duration(estimate.seconds),
                estimate.images,
            )
        )


def _check(path: str) -> None:
    """Counts per class and split, duplicates, groups: what `kdlight data check` says."""
    if st.button("Check the images", icon=":material/fact_check:"):
        waiting.begin("check", CheckData(path))
    result = waiting.result("check", CheckData(path))
    if result is None:
        return
    rows = [{"class": name, **{s: result.counts[s].get(name, 0) for s in result.splits}} for name in result.classes]
    st.dataframe(rows, hide_index=True, width="content")
    for problem in result.problems:
        st.warning(words.plain(problem), icon=":material/warning:")
    for note in result.notes:
        theme.line(note)
    if result.ok:
        theme.line(f"{result.images} images, {result.groups} groups: nothing wrong was found.")
