"""Records of studies, as `kdlight study` leaves them: read with care, and made fit to be published.

A record that does not say something leaves it empty here; nothing is filled in by guess. What an older study.json
lacks is taken from the card of the bundle that the same study left beside it.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdlight.config import Recipe, RecipeError
from kdlight.results.settings import settings
from kdlight.results.shipped import FREE, recipe_of
from kdlight.runs import origin
from kdlight.storage import write_json

SCHEMA = "kdlight.study/"
MODELS = ("teacher", "student", "alone")
BESIDES = ("scratch", "same_start", "partner", "ensemble")
"""What only some studies have: further students without a teacher, from random weights and from the starting weights of
the taught one; the second model of a pair that learned together, and the mean of the pair."""
OWN_START = ("general", "published")
"""student.init of first weights that are the student's own, not taken from this study's teacher."""
GAINS = ("gain_over_scratch", "gain_over_same_start", "gain_of_partner", "gain_of_ensemble", "gap_to_teacher")
"""The student's over scratch and same_start, those of the pair over the student alone, and the student's over its
teacher."""
KEPT = (
    *("schema", "recipe", "data", "metric", "teachers", "seeds", "mean", "deviation", "gain_over_alone", "gain"),
    *(*GAINS, "retained", "mcnemar_p", "mcnemar_pooled_p", "models", "method", "epochs", "minutes", "latency"),
    "settings",
)
"""What is published of a record, in this order."""


class RecordError(ValueError):
    """A file that is no record of a study; the sentence says which and what it lacks."""


@dataclass(frozen=True, slots=True)
class Record:
    """One study: one teacher, and per seed its student taught and the same student alone."""

    source: Path
    """The file it was read from."""
    raw: Mapping[str, Any]
    """As read, for what is published."""
    recipe: str
    """A shipped recipe's name, or the set's where it is of no shipped recipe."""
    data: str
    """The labelled set's short id."""
    seeds: tuple[Mapping[str, float], ...]
    """Per seed its number and balanced accuracy (0 to 1) of teacher, student and alone, and of BESIDES what it has."""
    mean: Mapping[str, float]
    gain: Mapping[str, float | None] | None
    """Student minus the same student alone, 0 to 1, as {"value", "low", "high"}."""
    gains: Mapping[str, Mapping[str, float | None] | None]
    """Of GAINS what the study has, as `gain`."""
    words: str
    """The gain in words, as the study itself said it."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a record may say besides: see `fact`."""

    def fact(self, name: str, model: str | None = None) -> Any:
        """title, modality, size, images (in the test), method, paper, options, init, start, start_kind, retained,
        mcnemar_p (first seed), mcnemar_pooled_p, settings; and by model architecture, parameters, macs, bytes, epochs,
        minutes, latency (ms). None where the record does not say it."""
        found = self.facts.get(name)
        if model is None:
            return found
        return found.get(model) if isinstance(found, Mapping) else None

    @property
    def teacher(self) -> str | None:
        found: str | None = self.fact("architecture", "teacher")
        return found

    @property
    def student(self) -> str | None:
        found: str | None = self.fact("architecture", "student")
        return found


def read(path: Path) -> Record:
    """A study.json (or the folder of one), a published record, or a bundle's card.json.

    Raises RecordError where it is no record of a study, FileNotFoundError where nothing is there.
    """
    file = path / "study.json" if path.is_dir() else path
    found = _object(file)
    card = found if "distillation" in found else _object(beside) if (beside := _card_of(file)).is_file() else {}
    if found is card:
        found = card.get("metrics", {}).get("study") or {}
    timed = file.with_name("latency.json")
    measured = _object(timed) if file.name == "study.json" and timed.is_file() else {}
    try:
        return _record(file, {**_of_card(card, found), **found, **_latency(measured)})
    except RecordError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        name = f"{file.parent.name}/{file.name}"
        raise RecordError(
            f"{name} is broken ({type(error).__name__}: {error}); run its kdlight study again: what is done is kept."
        ) from error


def collect(paths: Iterable[Path]) -> list[Record]:
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


def keep(record: Record, folder: Path) -> Path:
    """Write what may be published of a record into `folder`; one of the same system and set is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {**record.raw, "recipe": record.recipe}
    compact = {key: _portable(said[key]) for key in KEPT if said.get(key) is not None}
    name = record.recipe if record.data in record.recipe else f"{record.recipe}-{record.data}"
    first = [str(record.fact("init"))] if record.fact("init") in OWN_START else []
    base = "-".join([name, *first, *([str(record.fact("method"))] if record.fact("method") else [])])
    number = 1
    while True:
        path = folder / (f"{base}.json" if number == 1 else f"{base}-{number}.json")
        if not path.is_file() or same_row(read(path), record):
            write_json(path, compact)
            return path
        number += 1


def same_row(one: Record, other: Record) -> bool:
    """Whether of two records one replaces the other: recipe, set, models, method with its options, size, and of the
    settings all that both tell and that not only says which seeds and baselines were run."""
    names = ("architecture", "method", "options", "init", "size")
    told = [
        (r.recipe, r.data, *(json.dumps(_portable(r.fact(n)), sort_keys=True) for n in names)) for r in (one, other)
    ]
    settings = [
        {
            (section, key): _portable(value)
            for section, of in (r.fact("settings") or {}).items()
            for key, value in of.items()
        }
        for r in (one, other)
    ]
    both = settings[0].keys() & settings[1].keys() - {("train", key) for key in FREE}
    return told[0] == told[1] and all(settings[0][key] == settings[1][key] for key in both)


def _record(file: Path, found: dict[str, Any]) -> Record:
    if not str(found.get("schema", "")).startswith(SCHEMA):
        raise RecordError(f"{file.parent.name}/{file.name} is no record of a study; a study.json was expected.")
    models = (*MODELS, *(model for model in BESIDES if all(model in row for row in found["seeds"])))
    seeds = tuple(_seed(row, models) for row in found["seeds"])
    facts = {key: value for key, value in _facts(found).items() if value not in (None, {}, "")}
    return Record(
        source=file,
        raw=found,
        recipe=recipe_of(str(found["recipe"]), facts),
        data=str((found.get("data") or {}).get("name") or found["recipe"]),
        seeds=seeds,
        mean={model: sum(row[model] for row in seeds) / len(seeds) for model in seeds[0] if model != "seed"},
        gain=_interval(found["gain_over_alone"]),
        gains={name: _interval(found[name]) for name in GAINS if found.get(name) is not None},
        words=str(found["gain"]),
        facts=facts,
    )


def _facts(found: Mapping[str, Any]) -> dict[str, Any]:
    data, models, method = (found.get(key) or {} for key in ("data", "models", "method"))
    start = origin.of(models.get("teacher") or {})
    by_model = {
        name: {model: said[name] for model, said in models.items() if said.get(name) is not None}
        for name in ("architecture", "parameters", "macs", "bytes")
    }
    return {
        **{name: data.get(name) for name in ("title", "modality", "size")},
        "images": (data.get("images") or {}).get("test"),
        "method": method.get("name"),
        "options": method.get("options"),
        "paper": method.get("paper"),
        "start": start.words if start else None,
        "start_kind": start.kind if start else None,
        "init": (models.get("student") or {}).get("start"),
        **by_model,
        **{name: found.get(name) for name in ("epochs", "minutes", "latency", "retained", "settings")},
        **{name: found.get(name) for name in ("mcnemar_p", "mcnemar_pooled_p")},
    }


def _seed(row: Mapping[str, Any], models: Iterable[str]) -> dict[str, float]:
    scores = {model: float(row[model]) for model in models}
    if not all(math.isfinite(s) and 0 <= s <= 1 for s in scores.values()):
        raise ValueError(f"a balanced accuracy of seed {row['seed']} is not between 0 and 1")
    return {"seed": int(row["seed"]), **scores}


def _interval(found: Any) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {key: None if found[key] is None else float(found[key]) for key in ("value", "low", "high")}


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise RecordError(f"{file.parent.name}/{file.name} is not readable JSON ({error}); get it again.") from error
    if not isinstance(found, dict):
        raise RecordError(f"{file.parent.name}/{file.name} holds no JSON object; a record of a study was expected.")
    return found


def _card_of(file: Path) -> Path:
    return file.parent / "bundle" / "card.json"


def _of_card(card: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What the card of a study's own bundle says, for a record from before a study said it itself."""
    if not card:
        return {}
    method = card["distillation"]
    recipe = _recipe_in(method)
    said = {"settings": settings(recipe)} if recipe else {}
    if "models" in found:
        return said
    students = dict.fromkeys(("student", "alone"), recipe.train.epochs) if recipe else {}
    epochs = {"teacher": recipe.teacher.epochs, **students} if recipe else {}
    return {
        "data": {
            **{"name": card["data"]["name"], "title": card["name"], "modality": card["modality"]},
            **{"size": card["input"]["size"], "images": {"test": card["metrics"]["n"]}},
        },
        "models": {role: card[role] for role in ("teacher", "student")},
        "method": {"name": method["method"], "paper": method.get("paper"), "options": method["options"]},
        "epochs": epochs,
        **said,
    }


def _recipe_in(method: Mapping[str, Any]) -> Recipe | None:
    """The recipe that a card keeps; None where it keeps none, or one with a key that only another version knows."""
    try:
        return Recipe.from_mapping(tomllib.loads(method["recipe"])) if method.get("recipe") else None
    except RecipeError:
        return None


def _latency(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of the answer of `kdlight benchmark latency BUNDLE --json`: medians in ms, and on what they were measured.

    The teacher's is on the student's engine where that was measured too.
    """
    if not found:
        return {}
    p50 = {row["name"]: row["p50_ms"] for row in found["rows"]}
    student = found["candidate"]
    same = student.replace("student", "teacher")
    teacher = same if same in p50 else found["baseline"]
    settings = {key: found[key] for key in ("size", "threads", "runs")}
    machine = {key: found["machine"][key] for key in ("cpu", "cores")}
    return {
        "latency": {"teacher": p50[teacher], "student": p50[student], "of": [teacher, student]} | settings | machine
    }


def _portable(value: Any) -> Any:
    """Without folders of the machine that made it, numbers to six digits."""
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_portable(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, str) and value.startswith(("/", "~", "\\")):
        return Path(value.replace("\\", "/")).name
    return value
