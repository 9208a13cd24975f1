"""captum (BSD-3-Clause, https://captum.ai), an extra: integrated gradients, occlusion and LIME."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from kdlight.explain.registry import ExplainError


def captum() -> Any:
    """captum.attr. Raises ExplainError with the command that installs it."""
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "captum":
            raise
        raise ExplainError("This heat map needs captum, which is not installed; run: pip install captum") from None


@contextmanager
def quiet() -> Iterator[None]:
    """captum announces each hook that it sets, as a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
