"""Records of studies and ablations, read from where they are left, and the command that makes a study again."""

from __future__ import annotations

import contextlib
import json
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from kdlight import storage
from kdlight.bundle import BundleError, Card, read_card
from kdlight.bundle.part import LenientPart, Value
from kdlight.bundle.speed import ONNX, Speed
from kdlight.bundle.study_record import Gain, Scores, SeedScores, StudyLatency, StudyRecord
from kdlight.contracts.recipe import Recipe, RecipeError, read_recipe, shipped
from kdlight.metrics import Interval
from kdlight.studies.gains import NOT_COMPARED

GRID_SCHEMA = "kdlight.grid/1"
DATA_SETTINGS = ("size", "window", "fit", "stages", "val", "test", "labeled", "split_seed", "augmentation")
"""Of [data] what changes the pictures, their splits or their labels."""


class GridCell(LenientPart):
    """One combination of values, with what its study.json says."""

    name: str
    values: dict[str, str]
    """As text, by key."""
    study: str = ""
    """Path below the grid's folder."""
    seeds: tuple[SeedScores, ...]
    mean: Scores
    deviation: dict[str, float | None] = Field(default={})
    gain_over_alone: Interval | None
    gap_to_teacher: Gain = None
    gain: str = ""
    """`gain_over_alone` in words."""
    retained: float | None = None
    minutes: dict[str, float | None] = Field(default={})
    over_same_start: str = NOT_COMPARED
    """The gain over the same student from the same starting weights, in words."""


class Difference(LenientPart):
    """Balanced accuracy of the first cell's taught students less the second's, paired over seeds and images."""

    first: str
    second: str
    difference: Interval | None
    """0 to 1; None where the two were not tested on the same images."""
    words: str


class GridRecord(LenientPart):
    """The record of an ablation: grid.json (schema kdlight.grid/1)."""

    schema_: str = Field(alias="schema", pattern=r"^kdlight\.grid/")
    recipe: str
    metric: str = "balanced_accuracy"
    keys: tuple[str, ...]
    """What varies."""
    cells: tuple[GridCell, ...] = Field(min_length=1)
    differences: tuple[Difference, ...]
    """Of every two cells."""

    @model_validator(mode="after")
    def _values_of_all(self) -> Self:
        if any(set(self.keys) - set(cell.values) for cell in self.cells):
            raise ValueError("each cell needs a value of each key")
        return self


class RecordError(ValueError):
    """A file that is no record of a study; the sentence says which and what it lacks."""


@cache
def shipped_recipes() -> dict[str, Recipe]:
    """The shipped recipes by name; read once, they do not change while kdlight runs."""
    return {name: read_recipe(path) for name, path in shipped().items()}


def settings(recipe: Recipe) -> dict[str, dict[str, Value]]:
    """Everything of a recipe that a result hangs on, but the method: no file, no folder, nothing of the machine."""
    return recipe.model_dump(
        mode="json",
        include={"data": set(DATA_SETTINGS), "teacher": True, "student": True, "train": True},
        exclude={"teacher": {"weights"}, "student": {"weights"}, "train": {"threads"}},
    )


def read(path: Path) -> StudyRecord:
    """A study.json (or the folder of one), a published record, or a bundle's card.json.

    What an older study.json lacks is taken from the card of the bundle that the same study left beside it. Raises
    RecordError where it is no record of a study, FileNotFoundError where nothing is there.
    """
    file = path / "study.json" if path.is_dir() else path
    with _sentences(file):
        if file.name == "card.json":
            return of_card(read_card(file.parent))
        record = StudyRecord.model_validate(_values(file, "study"))
        return _completed(record, file.parent) if file.name == "study.json" else record


def read_grid(path: Path) -> GridRecord:
    """A grid.json. Raises RecordError where it is none, FileNotFoundError where nothing is there."""
    with _sentences(path):
        return GridRecord.model_validate(_values(path, "grid"))


@contextlib.contextmanager
def _sentences(file: Path) -> Iterator[None]:
    """Whatever a file from outside is lacking, its RecordError says so in one sentence."""
    name = f"{file.parent.name}/{file.name}"
    try:
        yield
    except (RecordError, FileNotFoundError):
        raise
    except BundleError as error:
        raise RecordError(str(error)) from error
    except (ValidationError, LookupError, TypeError) as error:
        said = storage.first_problem(error) if isinstance(error, ValidationError) else None
        what = said or f"{type(error).__name__}: {error}"
        raise RecordError(f"{name} is broken ({what}); run its kdlight study again: what is done is kept.") from error
    except (OSError, ValueError) as error:
        raise RecordError(f"{name} is not readable JSON ({error}); get it again.") from error


def _values(file: Path, kind: Literal["study", "grid"]) -> dict[str, object]:
    values = storage.read_json(file)
    if not isinstance(values, dict) or not str(values.get("schema", "")).startswith(f"kdlight.{kind}/"):
        raise RecordError(f"{file.parent.name}/{file.name} is no record of a study; a {kind}.json was expected.")
    return values


def collect(paths: Iterable[Path]) -> list[StudyRecord]:
    """Every record at the paths: files, folders of one study, and folders of either. Raises as `read` does."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir() and not (path / "study.json").is_file():
            inside = [*path.glob("*.json"), *path.glob("*/study.json"), *path.glob("*/card.json")]
            if not inside:
                raise RecordError(f"{path} holds no record of a study; run kdlight study RECIPE, or name another one.")
            files += sorted(inside)
        else:
            files.append(path)
    return [read(file) for file in files]


def of_card(card: Card) -> StudyRecord:
    """The study on a card, with what the card says besides. Raises RecordError for a card of one training."""
    if card.metrics.study is None:
        raise RecordError(f"The card of {card.id} holds no record of a study: its models were trained once.")
    return _with_card(card.metrics.study, card)


def _completed(record: StudyRecord, folder: Path) -> StudyRecord:
    """With what lies beside a study.json: its bundle's card, and the answer of `kdlight benchmark latency --json`."""
    if (folder / "bundle" / "card.json").is_file():
        record = _with_card(record, read_card(folder / "bundle"))
    if (folder / "latency.json").is_file():
        record = record.replace(latency=_latency(Speed.model_validate(storage.read_json(folder / "latency.json"))))
    return record


def _with_card(record: StudyRecord, card: Card) -> StudyRecord:
    """What a record from before a study said it itself lacks, from the card of the study's own bundle."""
    recipe = _recipe_on(card)
    lacking: dict[str, Any] = {} if record.settings or recipe is None else {"settings": settings(recipe)}
    if "models" not in record.model_fields_set:
        student = dict.fromkeys(("student", "alone"), recipe.train.epochs) if recipe else {}
        lacking |= {
            "data": {
                **{"name": card.data.name, "title": card.name, "modality": card.modality},
                **{"size": card.input.size, "images": {"test": card.metrics.n}},
            },
            "models": {"teacher": card.teacher.to_json(), "student": card.student.to_json()},
            "method": card.distillation.to_json(),
            "epochs": {"teacher": recipe.teacher.epochs, **student} if recipe else {},
        }
        lacking["method"]["name"] = card.distillation.method
    return record.replace(**lacking)


def _recipe_on(card: Card) -> Recipe | None:
    """The recipe that a card keeps; None where it keeps none, or one with a key that only another version knows."""
    try:
        return Recipe(**tomllib.loads(card.distillation.recipe)) if card.distillation.recipe else None
    except (RecipeError, tomllib.TOMLDecodeError):
        return None


def _latency(speed: Speed) -> StudyLatency:
    return StudyLatency(
        teacher=speed.teacher_ms,
        student=speed.student_ms,
        of=(f"teacher, {speed.engine}", f"student, {ONNX}"),
        size=speed.size,
        threads=speed.threads,
        runs=speed.runs,
        cpu=speed.machine.cpu,
        cores=speed.machine.cores,
    )


def command_of(record: StudyRecord, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """`kdlight study RECIPE ... --seeds N` (or --folds N), with what the record says differently than the recipe.

    A record that keeps its settings gives every one; of an older one those that it happens to tell. `defaults`: of each
    method its own options, so that they need not be named. A record that is of no shipped recipe gives RECIPE: the file
    is then with whoever ran it.
    """
    recipe = shipped_recipes().get(record.recipe)
    changes = _changes(record, recipe, defaults or {}) if recipe else {}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in changes.items()}
    options = [f"-o {shlex.quote(f'{key}={text}')}" for key, text in texts.items()]
    data = ["-o data.path=DATA"]
    start = record.models.teacher_start
    if start is not None and start.kind == "file":
        data.append("-o teacher.weights=WEIGHTS")
    name = record.recipe if recipe else "RECIPE"
    return " ".join(
        ["kdlight study", name, *options, *data, f"--{'folds' if record.folds else 'seeds'} {len(record.seeds)}"]
    )


def _changes(record: StudyRecord, recipe: Recipe, defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Value]:
    method = record.method.name
    both = {
        "data.name": (record.set_name, recipe.data.name),
        "data.modality": (record.data.modality, recipe.data.modality),
        "data.size": (record.data.size, recipe.data.size),
        "teacher.name": (record.models.teacher.architecture, recipe.teacher.name),
        "teacher.epochs": (record.epochs.get("teacher"), recipe.teacher.epochs),
        "student.name": (record.models.student.architecture, recipe.student.name),
        "student.init": (record.init, recipe.student.init),
        "distill.method": (method, recipe.distill.method),
        "train.epochs": (record.epochs.get("student"), recipe.train.epochs),
        "train.seed": (record.seeds[0].seed, recipe.train.seed),
    }
    changes: dict[str, Value] = {key: was for key, (was, now) in both.items() if was is not None and was != now}
    for section, values in settings(recipe).items():
        recorded = record.settings.get(section, {})
        changes |= {f"{section}.{key}": recorded[key] for key, now in values.items() if recorded.get(key, now) != now}
    usual = dict(defaults.get(str(method), {}))
    if "distill.method" not in changes:
        usual.update(recipe.distill.options)
    options = {key: value for key, value in record.method.options.items() if value != usual.get(key)}
    return changes | {f"distill.{key}": value for key, value in options.items()}
