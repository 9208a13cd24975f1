"""Light medical image classifiers by knowledge distillation: teacher and student, side by side.

What a notebook user types first is here; each is looked up at its first use, so that `import kdlight` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdlight.bundle import load
    from kdlight.contracts.recipe import read_recipe
    from kdlight.data import open_dataset
    from kdlight.images import read
    from kdlight.inference import Predictor
    from kdlight.inference.evaluate import evaluate
    from kdlight.models import create_model
    from kdlight.studies.run import study
    from kdlight.training import train

__version__ = "0.1.0"
__all__ = ["Predictor", "create_model", "evaluate", "load", "open_dataset", "read", "read_recipe", "study", "train"]

_HOMES = {
    "Predictor": "kdlight.inference",
    "create_model": "kdlight.models",
    "evaluate": "kdlight.inference.evaluate",
    "load": "kdlight.bundle",
    "open_dataset": "kdlight.data",
    "read": "kdlight.images",
    "read_recipe": "kdlight.contracts.recipe",
    "study": "kdlight.studies.run",
    "train": "kdlight.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"kdlight has no {name!r}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
