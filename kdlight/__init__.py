"""kdlight: light medical image classifiers by knowledge distillation."""

__version__ = "0.1.0"
