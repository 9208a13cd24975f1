"""Which files are pictures of a screen, a film or a document, where text often stays in the pixels."""

from __future__ import annotations

import io

import pydicom
import pytest
from pydicom.data import get_testdata_file

from kdlight.images import read


def changed(**elements: str) -> bytes:
    """A small CT with some elements of its header changed."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("elements", "secondary"),
    [
        ({}, False),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4"}, False),
        ({"ConversionType": "DF"}, True),
        ({"ConversionType": "SYN"}, False),
    ],
)
def test_a_secondary_capture_is_known_by_its_class_or_its_conversion(elements: dict[str, str], secondary: bool) -> None:
    image = read(changed(**elements))
    assert image.secondary is secondary
    assert image.facts.secondary is secondary
