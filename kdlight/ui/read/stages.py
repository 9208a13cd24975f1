"""The preprocessing of a bundle, stage by stage: the scan before and after each, for whoever wants to see it."""

from __future__ import annotations

import numpy as np
import PIL.Image
import streamlit as st

from kdlight.bundle import Bundle
from kdlight.images import Image
from kdlight.preprocessing import STAGES
from kdlight.ui import theme, words
from kdlight.ui.markup import Markup, put, write

VISIBLE = 8
"""Gray levels by which a pixel must change in some channel to be counted as changed."""


def offer(image: Image, bundle: Bundle | None) -> None:
    """A button where the bundle's models see a scan only after further stages; nothing for the others."""
    if bundle is None or not bundle.spec.stages:
        return
    if st.button("See the preprocessing", icon=":material/compare:", width="stretch"):
        show(image, bundle)


@st.dialog("What the models see", width="large", icon=":material/compare:")
def show(image: Image, bundle: Bundle) -> None:
    """One stage at a time, before and after, in the model's own pixels."""
    steps = list(bundle.spec.steps(image))
    names = {
        name: f"{number}. {STAGES[name].title if name in STAGES else 'Resized'}"
        for number, (name, _) in enumerate(steps, start=1)
    }
    chosen = st.segmented_control(
        "Stage", list(names), default=bundle.spec.stages[0], format_func=names.__getitem__, required=True
    )
    index = list(names).index(chosen)
    before, after = steps[max(0, index - 1)][1], steps[index][1]
    if index:
        put(write('<div class="kd-stages">{}{}</div>', _figure(before, "Before"), _figure(after, "After")))
    else:
        put(_figure(after, f"Resized to {bundle.spec.size} px"))
    last = (
        f"{len(steps) + 1}. Normalized: the mean is taken off each channel and the rest divided by the deviation, "
        "which changes the numbers and not the picture."
    )
    for text in (sentence(chosen, before, after, bundle.spec.size), last):
        put(write('<div class="kd-stage-words">{}</div>', text))


def sentence(name: str, before: np.ndarray, after: np.ndarray, size: int) -> str:
    """What the stage is for and how much it did to this scan."""
    if name not in STAGES:
        return f"The scan at the size that the models were trained on: {size} x {size} pixels."
    apart = np.abs(after.astype(np.int64) - before).max(axis=2)
    changed = apart >= VISIBLE
    if not changed.any():
        return f"{STAGES[name].summary} There was nothing to do here."
    share, levels = float(changed.mean()), float(apart[changed].mean())
    return (
        f"{STAGES[name].summary} Here it changed {words.percent(share)} of the pixels, "
        f"those by {words.number(levels, 2)} of 255 levels on average."
    )


def _figure(pixels: np.ndarray, caption: str) -> Markup:
    source = theme.png_address(PIL.Image.fromarray(pixels))
    return write(
        '<figure class="kd-stage"><img src="{0}" alt="{1}: the scan as the models see it at this point">'
        "<figcaption>{1}</figcaption></figure>",
        source,
        caption,
    )
