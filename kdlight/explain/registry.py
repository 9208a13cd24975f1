"""The heat map methods: what each is called, who published it, and what it costs. No torch is needed to read this."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal

from kdlight.contracts.options import Declared, Option, Settings, declared

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = "multilayer"
"""The method that is shown where nobody chose one."""


class ExplainError(ValueError):
    """A heat map was asked for that cannot be made."""


AT = 224
"""Side of the input in pixels that windows and strides are given at; other sides keep the proportion. That is ours."""


class Path(Settings):
    """From a plain gray image to this one."""

    steps: Annotated[int, Option("Steps on the way; the study takes 50.", ge=10, le=500)] = 50


class Window(Settings):
    """A square that is moved over the image."""

    window: Annotated[
        int, Option(f"Side of the hidden square at {AT} px, as in the study.", ge=1, le=AT, unit="px")
    ] = 15
    stride: Annotated[int, Option(f"From one square to the next at {AT} px.", ge=1, le=AT, unit="px")] = 8


class Squares(Settings):
    """A grid of squares in the place of the paper's superpixels; ours."""

    grid: Annotated[int, Option("Squares along each side.", ge=2, le=32)] = 8
    samples: Annotated[int, Option("Random sets of squares that are hidden.", ge=32, le=8192)] = 256


@dataclass(frozen=True, slots=True)
class Explainer:
    """One heat map method: a function (model, x, class_index, progress, **options) -> Evidence, of a frozen model."""

    name: str
    title: str
    home: str
    """module:function under kdlight.explain, imported when the method is first used: it brings torch along."""
    paper: str
    """Authors and year."""
    summary: str
    """One or two sentences for a reader who does not know the method."""
    gradients: bool = True
    """Whether it takes gradients of the score."""
    cost: Literal["fast", "slow"] = "fast"
    """slow: a map takes seconds rather than a moment, and reports progress."""
    needs: str = ""
    """The package it needs beyond kdlight's own requirements."""
    settings: type[Settings] = Settings
    """The options that the function takes."""

    @property
    def available(self) -> bool:
        return not self.needs or find_spec(self.needs) is not None

    @property
    def function(self) -> Callable[..., Any]:
        module, name = self.home.split(":")
        function: Callable[..., Any] = getattr(import_module(f"kdlight.explain.{module}"), name)
        return function

    @property
    def options(self) -> tuple[Declared, ...]:
        """What the method can be told."""
        return declared(self.settings)


# fmt: off
_ALL = (
    Explainer(DEFAULT, "Multi-layer", "multilayer:multilayer",
              "kdlight, after Selvaraju et al. 2017 and Jiang et al. 2021",
              "The class map, kept where finer layers have something that speaks for the class too. The most exact of "
              "the maps here on outlined lesions."),
    Explainer("gradcam", "Grad-CAM", "cam_family:gradcam", "Selvaraju et al. 2017",
              "Weighs each feature by how much the class score follows it."),
    Explainer("gradcam++", "Grad-CAM++", "cam_family:gradcam_plus_plus", "Chattopadhay et al. 2018",
              "Grad-CAM that lets several places that show the class count alike."),
    Explainer("xgradcam", "XGrad-CAM", "cam_family:xgradcam", "Fu et al. 2020",
              "Grad-CAM whose gradients count more where the feature is strong."),
    Explainer("hirescam", "HiResCAM", "cam_family:hirescam", "Draelos & Carin 2020",
              "Weighs every cell of every feature by its own gradient, not by the mean over the image."),
    Explainer("layercam", "LayerCAM", "cam_family:layercam", "Jiang et al. 2021",
              "What speaks for the class, cell by cell, averaged over coarse and finer layers."),
    Explainer("eigencam", "EigenCAM", "cam_family:eigencam", "Muhammad & Yeasin 2020",
              "What the features have most in common, whatever the class: the same map for every answer.",
              gradients=False),
    Explainer("ablationcam", "Ablation-CAM", "cam_family:ablationcam", "Desai & Ramaswamy 2020",
              "Weighs each feature by how far the class score drops without it: at once for models that pool right "
              "before their last layer.", gradients=False, cost="slow"),
    Explainer("scorecam", "Score-CAM", "scorecam:scorecam", "Wang et al. 2020",
              "Shows the model the image through one feature at a time and weighs it by the class score. Ends when the "
              "features left cannot change the map; large models take the fast way.", gradients=False, cost="slow"),
    Explainer("scorecam-fast", "Score-CAM, fast", "scorecam:fast", "Wang et al. 2020",
              "Score-CAM that scores a few of the features and predicts the others; says how close it is likely to be.",
              gradients=False),
    Explainer("scorecam-exact", "Score-CAM, every mask", "scorecam:exact", "Wang et al. 2020",
              "Score-CAM that scores every feature however long it takes: the grad-cam package's map.",
              gradients=False, cost="slow"),
    Explainer("cam", "Class map", "classmap:cam", "Zhou et al. 2016",
              "The last linear layer's weights applied to the features. Fastest; only for models that pool right "
              "before it.", gradients=False),
    Explainer("occlusion", "Occlusion", "captum:occlusion", "Zeiler & Fergus 2014",
              "Hides one square of the image after the other and measures how far the score drops.",
              gradients=False, cost="slow", needs="captum", settings=Window),
    Explainer("saliency", "Saliency", "gradients:saliency", "Simonyan et al. 2014",
              "How strongly the score follows each pixel, for or against."),
    Explainer("ixg", "Input x gradient", "gradients:input_x_gradient", "Shrikumar et al. 2016",
              "Each pixel's value times how strongly the score follows it."),
    Explainer("guided", "Guided backprop", "gradients:guided_backprop", "Springenberg et al. 2015",
              "The gradient with everything that speaks against left out at each activation. Sharp, but close to an "
              "edge detector: it depends little on the class."),
    Explainer("ig", "Integrated gradients", "captum:integrated_gradients", "Sundararajan et al. 2017",
              "Adds up gradients on the way from a plain gray image to this one.", cost="slow", needs="captum",
              settings=Path),
    Explainer("deeplift", "DeepLIFT", "gradients:deeplift", "Shrikumar et al. 2017",
              "Splits the score's difference to that of a plain gray image among the pixels."),
    Explainer("lime", "LIME", "captum:lime", "Ribeiro et al. 2016",
              "Hides random sets of squares and fits a sparse linear model to the scores.",
              gradients=False, cost="slow", needs="captum", settings=Squares),
)
# fmt: on
EXPLAINERS: dict[str, Explainer] = {method.name: method for method in _ALL}


def explainer(name: str) -> Explainer:
    """Look a method up. Raises ExplainError that names the known ones."""
    if name not in EXPLAINERS:
        raise ExplainError(f"Unknown heat map method {name!r}; one of {', '.join(EXPLAINERS)} was expected.")
    return EXPLAINERS[name]
