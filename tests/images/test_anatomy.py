"""What part of the body a file shows, and from which side: terms, codes, frames of their own, and other texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from kdlight.contracts import anatomy
from kdlight.images import read

Make = Callable[..., bytes]


def coded(value: str, scheme: str) -> Sequence:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, "ZQXJANE"
    return Sequence([ds])


@pytest.mark.parametrize(
    ("term", "part"),
    [
        ("CHEST", "chest"),
        ("chest pa", "chest"),
        ("THORAX", "chest"),
        ("LUNG", "chest"),
        ("HEART", "chest"),
        ("BRAIN", "head"),
        ("SKULL", "head"),
        ("CSPINE", "spine"),
        ("C-SPINE", "spine"),
        ("L SPINE", "spine"),
        ("KNEE", "leg"),
        ("FOOT LEFT", "leg"),
        ("LOW_EXM", "leg"),
        ("HAND", "arm"),
        ("EXTREMITY", "extremity"),
        ("BREAST", "breast"),
        ("ABDOMEN", "abdomen"),
        ("CHESTABDOMEN", "trunk"),
        ("ABDOMEN AND PELVIS", "trunk"),
        ("WHOLEBODY", "body"),
        ("HEADNECK", "head_neck"),
        ("", None),
        ("ZQXJANE DOE", None),
        ("HEAD FOOT", None),
    ],
)
def test_a_term_becomes_a_part_or_nothing(make: Make, ramp: np.ndarray, term: str, part: str | None) -> None:
    assert anatomy.body_part_of_term(term) == part
    if len(term) <= 16 and re.fullmatch("[A-Z_ ]+", term):
        image = read(make(ramp, BodyPartExamined=term))
        assert (image.body_part, image.facts.body_part) == (part, part)


@pytest.mark.parametrize(
    ("code", "scheme", "part"),
    [
        ("816094009", "SCT", "chest"),
        ("T-D3000", "SRT", "chest"),
        ("12738006", "SCT", "head"),
        ("T-04000", "SNM3", "breast"),
        ("T-D9200", "99SDM", "leg"),
        ("T-D3000", "99MINE", None),
        ("ZQXJANE", "SCT", None),
    ],
)
def test_a_code_becomes_a_part_or_nothing(
    make: Make, ramp: np.ndarray, code: str, scheme: str, part: str | None
) -> None:
    image = read(make(ramp, AnatomicRegionSequence=coded(code, scheme)))
    assert image.body_part == part
    assert "ZQXJANE" not in repr(image.facts) + repr(image)


def test_a_code_goes_before_a_term_and_the_frame_before_the_file(make: Make) -> None:
    both: dict[str, Any] = {"BodyPartExamined": "CHEST", "AnatomicRegionSequence": coded("T-D9200", "SRT")}
    frames = np.zeros((2, 4, 4), np.uint8)
    assert read(make(frames, NumberOfFrames=2, **both)).body_part == "leg"
    groups = []
    for code in ("T-04000", "T-D1100"):
        region, group = Dataset(), Dataset()
        region.AnatomicRegionSequence = coded(code, "SRT")
        group.FrameAnatomySequence = Sequence([region])
        groups.append(group)
    data = make(frames, NumberOfFrames=2, PerFrameFunctionalGroupsSequence=Sequence(groups), **both)
    assert [read(data, frame).body_part for frame in (0, 1)] == ["breast", "head"]


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "PA"}, "PA"),
        ({"ViewPosition": "LAT"}, "LATERAL"),
        ({"ViewPosition": "ZQXJANE"}, None),
        ({"ViewCodeSequence": coded("399348003", "SCT")}, "AP"),
        ({"ViewCodeSequence": coded("R-10236", "SRT")}, "LL"),
        ({"Modality": "CR", "PatientOrientation": ["A", "F"]}, "LATERAL"),
        ({"Modality": "CR", "PatientOrientation": ["L", "F"]}, None),
        ({"Modality": "MG", "PatientOrientation": ["A", "F"]}, None),
        ({"Modality": "CR", "PatientOrientation": ["A", "F"], "ViewPosition": "PA"}, "PA"),
    ],
)
def test_the_view_is_stated_coded_or_seen_in_the_orientation(
    make: Make, ramp: np.ndarray, elements: dict[str, Any], view: str | None
) -> None:
    assert read(make(ramp, **elements)).view == view


def test_parts_are_looked_up_and_may_hold_one_another() -> None:
    with pytest.raises(ValueError, match=r"Unknown body part 'toe'; one of head, .* was expected"):
        anatomy.body_part("toe")
    assert anatomy.may_show("chest", "chest")
    assert anatomy.may_show("trunk", "chest")
    assert anatomy.may_show("body", "head_neck")
    assert not anatomy.may_show("leg", "chest")
    assert not anatomy.may_show("extremity", "chest")
    assert {part for whole in anatomy.BODY_PARTS.values() for part in whole.parts} <= set(anatomy.BODY_PARTS)


def test_every_term_and_code_stands_once() -> None:
    named = [word for line in anatomy._REGIONS.splitlines() if line.startswith(" ") for word in line.split()]
    assert len(named) == len(set(named)) > 400
