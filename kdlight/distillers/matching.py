"""Which feature maps of two networks belong together, whatever their numbers of stages, channels and sizes.

A network is described by the last map of each of its resolutions, as residual networks end their stages. The network
with fewer of them leads: its deepest map goes with the other's deepest, each other one with the map nearest to it in
resolution. A transformer here gives one map, so only the deepest maps of both are paired. The rule is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kdlight.distillers.base import trial
from kdlight.models.base import Classifier


@dataclass(frozen=True, slots=True)
class Stage:
    """A map of a network: its place in the list of features, its channels, pixels of the input per step in it."""

    index: int
    channels: int
    stride: float


def ends(model: Classifier) -> list[Stage]:
    """The last map of each resolution, from the finest to the coarsest."""
    maps, side = trial(model)
    stages = [Stage(i, m.shape[1], side / m.shape[-1]) for i, m in enumerate(maps)]
    return list({stage.stride: stage for stage in stages}.values())


def pairs(student: Classifier, teacher: Classifier) -> list[tuple[Stage, Stage]]:
    """Stages of the student and of the teacher that belong together, from fine to coarse; at least one pair."""
    student_stages, teacher_stages = ends(student), ends(teacher)
    swapped = len(teacher_stages) < len(student_stages)
    few, many = (teacher_stages, student_stages) if swapped else (student_stages, teacher_stages)
    partners = [*(_nearest(stage, many) for stage in few[:-1]), many[-1]]
    matched = zip(few, partners, strict=True)
    return [(b, a) if swapped else (a, b) for a, b in matched]


def _nearest(stage: Stage, among: list[Stage]) -> Stage:
    return min(among, key=lambda other: abs(math.log2(other.stride / stage.stride)))
