"""From an Image to what a model sees, and the augmentations of training."""

from kdlight.preprocessing.spec import InputSpec
from kdlight.preprocessing.stages import STAGES, Stage

__all__ = ["STAGES", "InputSpec", "Stage"]
