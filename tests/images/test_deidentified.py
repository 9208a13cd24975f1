"""Nothing that names a person, a place or a time leaves the room: not in facts, not in errors, not in a repr."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from kdlight.images import ImageError, read

Make = Callable[..., bytes]
SECRET = "ZQXJANE"
PERSONAL = {
    "PatientName": f"{SECRET}^DOE",
    "PatientID": SECRET,
    "PatientBirthDate": "19700101",
    "PatientAge": "056Y",
    "PatientComments": SECRET,
    "StudyDate": "20200202",
    "StudyDescription": SECRET,
    "SeriesDescription": SECRET,
    "AccessionNumber": SECRET,
    "InstitutionName": SECRET,
    "ReferringPhysicianName": SECRET,
    "OperatorsName": SECRET,
    "StationName": SECRET,
    "ImageComments": SECRET,
    "StudyInstanceUID": "1.2.3.19700101",
    "WindowCenterWidthExplanation": SECRET,
}


def words(image_bytes: bytes) -> str:
    """All that can be had of a file as text."""
    try:
        image = read(image_bytes)
    except ImageError as error:
        return f"{error} {error!r} {error.__cause__!r} {error.reason}"
    return f"{image!r} {image.facts!r} {json.dumps(asdict(image.facts))}"


def test_names_dates_and_ids_are_dropped_and_their_keywords_told(make: Make, ramp: np.ndarray) -> None:
    data = make(ramp, WindowCenter=100, WindowWidth=200, **PERSONAL)
    image = read(data)
    assert set(PERSONAL) <= set(image.removed)
    assert "SOPClassUID" not in image.removed
    for value in (SECRET, "19700101", "20200202", "056Y"):
        assert value not in words(data)


def test_names_in_sequences_and_private_elements_are_dropped(make: Make, ramp: np.ndarray) -> None:
    inner = Dataset()
    inner.PatientName = SECRET
    data = make(ramp, RequestAttributesSequence=[inner], PerformedProcedureStepDescription=SECRET)
    ds_bytes = data.replace(b"\xe0\x7f\x10\0OB", b"\x41\0\x10\0LO\x08\0" + SECRET.encode() + b" " + b"\xe0\x7f\x10\0OB")
    image = read(ds_bytes)
    assert {"RequestAttributesSequence", "PrivateElements"} <= set(image.removed)
    assert SECRET not in words(ds_bytes)


READ_AS_TEXT = ["Modality", "PhotometricInterpretation", "ImageLaterality", "Laterality", "ViewPosition"]
READ_AS_TEXT += ["PatientOrientation", "VOILUTFunction", "RescaleType", "BurnedInAnnotation", "BodyPartExamined"]


@pytest.mark.parametrize("keyword", READ_AS_TEXT)
def test_a_name_in_an_element_that_is_read_does_not_pass(make: Make, ramp: np.ndarray, keyword: str) -> None:
    value: Any = [SECRET, SECRET] if keyword == "PatientOrientation" else SECRET
    assert SECRET not in words(make(ramp, WindowCenter=100, WindowWidth=200, **{keyword: value}))


NUMERIC = ["NumberOfFrames", "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelSpacing"]


@pytest.mark.parametrize("keyword", NUMERIC)
def test_a_name_where_a_number_should_be_does_not_pass(make: Make, ramp: np.ndarray, keyword: str) -> None:
    vr = dictionary_VR(keyword)
    number = "1234567" if vr == "IS" else "1234.25"
    plain = make(ramp, **{keyword: [number] * (2 if keyword == "PixelSpacing" else 1)})
    assert number.encode() in plain
    assert SECRET not in words(plain.replace(number.encode(), SECRET.encode()))


@given(st.integers(0, 10_000), st.integers(0, 1))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_name_written_over_any_place_does_not_pass(make: Make, place: int, shift: int) -> None:
    data = make(np.zeros((4, 4), np.uint8), Modality="MR", StudyDate="20200202", WindowCenter=1, WindowWidth=2)
    at = 132 + (place + shift) % (len(data) - 132 - len(SECRET))
    assert SECRET not in words(data[:at] + SECRET.encode() + data[at + len(SECRET) :])
