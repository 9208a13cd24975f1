"""Facts of what the picture shows and how it lies: body part, view, spacing, orientation. Text is of closed lists."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from kdlight.contracts import anatomy
from kdlight.images.errors import HeaderError
from kdlight.images.header import items, macro, number, numbers, text

LATERALITIES = ("L", "R", "B", "U")
_PROJECTIONS = ("CR", "DX", "RG")
"""Modality codes of pictures through the body without planes of their own."""
_DIRECTIONS = (("R", "L"), ("A", "P"), ("F", "H"))
_PLANES = ("sagittal", "coronal", "axial")
_CENTIMETERS = 3

Spacing = tuple[tuple[float, float] | None, str | None]


def spacing(ds: Dataset, frame: int) -> Spacing:
    """(row, column) spacing and its kind: patient or detector millimeters, or only the aspect of a pixel."""
    if pair := _pair(macro(ds, frame, "PixelMeasuresSequence"), "PixelSpacing"):
        return pair, "patient"
    if pair := _pair(ds, "ImagerPixelSpacing") or _pair(ds, "NominalScannedPixelSpacing"):
        return pair, "detector"
    if pair := _ultrasound(ds):
        return pair, "patient"
    aspect = _pair(ds, "PixelAspectRatio")
    return ((aspect[0] / aspect[1], 1.0), "aspect") if aspect and aspect[0] != aspect[1] else (None, None)


def orientation(ds: Dataset, frame: int) -> str | None:
    """The plane and the directions of rows and columns in the patient, as `axial L/P`; `L/F` where only those stand."""
    cosines = _quiet_numbers(macro(ds, frame, "PlaneOrientationSequence"), "ImageOrientationPatient")
    if len(cosines) == 6 and np.linalg.norm(cosines[:3]) > 0 and np.linalg.norm(cosines[3:]) > 0:
        normal = np.abs(np.cross(cosines[:3], cosines[3:]))
        plane = _PLANES[int(normal.argmax())]
        oblique = "oblique " if normal.max() < 0.95 * np.linalg.norm(normal) else ""
        return f"{oblique}{plane} {_letter(cosines[:3])}/{_letter(cosines[3:])}"
    letters = [str(v).strip().upper() for v in ds.get("PatientOrientation") or []]
    known = len(letters) == 2 and all(v and set(v) <= set("AHLRFP") and len(v) <= 3 for v in letters)
    return "/".join(letters) if known else None


def laterality(ds: Dataset, frame: int) -> str | None:
    values = [text(macro(ds, frame, "FrameAnatomySequence"), "FrameLaterality")]
    values += [text(ds, keyword) for keyword in ("ImageLaterality", "Laterality")]
    return next((v for v in values if v in LATERALITIES), None)


def view(ds: Dataset) -> str | None:
    """A value of VIEWS: View Position, else the view's code, else lateral where a film's rows run front to back."""
    name = anatomy.view_of_term(text(ds, "ViewPosition"))
    for code, scheme in _codes(items(ds, "ViewCodeSequence")):
        name = name or anatomy.view_of_code(code, scheme)
    if name is None and text(ds, "Modality") in _PROJECTIONS:
        rows, _, columns = (orientation(ds, 0) or "").partition("/")
        return "LATERAL" if rows in ("A", "P") and columns in ("F", "H") else None
    return name


def body_part(ds: Dataset, frame: int) -> str | None:
    """A key of BODY_PARTS: of the coded region, the frame's own first, else of Body Part Examined."""
    for place in (macro(ds, frame, "FrameAnatomySequence"), ds):
        for code, scheme in _codes(items(place, "AnatomicRegionSequence")):
            if part := anatomy.body_part_of_code(code, scheme):
                return part
    return anatomy.body_part_of_term(text(ds, "BodyPartExamined"))


def _codes(sequence: list[Dataset]) -> list[tuple[str, str]]:
    """Code value and coding scheme of each item."""
    return [(text(item, "CodeValue"), text(item, "CodingSchemeDesignator")) for item in sequence]


def _pair(ds: Dataset, keyword: str) -> tuple[float, float] | None:
    values = _quiet_numbers(ds, keyword)
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else None


def _quiet_numbers(ds: Dataset, keyword: str) -> list[float]:
    """A broken fact is no fact; the picture does not depend on it."""
    try:
        return numbers(ds, keyword)
    except HeaderError:
        return []


def _ultrasound(ds: Dataset) -> tuple[float, float] | None:
    """Millimeters of the one calibrated region; with several there is no one spacing."""
    regions = items(ds, "SequenceOfUltrasoundRegions")
    try:
        units = [(number(r, "PhysicalUnitsXDirection"), number(r, "PhysicalUnitsYDirection")) for r in regions]
        if units != [(_CENTIMETERS, _CENTIMETERS)]:
            return None
        x, y = number(regions[0], "PhysicalDeltaX"), number(regions[0], "PhysicalDeltaY")
    except HeaderError:
        return None
    return (abs(y) * 10, abs(x) * 10) if x and y else None


def _letter(direction: list[float]) -> str:
    axis = int(np.abs(direction).argmax())
    return _DIRECTIONS[axis][direction[axis] > 0]
