"""A bundle at work: one image in, a Reading with two opinions out; and how fast, measured honestly."""

from kdlight.inference.eligibility import IneligibleError, eligibility
from kdlight.inference.heatmaps import explain_speed
from kdlight.inference.predictor import Predictor
from kdlight.inference.timing import keep, latency, quiet_latency

__all__ = ["IneligibleError", "Predictor", "eligibility", "explain_speed", "keep", "latency", "quiet_latency"]
