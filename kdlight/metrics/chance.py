"""Whether a model is better than chance on its test images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def chance_level(report: Mapping[str, Any]) -> float | None:
    """Balanced accuracy of a model that gives every image the same answer: 1 / classes that the test has images of.

    report: as `kdlight.metrics.report` gives it. None where it does not tell the recalls.
    """
    present = [name for name, recall in (report.get("recall") or {}).items() if recall is not None]
    return 1 / len(present) if present else None


def beats_chance(report: Mapping[str, Any]) -> bool | None:
    """Whether the 95 % interval of the balanced accuracy lies above `chance_level`; without an interval, the value.

    An interval that reaches down to chance counts as chance: such a model was not shown to have learned anything, be it
    for a bad training or for too small a test. None where the report does not say.
    """
    level, found = chance_level(report), report.get("balanced_accuracy")
    if level is None or not found or found.get("value") is None:
        return None
    low = found["value"] if found.get("low") is None else found["low"]
    return bool(low > level)
