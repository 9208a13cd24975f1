"""The schedule of one training: what a recipe says of both models alike."""

from __future__ import annotations

from typing import Annotated, Literal

from kdlight.contracts.options import Option, Settings

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Epochs = Annotated[
    int, Option("Passes over all training images. The best epoch on validation is kept.", ge=1, le=10_000)
]
Rate = Annotated[float, Option("Peak learning rate of AdamW.", ge=1e-7, le=10)]
Smoothing = Annotated[float, Option("Label smoothing of the cross-entropy.", ge=0, le=0.5)]


class ScheduleConfig(Settings):
    """How one model is trained: what the sections of both have in common."""

    epochs: Epochs = 40
    lr: Rate = 2e-3
    weight_decay: Annotated[float, Option("Weight decay of AdamW.", ge=0, le=1)] = 0.02
    batch_size: Annotated[int, Option("Images in one step.", ge=2, le=4096)] = 32
    precision: Annotated[Precision, Option("Number format of the training.")] = "32-true"
    label_smoothing: Smoothing = 0.0
    mixup: Annotated[float, Option("Shape of mixup's Beta distribution; 0 mixes nothing.", ge=0, le=10)] = 0.0
    cutmix: Annotated[
        float, Option("Shape of cutmix's Beta distribution; with mixup one of the two is drawn per batch.", ge=0, le=10)
    ] = 0.0
    swa: Annotated[float, Option("Share of the epochs, from the last, whose weights are averaged.", ge=0, le=0.9)] = 0.0

    @property
    def mixes(self) -> bool:
        """Whether images are blended in pairs."""
        return bool(self.mixup or self.cutmix)
