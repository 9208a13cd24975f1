"""From an Image to what a model sees, and the augmentations of training."""

from kdlight.preprocessing.spec import InputSpec

__all__ = ["InputSpec"]
