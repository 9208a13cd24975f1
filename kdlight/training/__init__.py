"""One owner of a run: a recipe becomes data, a teacher, students, their measurements and a bundle."""

from kdlight.training.data import Arrays, RunData, open_set, prepare
from kdlight.training.phases import BASELINES
from kdlight.training.result import PREDICTIONS, RunResult
from kdlight.training.run import complete, execute, open_run, train

__all__ = ["BASELINES", "PREDICTIONS", "Arrays", "RunData", "RunResult"]
__all__ += ["complete", "execute", "open_run", "open_set", "prepare", "train"]
