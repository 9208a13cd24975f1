"""Distillation methods by name. A new one is one file here and one line in METHODS."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kdlight.contracts.options import declared
from kdlight.distillers.acid import ACID
from kdlight.distillers.alone import Alone
from kdlight.distillers.attention import Attention
from kdlight.distillers.auc_margin import AUCMargin
from kdlight.distillers.base import Batch, Distiller, View
from kdlight.distillers.crckd import CRCKD
from kdlight.distillers.crd import CRD
from kdlight.distillers.dist import DIST
from kdlight.distillers.dkd import DKD
from kdlight.distillers.dual import Dual
from kdlight.distillers.efcm import EFCM
from kdlight.distillers.feature import FeatureKD
from kdlight.distillers.fitnet import FitNet
from kdlight.distillers.kd import KD
from kdlight.distillers.logit_standard import LogitStandard
from kdlight.distillers.look_alike import LookAlike
from kdlight.distillers.mse import MSE
from kdlight.distillers.rkd import RKD
from kdlight.distillers.self_training import SelfTraining
from kdlight.distillers.ssd_kd import SSDKD
from kdlight.models.base import Classifier

__all__ = ["METHODS", "Batch", "Distiller", "View", "create_distiller"]

METHODS: dict[str, type[Distiller]] = {
    m.name: m for m in (Alone, KD, DKD, FeatureKD, LookAlike, MSE, DIST, LogitStandard, RKD, Attention, FitNet, CRD)
} | {m.name: m for m in (SSDKD, CRCKD, EFCM, AUCMargin, SelfTraining, ACID, Dual)}


def create_distiller(
    method: str,
    student: Classifier,
    teacher: Classifier | None,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    focal: float = 0.0,
    **options: Any,
) -> Distiller:
    """Build a method by its name; `options` are its own.

    Raises ValueError for an unknown method or option, a value that is not as declared, or a task that the method is
    not defined for.
    """
    return find(method)(student, teacher, class_weights, label_smoothing, focal, **options)


def find(method: str) -> type[Distiller]:
    """The class of a method. Raises ValueError that names the known ones."""
    if method not in METHODS:
        raise ValueError(f"Unknown distillation method {method!r}; one of {', '.join(METHODS)} was expected.")
    return METHODS[method]


def hyperparameters(kind: type[Distiller]) -> dict[str, Any]:
    """The method's options with their defaults, in the order of their declaration."""
    return {option.name: option.default for option in declared(kind)}
