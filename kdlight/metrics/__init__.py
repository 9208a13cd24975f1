"""Measures of predicted probabilities with 95 % intervals: NumPy arrays in, plain numbers out."""

from kdlight.metrics.calibration import fit_temperature, softmax
from kdlight.metrics.conformal import conformal_qhat, prediction_sets
from kdlight.metrics.curves import confusion_matrix, reliability_curve, roc_curve
from kdlight.metrics.intervals import Interval, bootstrap_weights, interval
from kdlight.metrics.paired import FlipCounts, agreement, difference, flips, mcnemar
from kdlight.metrics.report import Flip, Measurement, Report, report
from kdlight.metrics.scores import (
    SCORES,
    MetricError,
    Score,
    accuracy,
    auc,
    balanced_accuracy,
    brier,
    ece,
    log_loss,
    macro_f1,
)

__all__ = [
    "SCORES",
    "Flip",
    "FlipCounts",
    "Interval",
    "Measurement",
    "MetricError",
    "Report",
    "Score",
    "accuracy",
    "agreement",
    "auc",
    "balanced_accuracy",
    "bootstrap_weights",
    "brier",
    "conformal_qhat",
    "confusion_matrix",
    "difference",
    "ece",
    "fit_temperature",
    "flips",
    "interval",
    "log_loss",
    "macro_f1",
    "mcnemar",
    "prediction_sets",
    "reliability_curve",
    "report",
    "roc_curve",
    "softmax",
]
