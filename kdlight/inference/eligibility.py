"""Whether a bundle was made for such an image, and how far ahead a class must be. The rest is read once confirmed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from kdlight.bundle import Card
from kdlight.contracts import anatomy
from kdlight.contracts.modality import modality as find_modality
from kdlight.contracts.reading import Eligibility, Misfit, MisfitKind, Role, Withheld
from kdlight.images import Image
from kdlight.trust.belonging import TINT, Judgment, tints

CONTRAST = 5
"""Difference between the brightest and the darkest pixel, of 255, below which a picture is blank. The limit is ours."""

LEAST = 0.02
"""Smallest margin, however well calibrated a model is: two classes that both read 50 % in whole percent. Ours."""
UNKNOWN = 0.2
"""Margin of a model whose calibration error nobody measured. Ours."""


class IneligibleError(ValueError):
    """The bundle was not made for such a file, and nobody confirmed that it is to be read anyway."""

    def __init__(self, reasons: tuple[str, ...], withheld: Withheld | None = None) -> None:
        super().__init__(" ".join((*reasons, "Confirm (--anyway) to read it nevertheless.")))
        self.reasons, self.withheld = reasons, withheld


def eligibility(card: Card, image: Image, modality: str | None = None, confirmed: bool = False) -> Eligibility:
    """Whether a bundle covers an image. `modality` is what the person chose; the file's own word counts as well.

    A modality, body part or view that nobody stated is no reason. Raises ValueError for an unknown modality.
    """
    found = (
        *_modality_reasons(card, image, modality),
        *_anatomy_reasons(card, image),
        *_pixel_reasons(card, image),
    )
    misfits, reasons = tuple(Misfit(kind) for kind, _ in found), tuple(words for _, words in found)
    return Eligibility(not reasons, reasons, confirmed and bool(reasons), misfits)


def judged_too(card: Card, stated: Eligibility, judgment: Judgment, confirmed: bool) -> Eligibility:
    """Eligibility by file and pixels, with what the student's features say of the image."""
    reasons = (*stated.reasons, *(_in_words(card, misfit) for misfit in judgment.misfits))
    misfits = (*stated.misfits, *judgment.misfits)
    return Eligibility(not reasons, reasons, confirmed and bool(reasons), misfits, judgment.distance)


COPIES: dict[MisfitKind, str] = {
    "turned": "turned by 90 degrees",
    "upside_down": "upside down",
    "mirrored": "mirrored",
    "inverted": "inverted: dark and bright are exchanged",
    "swapped_channels": "wrong in color: red and blue are exchanged",
}


def _in_words(card: Card, misfit: Misfit) -> str:
    """What the features say, as a sentence."""
    if misfit.kind in COPIES:
        return f"It seems to be {COPIES[misfit.kind]} (probability {misfit.value or 0:.2f})."
    known = card.belonging
    share = f" than {known.level:.1%} of {card.name}'s own {known.n} held-out images" if known else ""
    return f"It is farther{share}: distance {misfit.value or 0:.2f}, at most {misfit.limit or 0:.2f} belongs."


Found = Iterator[tuple[MisfitKind, str]]
"""What keeps an image from a bundle, and the sentence for it."""


def _modality_reasons(card: Card, image: Image, chosen: str | None) -> Found:
    covered = [find_modality(name) for name in card.modalities]
    words = " and ".join(m.words for m in covered)
    for name, opening in ((image.modality, "By its header this file is"), (chosen, "You chose")):
        if name is not None and find_modality(name) not in covered:
            yield "modality", f"{opening} {find_modality(name).words}; {card.name} was trained on {words}."


def _anatomy_reasons(card: Card, image: Image) -> Found:
    parts, views = card.eligibility.body_parts, card.eligibility.views
    stated = image.body_part
    if parts and stated is not None and not any(anatomy.may_show(stated, part) for part in parts):
        words = " or ".join(anatomy.body_part(part).words for part in parts)
        shown = f"By its header this file shows {anatomy.body_part(stated).words}"
        yield "body_part", f"{shown}; {card.name} was trained on images of {words}."
    if views and image.view is not None and image.view not in views:
        trained = " and ".join(views)
        yield "view", f"By its header this view is {image.view}; {card.name} was trained on {trained}."


def _pixel_reasons(card: Card, image: Image) -> Found:
    side, smallest = card.eligibility.min_side, min(image.shape)
    if smallest < side:
        size = f"The image is {image.shape[1]} x {image.shape[0]} pixels"
        yield "size", f"{size}; at least {side} on each side were expected."
    seen = card.input.picture(image)
    if np.ptp(image.pixels) == 0:
        yield "blank", "Every pixel has the same value: there is nothing to read."
    elif np.ptp(seen) < CONTRAST:
        yield "blank", "In its display window every pixel has nearly the same gray: there is nothing to read."
    wanted = card.eligibility.color
    if wanted is None and card.belonging is not None and card.belonging.gray:
        wanted = False
    if wanted is not None and wanted != _tinted(seen):
        kinds = ("gray", "in color") if wanted else ("in color", "gray")
        yield "color", f"The image is {kinds[0]}; {card.name} was trained on images that are {kinds[1]}."


def _tinted(seen: np.ndarray) -> bool:
    """Whether there is color in what the model sees, however the file stores it: uint8 (H, W) or (H, W, 3)."""
    if seen.ndim == 2:
        return False
    return bool(tints(seen[None])[0] > TINT)


def margin(card: Card, role: Role) -> float:
    """Lead of the first class over the second, 0 to 1, below which the answer is undecided.

    Twice the expected calibration error on held-back images: that much taken from the first class and given to the
    second closes a lead of twice as much. Ours; on the validation images of the shipped bundles undecided answers are
    right about half of the time, the others far more.
    """
    ece = card.metrics.of(role).ece
    return max(LEAST, 2.0 * ece.value) if ece and math.isfinite(ece.value) else UNKNOWN
