"""Where a model looked: class activation maps, attributions, and how far such a map can be trusted."""

from kdlight.explain.base import (
    EXPLAINERS,
    Explainer,
    ExplainError,
    Progress,
    enlarged,
    explain,
    explain_with_note,
    explainer,
)
from kdlight.explain.grade import Grade, grade, similarity

__all__ = [
    "EXPLAINERS",
    "ExplainError",
    "Explainer",
    "Grade",
    "Progress",
    "enlarged",
    "explain",
    "explain_with_note",
    "explainer",
    "grade",
    "similarity",
]
