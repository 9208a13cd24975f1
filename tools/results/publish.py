"""What of a study's record may be published, and where it is put."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdlight import storage
from kdlight.studies import StudyRecord, read
from kdlight.studies.gains import FREE

OWN_START = ("general", "published")
"""student.init of first weights that are the student's own, not taken from this study's teacher."""


def publish(record: StudyRecord, folder: Path) -> Path:
    """Write a record into `folder` without anything of the machine; one of the same system and set is replaced."""
    name = record.recipe if record.set_name in record.recipe else f"{record.recipe}-{record.set_name}"
    first = [record.init] if record.init in OWN_START else []
    folds = [f"{record.folds}-folds"] if record.folds else []
    base = "-".join(filter(None, [name, *first, record.method.name, *folds]))
    number = 1
    while True:
        path = folder / (f"{base}.json" if number == 1 else f"{base}-{number}.json")
        if not path.is_file() or _replaces(record, read(path)):
            storage.write_json(path, portable(record.to_json()))
            return path
        number += 1


def _replaces(one: StudyRecord, other: StudyRecord) -> bool:
    """Whether both are of one recipe, set, pair, method with its options and size, and tell the same settings, as far
    as both tell them and they do not only say which seeds and baselines were run."""
    settings = [
        {(section, key): portable(value) for section, of in record.settings.items() for key, value in of.items()}
        for record in (one, other)
    ]
    both = settings[0].keys() & settings[1].keys() - {("train", key) for key in FREE}
    return _what(one) == _what(other) and all(settings[0][key] == settings[1][key] for key in both)


def _what(record: StudyRecord) -> str:
    pair = record.models.teacher.architecture, record.models.student.architecture
    method = record.method.name, portable(record.method.options)
    return json.dumps(
        [record.recipe, record.set_name, *pair, *method, record.init, record.data.size, record.folds], sort_keys=True
    )


def portable(value: Any) -> Any:
    """Without folders of the machine that made it, numbers to six digits."""
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, str) and value.startswith(("/", "~", "\\")):
        return Path(value.replace("\\", "/")).name
    return value
