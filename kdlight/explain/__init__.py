"""Where a model looked: class activation maps, and how far such a map can be trusted."""

from kdlight.explain.base import EXPLAINERS, Explainer, ExplainError, Progress, explain, explainer
from kdlight.explain.grade import Grade, grade, similarity

__all__ = [
    "EXPLAINERS",
    "ExplainError",
    "Explainer",
    "Grade",
    "Progress",
    "explain",
    "explainer",
    "grade",
    "similarity",
]
