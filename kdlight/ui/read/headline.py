"""The line over the panes: what is on the screen, what of its file was left behind, what may still name a person."""

from __future__ import annotations

from kdlight.images import Image
from kdlight.modality import MODALITIES
from kdlight.ui import theme, words
from kdlight.ui.read import scans
from kdlight.ui.read.scans import Scan

TALKATIVE = ("ultrasound", "endoscopy", None)
"""Modalities whose devices write into the picture; None: the file does not say what it is."""
SIDES = {"L": "left", "R": "right", "B": "both sides"}
"""Lateralities in words; U, of what is there once, says nothing."""


def scan_line(image: Image, scan: Scan, modality: str | None) -> None:
    """What is on the screen, in one line, with nothing that names a person."""
    parts = [
        MODALITIES[modality].words if modality else "Modality not chosen",
        f"{image.shape[1]} x {image.shape[0]}",
        "color" if image.color else f"{image.bits} bit",
    ]
    if image.frames > 1:
        parts.append(f"frame {image.frame + 1}/{image.frames}")
    if image.spacing and image.spacing_kind != "aspect":
        parts.append(f"{words.number(image.spacing[1])} mm per pixel")
    if image.laterality in SIDES:
        parts.append(SIDES[image.laterality])
    parts += [removal(image), *filter(None, [remaining(image)])]
    caution = f" · {words.safe(scan.caution)}" if scan.caution else ""
    rest = "".join(f" · {words.safe(part)}" for part in parts)
    truth = f' · <span class="kd-strong">Truth: {words.safe(scan.truth)}</span>' if scan.truth else ""
    title = f'<span class="kd-strong">{words.safe(scans.title(scan))}{caution}</span>'
    theme.line(f"{title}{truth}{rest}")


def removal(image: Image) -> str:
    """What was left behind of the file, by what it really had."""
    if not image.removed:
        return "nothing to remove"
    if image.format != "dicom":
        return f"{words.listed(image.removed)} removed"
    return "header names removed" if any(k.endswith("Name") for k in image.removed) else "header identifiers removed"


def remaining(image: Image) -> str:
    """What may still name a person in the pixels themselves; empty where nothing points to it."""
    if image.burned_in:
        return "names are burned into the picture and remain"
    if image.burned_in is None and (image.secondary or image.format != "dicom" or image.modality in TALKATIVE):
        return "text in the picture may remain"
    return ""


def label(image: Image, modality: str | None) -> str:
    """The scan for someone who hears the page."""
    kind = MODALITIES[modality].words if modality else "Scan"
    return f"{kind}, {image.shape[1]} by {image.shape[0]} pixels, frame {image.frame + 1} of {image.frames}"
