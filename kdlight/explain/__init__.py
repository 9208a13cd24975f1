"""Where a model looked: class activation maps, attributions, and how far such a map can be trusted."""

from kdlight.explain.base import (
    DEFAULT,
    EXPLAINERS,
    Evidence,
    Explainer,
    ExplainError,
    Explanation,
    Progress,
    explain,
    explained,
    explainer,
    explanation,
)
from kdlight.explain.grade import Grade, grade, similarity

__all__ = [
    "DEFAULT",
    "EXPLAINERS",
    "Evidence",
    "ExplainError",
    "Explainer",
    "Explanation",
    "Grade",
    "Progress",
    "explain",
    "explained",
    "explainer",
    "explanation",
    "grade",
    "similarity",
]
