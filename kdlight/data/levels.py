"""What folders below the classes say: `<class>/train` and `<class>/test` are splits, `<class>/<patient>` are groups.

A level of folders stands for patients where its names are numbered or speak of a patient, or are many; magnifications,
parts of an archive and kinds of lesion are none. The first such level counts. The same name is the same patient in all
classes and splits: at worst a group is too large, never does it straddle. A few numbers alone (years, hospitals), of
which a class has fewer than there are splits, are none. The rules are ours; a manifest.csv says otherwise.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from kdlight.data.dataset import DataError, plain_name, printable, split_word
from kdlight.data.splits import LEAST_GROUPS
from kdlight.data.walk import Parts

_WORDS = "patient|subject|case|person|animal|donor|lesion"
_NUMBERED = re.compile(rf"\d|^({_WORDS})", re.IGNORECASE)
_PATIENT = re.compile(rf"({_WORDS}).*|(p|pt|id)[ _-]?\d+", re.IGNORECASE)
"""Names that speak of a patient, and not of a number only."""
_ATTRIBUTE = re.compile(
    r"\d+(\.\d+)?x|(images?|imgs?|part|batch|fold|chunk|set|grade|stage|level|type|score|bi-?rads|t|class)[ _-]?\d+",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"(patient|subject|case|person|donor|animal|p|id)[ _-]?\d+|.*\d{3,}.*", re.IGNORECASE)
"""Names that number one of many, and no class."""
MANY = 12
"""So many words on one level are names of patients; fewer are kinds of what the class is."""


def split_level(places: Sequence[tuple[str, Parts]], root: Path) -> int | None:
    """Which level of folders below the classes is splits, from 0; None where none is.

    places: class and folders of each image. Raises DataError where only some of the images lie in one.
    """
    for level in range(max((len(folders) for _, folders in places), default=0)):
        words = [split_word(folders[level]) if len(folders) > level else None for _, folders in places]
        if all(words):
            for name in sorted({name for name, _ in places}):
                require_one_folder(root / name, sorted({folders[level] for other, folders in places if other == name}))
            return level
        if level == 0 and "train" in words:
            name, folders = places[words.index(None)]
            raise DataError(
                f"{root} has split folders in its classes, but {words.count(None)} image(s) of {name!r} lie "
                f"{f'in {folders[0]!r} ' if folders else ''}beside them; each in a split's folder was expected. Move "
                f"them, or write a manifest.csv (path, class, split, group)."
            )
    return None


def require_one_folder(place: Path, folders: Sequence[str]) -> None:
    """Raise DataError where two of the folders in a place are one split."""
    words = [split_word(folder) for folder in folders]
    twice = [folder for folder, word in zip(folders, words, strict=True) if words.count(word) > 1]
    if twice:
        raise DataError(
            f"{place} holds {' and '.join(twice)}, which are all the {split_word(twice[0])} split; one folder was "
            f"expected. Put them together, or rename the one that is something else."
        )


def patients_above(rows: Sequence[Parts]) -> bool:
    """Whether the folders are `<patient>/<class>`, as in the published breast histopathology tiles (IDC).

    rows: all folders of each image. Each outer name is an identifier, and a few inner ones come back in most of them.
    """
    if not rows or min(map(len, rows)) < 2:
        return False
    outer, inner = {folders[0] for folders in rows}, {folders[1] for folders in rows}
    pairs = {folders[:2] for folders in rows}
    named = all(_IDENTIFIER.fullmatch(name) for name in outer) and not any(map(_IDENTIFIER.fullmatch, inner))
    few = 2 <= len(inner) <= len(outer) / 2 and not any(split_word(name) for name in inner)
    return named and few and 2 * len(pairs) > len(outer) * len(inner)


def patient_level(places: Sequence[tuple[str, Parts]]) -> tuple[int | None, tuple[str, ...]]:
    """Which level of folders below the classes is patients, None where none is; and the folders too few to be.

    places: class and folders of each image.
    """
    rows = [folders for _, folders in places]
    few: set[str] = set()
    level = group_level(rows)
    while level is not None and _too_few(places, level):
        few |= _names(rows, level)
        level = group_level(rows, level + 1)
    return level, tuple(sorted(map(printable, few)))


def group_level(rows: Sequence[Parts], first: int = 0) -> int | None:
    """Which level of folders below the classes is patients by its names, from `first`; None where none is."""
    for level in range(first, max(map(len, rows), default=0)):
        names = _names(rows, level)
        numbered = [name for name in names if _NUMBERED.search(name) and not _ATTRIBUTE.fullmatch(name)]
        if len(names) > 1 and (2 * len(numbered) > len(names) or len(names) >= MANY):
            return level
    return None


def _too_few(places: Sequence[tuple[str, Parts]], level: int) -> bool:
    """Whether the folders, none named as a patient, are so few that a class could not be in every split."""
    names = _names([folders for _, folders in places], level)
    if len(names) >= MANY or any(map(_PATIENT.fullmatch, names)):
        return False
    groups: dict[str, set[str | int]] = defaultdict(set)
    for number, (name, folders) in enumerate(places):
        groups[plain_name(name)].add(plain_name(folders[level]) if len(folders) > level else number)
    return min(map(len, groups.values())) < LEAST_GROUPS


def _names(rows: Sequence[Parts], level: int) -> set[str]:
    return {plain_name(folders[level]) for folders in rows if len(folders) > level}
