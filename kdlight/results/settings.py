"""Everything of a recipe that a result hangs on, as a record keeps it: no file, no folder, nothing of the machine."""

from __future__ import annotations

from typing import Any

from kdlight.config import Recipe

DATA = ("size", "window", "fit", "stages", "val", "test", "labeled", "split_seed", "augmentation")
"""Of [data] what changes the pictures, their splits or their labels."""
OF_THE_MACHINE = {"teacher": ("weights",), "student": ("weights",), "train": ("threads",)}


def settings(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The sections data, teacher, student and train by key. The method stands with its options in the record itself."""
    sections = {
        name: {key: value for key, value in getattr(recipe, name).model_dump().items() if key not in left_out}
        for name, left_out in OF_THE_MACHINE.items()
    }
    data = {key: getattr(recipe.data, key) for key in DATA}
    return {"data": {**data, "stages": list(data["stages"])}, **sections}
