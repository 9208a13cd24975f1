"""Which row of the results page a study is in: a system of the literature, or another method on a system's pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kdlight.contracts.recipe import Recipe
from kdlight.studies import StudyRecord
from kdlight.studies.records import shipped_recipes

SYSTEMS = {
    "kdlight": "KDLight",
    "explainable": "Explainable KD",
    "skin": "Skin-cancer KD",
    "dual": "Dual-model weight selection",
    "selection": "Weight selection",
    "ssd-kd": "SSD-KD",
    "crckd": "CRCKD",
    "efcm": "EFCM",
    "kd-oct": "KD-OCT",
    "gi": "GI dual stream",
    "auc-margin": "Deep AUC margin",
    "self-training": "Self-training",
    "acid": "ACID",
}
"""How a recipe's name begins, and the system of the literature that it is built after; in the order of the page."""
OF_METHOD = {
    "dual": "Dual-model weight selection",
    "ssd_kd": "SSD-KD",
    "crckd": "CRCKD",
    "efcm": "EFCM",
    "auc_margin": "Deep AUC margin",
    "self_training": "Self-training",
    "acid": "ACID",
}
"""Methods that are a system's own, whichever recipe they are run in; the others belong to none."""
STARTS = {"general": "general first", "published": "published weights first"}
"""Of student.init what makes a row of its own, in words."""
NOT_REPRODUCIBLE = "not reproducible here"


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """What is compared across sets: a system, or a method (system is then empty) on another system's pair."""

    system: str
    method: str
    pair: str
    """The system whose recipe gave the pair and the schedule; of a system's own row the system itself."""
    teacher: str
    student: str
    start: str = ""
    """One of the words of STARTS; empty where the first weights come from this study's teacher, or are random."""
    px: int = 0
    """The side of its pictures where it is more than the recipe's, which makes teacher and student others; else 0."""

    @property
    def general(self) -> bool:
        """Whether it is a method that is no system's own."""
        return not self.system

    @property
    def models(self) -> str:
        return f"{self.teacher} to {self.student}"

    def words(self, paper: str | None = None, pair: bool = True) -> str:
        """The row for people, without its models; `paper`: of the method, named where no system names it. `pair`: say
        whose pair a system's other methods are run on."""
        start = (f", {self.start}" if self.start else "") + (f", {self.px} px" if self.px else "")
        if self.general:
            named = f" ({paper})" if paper else ""
            whose = f" on {self.pair}'s pair" if pair else ""
            return f"`{self.method}`{named}{whose}{start}"
        return f"{self.system}{start}, `{self.method}`"


def system(recipe: str) -> str:
    """The system that a recipe is named after; a recipe of none of them is its own."""
    found = [prefix for prefix in SYSTEMS if recipe == prefix or recipe.startswith(f"{prefix}-")]
    return SYSTEMS[max(found, key=len)] if found else recipe


def row_of(record: StudyRecord) -> Row:
    """The row of a study. A system's own method fills the system's row, also on the pair and schedule of KDLight."""
    teacher, student = record.models.teacher.architecture, record.models.student.architecture
    models = (teacher or "teacher not recorded", student or "student not recorded")
    method, own = record.method.name or "method not recorded", shipped_recipes().get(record.recipe)
    start, pair = STARTS.get(record.init or "", ""), system(record.recipe)
    size = record.data.size or 0
    rest = (*models, start, size if own and size > own.data.size else 0)
    if own is None or method in (own.distill.method, "method not recorded"):
        return Row(pair, method, pair, *rest)
    name = OF_METHOD.get(method, "")
    return Row(name, method, name or pair, *rest)


def row_of_recipe(name: str, recipe: Recipe) -> Row:
    """The row that a study of a shipped recipe, as it is, would fill."""
    own = system(name)
    start = STARTS.get(recipe.student.init, "")
    return Row(own, recipe.distill.method, own, recipe.teacher.name, recipe.student.name, start)


def borrowed(record: StudyRecord) -> str | None:
    """The system whose pair and schedule a study of another system's method was run on; None for a system's own."""
    row, pair = row_of(record), system(record.recipe)
    return pair if row.system and row.system != pair else None


def told_apart(record: StudyRecord, peers: Sequence[StudyRecord]) -> str:
    """In what a study differs from the others of its row on its set, where they are run on one pair; else empty."""
    said = [_values(peer) for peer in peers if borrowed(peer) == borrowed(record)]
    own = _values(record)
    keys = [key for key in own if any(key in other and other[key] != own[key] for other in said)]
    return ", ".join(f"{key} {str(own[key]).lower()}" for key in keys)


def cut(record: StudyRecord) -> str:
    """With how little a study was done: fewer pixels or epochs than its shipped recipe, hidden labels, a teacher that
    is not the published one."""
    said: list[str] = []
    if own := shipped_recipes().get(record.recipe):
        asked = (
            ("px", record.data.size, own.data.size),
            ("teacher epochs", record.epochs.get("teacher"), own.teacher.epochs),
            ("epochs", record.epochs.get("student"), own.train.epochs),
        )
        said += [f"{was:g} of {now} {words}" for words, was, now in asked if was is not None and was < now]
    labeled = record.settings.get("data", {}).get("labeled", 1.0)
    if labeled < 1:
        said.append(f"{100 * labeled:g} % of the labels")
    if words := hindrance(record):
        said.append(words)
    return ", ".join(said)


def hindrance(record: StudyRecord) -> str:
    """Why a study reproduces nothing of the system that it is named after, by its teacher; empty where it may.

    A teacher from random weights is not the published one; nor is one that is at chance, which is here a balanced
    accuracy that guessing at as many test images reaches in 1 of 40 cases (ours).
    """
    start, images = record.models.teacher_start, (record.data.images or {}).get("test")
    if start is not None and start.kind == "random":
        return f"{NOT_REPRODUCIBLE}: no pretrained weights"
    if not record.data.classes or not images:
        return ""
    guess = 1 / len(record.data.classes)
    reached = record.mean.teacher <= guess + 1.96 * math.sqrt(guess * (1 - guess) / images)
    return f"{NOT_REPRODUCIBLE}: the teacher is no better than chance" if reached else ""


def _values(record: StudyRecord) -> dict[str, Any]:
    flat = {f"{section}.{key}": value for section, of in record.settings.items() for key, value in of.items()}
    return {**record.method.options, **(flat or {"px": record.data.size})}


def order(row: Row) -> tuple[int, str, str, int, str]:
    """The systems in the order of SYSTEMS, then recipes of people's own, by name."""
    names = list(SYSTEMS.values())
    return names.index(row.system) if row.system in names else len(names), row.system, row.start, row.px, row.method
