"""Recipes: what to train, on what, by which method. Frozen dataclasses, checked as they are made, read from TOML."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdlight.anatomy import BODY_PARTS, VIEWS

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
BALANCES = ("none", "balanced", "effective")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What a set, and so a bundle, may be called."""
INITS = ("random", "selection", "teacher", "general", "published")
SELECTIONS = ("uniform", "consecutive", "random")
LAYERS = ("first", "even")
UNTRAINED = "random weights"
"""What a teacher without weights to start from starts from, in words; older runs and records say it in no other way."""


class RecipeError(ValueError):
    """A recipe that cannot be run: the sentence says which key, what was expected, what to do."""


def _check(section: str, key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RecipeError(f"{section}.{key} is {value}; {low} to {high} was expected. Change it in the recipe.")


def _choose(section: str, key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise RecipeError(f"{section}.{key} is {value!r}; one of {', '.join(known)} was expected.")


@dataclass(frozen=True, slots=True)
class ClassWords:
    """What a class means to people."""

    words: str
    must_not_miss: bool = False


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The labelled set, what is known about it, and how a model sees it."""

    path: str
    """Folder, npz or CSV; `synthetic` makes a small set inside the run."""
    modality: str
    """A key of `kdlight.modality.MODALITIES`."""
    name: str = ""
    """Short id, also the bundle's; the path's last part if empty."""
    title: str = ""
    """Words for people."""
    size: int = 128
    """Input side in pixels."""
    body_parts: tuple[str, ...] = ()
    """Keys of `kdlight.anatomy.BODY_PARTS` that every image shows one of; empty where the set has none or mixes them.
    A file that states another part is then not eligible."""
    views: tuple[str, ...] = ()
    """Values of `kdlight.anatomy.VIEWS` that the set covers; empty where any may come."""
    window: str = ""
    """CT preset for files in Hounsfield units; empty keeps the file's own window."""
    fit: str = "stretch"
    """stretch or pad, see InputSpec."""
    stages: tuple[str, ...] = ()
    """Stages of `kdlight.preprocessing.stages` that every image goes through before a model sees it."""
    val: float = 0.15
    """Share of groups for validation where the set has no val split."""
    test: float = 0.2
    """Share of the train split's groups carved out for the test where the set has no test split."""
    labeled: float = 1.0
    """Share of the training groups whose labels are kept, the same for every seed; the others are known by their
    pictures only."""
    split_seed: int = 0
    """Seed of the carving; kept apart from train.seed, so that seeds share one test part."""
    augmentation: str = ""
    """A policy of `kdlight.preprocessing.augment.AUGMENTATIONS`; empty takes the modality's own."""
    source: str = ""
    licence: str = "not stated"
    weights_licence: str = "MIT"
    """What the trained weights may be used under; the data's own terms where those reach the weights."""
    limits: tuple[str, ...] = ()
    """Traps of the data, as sentences for the card."""
    classes: Mapping[str, ClassWords] = field(default_factory=dict)
    """Words per class name; classes that are not named keep their folder's name."""

    def __post_init__(self) -> None:
        _check("data", "size", self.size, 32, 1024)
        _check("data", "val", self.val, 0.05, 0.5)
        _check("data", "test", self.test, 0.05, 0.5)
        _check("data", "labeled", self.labeled, 0.01, 1)
        for part in self.body_parts:
            _choose("data", "body_parts", part, tuple(BODY_PARTS))
        for view in self.views:
            _choose("data", "views", view, VIEWS)
        if not self.path:
            raise RecipeError("data.path is empty; a folder, npz or CSV was expected. Set it, or use 'synthetic'.")
        if self.name and not NAME.fullmatch(self.name):
            raise RecipeError(
                f"data.name is {self.name!r}; the bundle goes by it, so a-z, 0-9, _ and - were expected, 64 at most. "
                f"Change it, and put the words into data.title."
            )


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """The big model and its fine-tuning."""

    name: str = "mobilenetv2"
    weights: str = ""
    """A safetensors or pth state dict to start from; empty asks timm for pretrained weights when online."""
    epochs: int = 15
    lr: float = 5e-4
    weight_decay: float = 0.02
    batch_size: int = 32
    precision: str = "32-true"
    label_smoothing: float = 0.05
    focal: float = 0.0
    """Exponent of the focal loss (Lin et al. 2017), which then takes no label smoothing; 0 is cross-entropy."""
    mixup: float = 0.0
    """Shape of mixup's Beta distribution (Zhang et al. 2018); 0 mixes nothing."""
    cutmix: float = 0.0
    """Shape of cutmix's Beta distribution (Yun et al. 2019); with mixup one of the two is drawn for each batch."""
    swa: float = 0.0
    """Share of the epochs, from the last, whose weights are averaged (Izmailov et al. 2018); 0 averages none."""

    def __post_init__(self) -> None:
        _check("teacher", "epochs", self.epochs, 1, 10_000)
        _check("teacher", "lr", self.lr, 1e-7, 10)
        _check("teacher", "weight_decay", self.weight_decay, 0, 1)
        _check("teacher", "batch_size", self.batch_size, 2, 4096)
        _check("teacher", "label_smoothing", self.label_smoothing, 0, 0.5)
        _check("teacher", "focal", self.focal, 0, 10)
        _check("teacher", "mixup", self.mixup, 0, 10)
        _check("teacher", "cutmix", self.cutmix, 0, 10)
        _check("teacher", "swa", self.swa, 0, 0.9)
        _choose("teacher", "precision", self.precision, PRECISIONS)


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """The small model and where its first weights come from."""

    name: str = "kdlight_nano"
    init: str = "teacher"
    """random; selection: from the teacher's starting weights; teacher: from the fine-tuned teacher; general: distilled
    before on all sets at once (the student alone then starts by selection); published: the student's own, for both."""
    weights: str = ""
    """Of general and published: a state dict of the student; empty takes what kdlight ships, or what timm publishes."""
    selection: str = "uniform"
    """Which channels are selected: uniform, consecutive or random."""
    layers: str = "first"
    """Which blocks of each stage: the first or evenly spaced ones."""

    def __post_init__(self) -> None:
        _choose("student", "init", self.init, INITS)
        _choose("student", "selection", self.selection, SELECTIONS)
        _choose("student", "layers", self.layers, LAYERS)


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """The method, and its hyper-parameters as the method's signature names them."""

    method: str = "kd"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The student's schedule; with `alone` the same student is trained the same way without its teacher."""

    epochs: int = 40
    lr: float = 2e-3
    weight_decay: float = 0.02
    batch_size: int = 32
    warmup: float = 0.05
    """Share of the steps with a rising rate, before the cosine."""
    patience: int = 0
    """Epochs without a better validation before stopping; 0 never stops early."""
    precision: str = "32-true"
    balance: str = "balanced"
    """Class weights of the task loss: none, balanced (N / (K n_c)) or effective (Cui et al. 2019)."""
    label_smoothing: float = 0.0
    seed: int = 0
    alone: bool = True
    """Also train the same student on the labels alone, from weights selected from where the teacher began."""
    scratch: bool = False
    """Also train the same student on the labels alone, from random weights: nothing of any larger network."""
    same_start: bool = False
    """Also train the same student on the labels alone, from the weights that the taught one begins with: where those
    are general ones or the trained teacher's, only this says what teaching gave."""
    views: int = 0
    """Distinct views of each training image, taken in turn, the same for every seed; 0 draws new ones every epoch. With
    a number the teacher answers each view once, and its answers are kept for later epochs, seeds and methods."""
    threads: int = 0
    """CPU threads; 0 leaves them to torch."""

    def __post_init__(self) -> None:
        _check("train", "epochs", self.epochs, 1, 10_000)
        _check("train", "lr", self.lr, 1e-7, 10)
        _check("train", "weight_decay", self.weight_decay, 0, 1)
        _check("train", "batch_size", self.batch_size, 2, 4096)
        _check("train", "warmup", self.warmup, 0, 0.5)
        _check("train", "patience", self.patience, 0, 10_000)
        _check("train", "label_smoothing", self.label_smoothing, 0, 0.5)
        _check("train", "views", self.views, 0, 10_000)
        _check("train", "threads", self.threads, 0, 1024)
        _choose("train", "precision", self.precision, PRECISIONS)
        _choose("train", "balance", self.balance, BALANCES)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One experiment, whole."""

    data: DataConfig
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def name(self) -> str:
        """The set's name, which its bundle goes by: data.name, or what of the path's own may stand in one."""
        plain = re.sub(r"[^a-z0-9_-]+", "_", Path(self.data.path).stem.lower()).strip("_-")[:64]
        return self.data.name or plain or "set"

    def to_toml(self) -> str:
        """The recipe as TOML that `read_recipe` reads back to an equal recipe."""
        lines: list[str] = []
        for section, values in dataclasses.asdict(self).items():
            tables = {key: values.pop(key) for key in ("classes", "options") if key in values}
            if section == "distill":
                values.update(tables.pop("options"))
            lines += [f"[{section}]", *(f"{key} = {_literal(value)}" for key, value in values.items()), ""]
            for name, words in tables.get("classes", {}).items():
                lines += [f"[data.classes.{json.dumps(name)}]"]
                lines += [*(f"{key} = {_literal(value)}" for key, value in words.items()), ""]
        return "\n".join(lines)

    @classmethod
    def from_mapping(cls, tables: Mapping[str, Any]) -> Recipe:
        """Build from parsed TOML. Raises RecipeError that names the wrong key or value."""
        sections = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(tables) - sections)
        if unknown:
            raise RecipeError(f"Unknown section [{unknown[0]}]; [{'], ['.join(sorted(sections))}] were expected.")
        if "data" not in tables:
            raise RecipeError(
                "The section [data] is missing; it names the labelled set. Add [data] with path, modality."
            )
        parts = {name: _table(name, tables.get(name, {})) for name in sections}
        classes = _table("data.classes", parts["data"].get("classes", {}))
        words = {k: _table(f"data.classes.{k}", v) for k, v in classes.items()}
        parts["data"]["classes"] = {k: _section(f"data.classes.{k}", ClassWords, v) for k, v in words.items()}
        method = parts["distill"].pop("method", "kd")
        return cls(
            data=_section("data", DataConfig, parts["data"]),
            teacher=_section("teacher", TeacherConfig, parts["teacher"]),
            student=_section("student", StudentConfig, parts["student"]),
            distill=DistillConfig(method=method, options=parts["distill"]),
            train=_section("train", TrainConfig, parts["train"]),
        )


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a TOML recipe and apply `section.key=value` overrides (values in TOML syntax; bare words are strings).

    Raises RecipeError on an unknown key, a wrong type or a value out of range; FileNotFoundError without the file.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{Path(path).name} is not valid TOML ({error}). Mend that line.") from error
    for override in overrides:
        _override(tables, override)
    return Recipe.from_mapping(tables)


def shipped() -> dict[str, Path]:
    """The recipes that come with kdlight, by name."""
    folder = Path(__file__).parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RecipeError(f"{name} is {value!r}; a section was expected. Write it as [{name}] with keys below it.")
    return dict(value)


def _override(tables: dict[str, Any], text: str) -> None:
    key, sign, value = text.partition("=")
    *parents, last = key.strip().split(".")
    if not sign or not parents or not last:
        raise RecipeError(f"The override {text!r} is not section.key=value, for example train.epochs=2.")
    for parent in parents:
        tables = tables.setdefault(parent, {})
        if not isinstance(tables, dict):
            raise RecipeError(f"The override {text!r} goes below {parent!r}, which is a value, not a section.")
    try:
        tables[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        tables[last] = value


def _section(name: str, kind: Any, values: dict[str, Any]) -> Any:
    """A dataclass from a table: keys must be known and types must fit; whole numbers pass as floats."""
    known = {f.name: f for f in dataclasses.fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise RecipeError(f"Unknown key {name}.{key}; one of {', '.join(known)} was expected.")
        values[key] = _typed(f"{name}.{key}", known[key].type, value)
    required = {f.name for f in known.values() if _is_required(f)}
    missing = sorted(required - set(values))
    if missing:
        raise RecipeError(f"{name}.{missing[0]} is missing; a value was expected. Add it to the recipe.")
    return kind(**values)


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _typed(key: str, wanted: Any, value: Any) -> Any:
    if wanted == "float" and type(value) is int:
        return float(value)
    if wanted == "tuple[str, ...]":
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise RecipeError(f'{key} is {value!r}; a list of texts was expected, as in {key} = ["..."].')
        return tuple(value)
    kinds = {"int": int, "float": float, "str": str, "bool": bool}
    if wanted in kinds and type(value) is not kinds[wanted]:
        raise RecipeError(f"{key} is {value!r}; a value of type {wanted} was expected. Change it in the recipe.")
    return value


def _literal(value: Any) -> str:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)
