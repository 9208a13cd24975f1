"""Where a model looked: class activation maps, attributions, and how far such a map can be trusted."""

from kdlight.explain.base import Evidence, Explanation, Progress, explain, explained, explanation
from kdlight.explain.grade import similarity
from kdlight.explain.registry import DEFAULT, EXPLAINERS, Explainer, ExplainError, explainer

__all__ = [
    "DEFAULT",
    "EXPLAINERS",
    "Evidence",
    "ExplainError",
    "Explainer",
    "Explanation",
    "Progress",
    "explain",
    "explained",
    "explainer",
    "explanation",
    "similarity",
]
