"""The heat map methods: what each is called, who published it, and what it costs. No torch is needed to read this."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from kdlight.options import Declared, declared

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = "multilayer"
"""The method that is shown where nobody chose one."""


class ExplainError(ValueError):
    """A heat map was asked for that cannot be made."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """One heat map method: a function (model, x, class_index, progress, **options) -> Evidence, of a frozen model."""

    name: str
    title: str
    summary: str
    """One or two sentences for a reader who does not know the method."""
    paper: str
    """Authors and year."""
    home: str
    """module:function under kdlight.explain, imported when the method is first used: it brings torch along."""
    gradients: bool = True
    """Whether it takes gradients of the score."""
    cost: Literal["fast", "slow"] = "fast"
    """slow: a map takes seconds rather than a moment, and reports progress."""
    per_class: bool = True
    """Whether the map is another one for another class."""
    signed: bool = True
    """Whether it tells what speaks for the class from what speaks against it."""
    needs: str = ""
    """The package it needs beyond kdlight's own requirements."""

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
        """What the method can be told, as its function declares it. Brings torch along."""
        return declared(self.function)


_ALL = (
    Explainer(
        DEFAULT,
        "Multi-layer",
        "The class map, kept where finer layers have something that speaks for the class too. The most exact of the "
        "maps here on outlined lesions.",
        "kdlight, after Selvaraju et al. 2017 and Jiang et al. 2021",
        "multilayer:multilayer",
    ),
    Explainer(
        "gradcam",
        "Grad-CAM",
        "Weighs each feature by how much the class score follows it.",
        "Selvaraju et al. 2017",
        "gradcam:gradcam",
    ),
    Explainer(
        "gradcam++",
        "Grad-CAM++",
        "Grad-CAM that lets several places that show the class count alike.",
        "Chattopadhay et al. 2018",
        "cam_family:gradcam_plus_plus",
    ),
    Explainer(
        "xgradcam",
        "XGrad-CAM",
        "Grad-CAM whose gradients count more where the feature is strong.",
        "Fu et al. 2020",
        "cam_family:xgradcam",
    ),
    Explainer(
        "hirescam",
        "HiResCAM",
        "Weighs every cell of every feature by its own gradient, not by the mean over the image.",
        "Draelos & Carin 2020",
        "cam_family:hirescam",
    ),
    Explainer(
        "layercam",
        "LayerCAM",
        "What speaks for the class, cell by cell, averaged over coarse and finer layers.",
        "Jiang et al. 2021",
        "cam_family:layercam",
    ),
    Explainer(
        "eigencam",
        "EigenCAM",
        "What the features have most in common, whatever the class: the same map for every answer.",
        "Muhammad & Yeasin 2020",
        "cam_family:eigencam",
        gradients=False,
        per_class=False,
        signed=False,
    ),
    Explainer(
        "ablationcam",
        "Ablation-CAM",
        "Weighs each feature by how far the class score drops without it.",
        "Desai & Ramaswamy 2020",
        "cam_family:ablationcam",
        gradients=False,
        cost="slow",
    ),
    Explainer(
        "scorecam",
        "Score-CAM",
        "Shows the model the image through one feature at a time and weighs it by the class score. Ends when the "
        "features left cannot change the map; large models take the fast way.",
        "Wang et al. 2020",
        "scorecam:scorecam",
        gradients=False,
        cost="slow",
    ),
    Explainer(
        "scorecam-fast",
        "Score-CAM, fast",
        "Score-CAM that scores a few of the features and predicts the others; says how close it is likely to be.",
        "Wang et al. 2020",
        "scorecam:fast",
        gradients=False,
    ),
    Explainer(
        "scorecam-exact",
        "Score-CAM, every mask",
        "Score-CAM that scores every feature however long it takes: the grad-cam package's map.",
        "Wang et al. 2020",
        "scorecam:exact",
        gradients=False,
        cost="slow",
    ),
    Explainer(
        "cam",
        "Class map",
        "The last linear layer's weights applied to the features. Fastest; only for models that pool right before it.",
        "Zhou et al. 2016",
        "classmap:cam",
        gradients=False,
    ),
    Explainer(
        "occlusion",
        "Occlusion",
        "Hides one square of the image after the other and measures how far the score drops.",
        "Zeiler & Fergus 2014",
        "perturbations:occlusion",
        gradients=False,
        cost="slow",
        needs="captum",
    ),
    Explainer(
        "saliency",
        "Saliency",
        "How strongly the score follows each pixel, for or against.",
        "Simonyan et al. 2014",
        "gradients:saliency",
        signed=False,
    ),
    Explainer(
        "ixg",
        "Input x gradient",
        "Each pixel's value times how strongly the score follows it.",
        "Shrikumar et al. 2016",
        "gradients:input_x_gradient",
    ),
    Explainer(
        "guided",
        "Guided backprop",
        "The gradient with everything that speaks against left out at each activation. Sharp, but close to an edge "
        "detector: it depends little on the class.",
        "Springenberg et al. 2015",
        "gradients:guided_backprop",
    ),
    Explainer(
        "ig",
        "Integrated gradients",
        "Adds up gradients on the way from a plain gray image to this one.",
        "Sundararajan et al. 2017",
        "gradients:integrated_gradients",
        cost="slow",
        needs="captum",
    ),
    Explainer(
        "deeplift",
        "DeepLIFT",
        "Splits the score's difference to that of a plain gray image among the pixels.",
        "Shrikumar et al. 2017",
        "gradients:deeplift",
    ),
    Explainer(
        "lime",
        "LIME",
        "Hides random sets of squares and fits a sparse linear model to the scores.",
        "Ribeiro et al. 2016",
        "perturbations:lime",
        gradients=False,
        cost="slow",
        needs="captum",
    ),
)
EXPLAINERS: dict[str, Explainer] = {method.name: method for method in _ALL}


def explainer(name: str) -> Explainer:
    """Look a method up. Raises ExplainError that names the known ones."""
    if name not in EXPLAINERS:
        raise ExplainError(f"Unknown heat map method {name!r}; one of {', '.join(EXPLAINERS)} was expected.")
    return EXPLAINERS[name]
