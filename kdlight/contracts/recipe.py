"""Recipes: what to train, on what, by which method. Typed sections, checked as they are made, read from TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from kdlight.contracts.anatomy import BODY_PARTS, VIEWS
from kdlight.contracts.modality import MODALITIES, WINDOWS
from kdlight.contracts.options import Option, OptionError, Settings, Texts, assignment
from kdlight.contracts.schedule import Epochs, Rate, ScheduleConfig, Smoothing

RecipeError = OptionError
"""A recipe that cannot be run: the sentence says which key, what was expected, what to do."""
Init = Literal["random", "selection", "teacher", "general", "published"]
Selection = Literal["uniform", "consecutive", "random"]
Layers = Literal["first", "even"]
Effort = Literal["quick", "standard", "thorough"]
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What a set, and so a bundle, may be called."""
UNTRAINED = "random weights"
"""What a teacher without weights to start from starts from, in words; older runs and records say it in no other way."""


class ClassWords(Settings):
    """What a class means to people."""

    words: Annotated[str, Option("The class in words for people.")]
    must_not_miss: Annotated[bool, Option("Whether missing this class harms a patient.")] = False
    sensitivity: Annotated[
        float, Option("If it must not be missed: share of its images that its threshold is to find.", ge=0.5, lt=1)
    ] = 0.9


class DataConfig(Settings):
    """The labeled set, what is known about it, and how a model sees it."""

    path: Annotated[str, Option("Folder, .npz or .csv; `synthetic` draws a small set inside the run.")]
    modality: Annotated[str, Option("Kind of picture.", choices=tuple(MODALITIES))]
    name: Annotated[str, Option("Short id, also the bundle's; the last part of the path if empty.")] = ""
    title: Annotated[str, Option("The set in words for people.")] = ""
    size: Annotated[int, Option("Side of the square input.", ge=32, le=1024, unit="px")] = 128
    body_parts: Annotated[
        Texts,
        Option(
            "Body parts that every image shows one of; empty where the set has none or mixes them. A file that states "
            "another part is then not eligible.",
            choices=tuple(BODY_PARTS),
        ),
    ] = ()
    views: Annotated[Texts, Option("Views that the set covers; empty where any may come.", choices=VIEWS)] = ()
    window: Annotated[
        str, Option("CT preset for files in Hounsfield units; empty keeps the file's own.", choices=("", *WINDOWS))
    ] = ""
    fit: Annotated[
        Literal["stretch", "pad"],
        Option("How a picture fills the square: both sides scaled, or the aspect ratio kept and the rest black."),
    ] = "stretch"
    stages: Annotated[Texts, Option("Preprocessing between resizing and normalizing, in this order.")] = ()
    val: Annotated[float, Option("Share of groups for validation where the set has no val split.", ge=0.05, le=0.5)] = (
        0.15
    )
    test: Annotated[
        float, Option("Share of the train split's groups for a test split where there is none.", ge=0.05, le=0.5)
    ] = 0.2
    folds: Annotated[int, Option("Parts for cross-validation, one of which is tested on; 0 for none.", ge=0, le=20)] = 0
    fold: Annotated[int, Option("Which of `folds` is tested on, from 0.", ge=0)] = 0
    labeled: Annotated[
        float,
        Option("Share of the training groups whose labels are used; of the others only pictures are.", ge=0.01, le=1),
    ] = 1.0
    split_seed: Annotated[int, Option("Seed of the splits; train.seed does not change them.", ge=0)] = 0
    augmentation: Annotated[str, Option("Augmentation policy; empty takes the modality's own.")] = ""
    source: Annotated[str, Option("Where the data come from.")] = ""
    licence: Annotated[str, Option("License of the data.")] = "not stated"
    weights_licence: Annotated[
        str, Option("What the trained weights may be used under; the data's own terms where those reach the weights.")
    ] = "MIT"
    limits: Annotated[Texts, Option("Traps of the data, as sentences for the card.")] = ()
    classes: Annotated[
        dict[str, ClassWords], Option("Words by class name; other classes keep their folder's name.")
    ] = Field(default_factory=dict)

    @field_validator("path")
    @classmethod
    def _named(cls, path: str) -> str:
        if not path:
            raise RecipeError("is empty; a folder, .npz or .csv was expected. Set it, or use 'synthetic'.")
        return path

    @field_validator("name")
    @classmethod
    def _fit_for_a_folder(cls, name: str) -> str:
        if name and not NAME.fullmatch(name):
            raise RecipeError(
                f"is {name!r}; the bundle goes by it, so a-z, 0-9, _ and - were expected, 64 at most. Change it, and "
                f"put the words into data.title."
            )
        return name


class TeacherConfig(ScheduleConfig):
    """The big model and its fine-tuning."""

    name: Annotated[str, Option("A teacher of kdlight, timm:NAME, or ensemble:NAME+NAME.")] = "mobilenetv2"
    weights: Annotated[
        str,
        Option(
            "State dict that the teacher's training starts with (.safetensors or .pth); empty takes published ImageNet "
            "weights. Where those cannot be downloaded the teacher starts from random weights."
        ),
    ] = ""
    epochs: Epochs = 15
    lr: Rate = 5e-4
    label_smoothing: Smoothing = 0.05
    focal: Annotated[
        float, Option("Exponent of the focal loss, which takes no label smoothing; 0 is cross-entropy.", ge=0, le=10)
    ] = 0.0


class StudentConfig(Settings):
    """The small model and where its first weights come from."""

    name: Annotated[str, Option("A student of kdlight, or timm:NAME.")] = "kdlight_nano"
    init: Annotated[
        Init,
        Option(
            "Weights that the student's training starts with; their license applies to the trained pair. selection: "
            "channels of the teacher's starting weights; teacher: channels of the trained teacher; general: distilled "
            "before on other images (the student alone then starts by selection); published: the student's own."
        ),
    ] = "teacher"
    weights: Annotated[
        str, Option("For general and published a state dict; empty takes what kdlight ships or timm publishes.")
    ] = ""
    selection: Annotated[Selection, Option("Which channels are selected from the larger network.")] = "uniform"
    layers: Annotated[Layers, Option("Which blocks of each stage: the first, or evenly spaced ones.")] = "first"


class DistillConfig(Settings):
    """The method, and under it the method's own options."""

    model_config = ConfigDict(extra="allow")

    method: Annotated[
        str, Option("How the student learns from its teacher: the method, whose own options follow it.")
    ] = "kd"

    @property
    def options(self) -> dict[str, Any]:
        """The method's options as the recipe gives them; the method checks them."""
        return dict(self.model_extra or {})


class TrainConfig(ScheduleConfig):
    """The student's schedule, and which baselines are trained beside it."""

    warmup: Annotated[float, Option("Share of the steps with a rising rate, before the cosine.", ge=0, le=0.5)] = 0.05
    patience: Annotated[
        int, Option("Epochs without a better validation before stopping; 0 never stops early.", ge=0, le=10_000)
    ] = 0
    balance: Annotated[
        Literal["none", "balanced", "effective"],
        Option("Class weights of the task loss: none, N / (K n_c), or effective numbers (Cui et al. 2019)."),
    ] = "balanced"
    seed: Annotated[int, Option("Seed of weights, batches and augmentation.", ge=0)] = 0
    alone: Annotated[
        bool,
        Option(
            "Also train the same student on the labels without its teacher: the baseline that a gain is measured "
            "against. Takes longer."
        ),
    ] = True
    scratch: Annotated[
        bool,
        Option("Also train it without its teacher from random weights: what the first weights gave. Takes longer."),
    ] = False
    same_start: Annotated[
        bool,
        Option(
            "Also train it without its teacher from the same starting weights, which already help: only what is gained "
            "over this is the teacher's doing. Takes longer."
        ),
    ] = False
    views: Annotated[
        int,
        Option(
            "Each training image is shown in this many fixed augmented versions (turned, cropped, brighter, darker), "
            "in turn. The teacher's output for each is computed once and cached, which saves most of its time. 0 draws "
            "new augmentations in every epoch.",
            ge=0,
            le=10_000,
        ),
    ] = 0
    threads: Annotated[int, Option("CPU threads; 0 leaves them to torch.", ge=0, le=1024)] = 0

    @field_validator("views")
    @classmethod
    def _unmixed(cls, views: int, info: ValidationInfo) -> int:
        if views and (info.data.get("mixup") or info.data.get("cutmix")):
            raise RecipeError(f"is {views}, but mixup and cutmix make new images in every batch. Set it to 0.")
        return views


class Recipe(Settings):
    """One experiment, whole."""

    data: Annotated[DataConfig, Option("The labeled set, what is known about it, and how a model sees it.")]
    teacher: Annotated[TeacherConfig, Option("The big model and its fine-tuning.")] = TeacherConfig()
    student: Annotated[StudentConfig, Option("The small model and its first weights.")] = StudentConfig()
    distill: Annotated[DistillConfig, Option("The method and its own options.")] = DistillConfig()
    train: Annotated[TrainConfig, Option("The student's schedule and its baselines.")] = TrainConfig()

    @property
    def name(self) -> str:
        """The set's name, which its bundle goes by: data.name, or what of the path's own may stand in one."""
        plain = re.sub(r"[^a-z0-9_-]+", "_", Path(self.data.path).stem.lower()).strip("_-")[:64]
        return self.data.name or plain or "set"

    def to_toml(self) -> str:
        """The recipe as TOML that `read_recipe` reads back to an equal recipe."""
        return tomli_w.dumps(self.model_dump())

    @property
    def portable(self) -> Recipe:
        """The recipe with file names in place of paths, as a card keeps it: nothing of this machine."""
        path, *weights = (Path(text).name for text in (self.data.path, self.teacher.weights, self.student.weights))
        return self.changed(
            data=self.data.changed(path=path or "data"),
            teacher=self.teacher.changed(weights=weights[0]),
            student=self.student.changed(weights=weights[1]),
        )

    def overridden(self, overrides: Sequence[str]) -> Recipe:
        """The recipe with `section.key=value` overrides; see `read_recipe`."""
        return _overridden(self.model_dump(), overrides)


def default_recipe(path: str | Path, modality: str) -> Recipe:
    """Neutral settings for a set of one's own: a student cut from a teacher with ImageNet weights, which are free."""
    data = DataConfig(path=str(path), modality=modality, weights_licence="Apache-2.0 (its starting weights)")
    return Recipe(data=data, student=StudentConfig(init="selection"))


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a TOML recipe and apply `section.key=value` overrides (values in TOML syntax; bare words are strings).

    Raises RecipeError on an unknown key, a wrong type or a value out of range; FileNotFoundError without the file.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{Path(path).name} is not valid TOML ({error}). Correct that line.") from error
    return _overridden(tables, overrides)


def shipped() -> dict[str, Path]:
    """The recipes that come with kdlight, by name."""
    folder = Path(__file__).parents[1] / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _overridden(tables: dict[str, Any], overrides: Sequence[str]) -> Recipe:
    for text in overrides:
        _override(tables, text)
    return Recipe(**tables)


def _override(tables: dict[str, Any], text: str) -> None:
    key, value = assignment(text)
    *parents, last = key.split(".")
    if not parents or not last:
        raise RecipeError(f"The override {text!r} is not section.key=value, for example train.epochs=2.")
    for parent in parents:
        tables = tables.setdefault(parent, {})
        if not isinstance(tables, dict):
            raise RecipeError(f"The override {text!r} goes below {parent!r}, which is a value, not a section.")
    tables[last] = value
