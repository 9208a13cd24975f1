"""One owner of a run: a recipe becomes data, a teacher, students, their measurements and a bundle."""

from kdlight.training.data import Arrays, RunData, open_set, prepare
from kdlight.training.result import PREDICTIONS
from kdlight.training.run import execute

train = execute

__all__ = ["PREDICTIONS", "Arrays", "RunData", "execute", "open_set", "prepare", "train"]
