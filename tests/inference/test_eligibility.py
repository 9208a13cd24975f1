"""What a bundle covers, by body part, view and the picture that its models see."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from kdlight.bundle import Bundle, Card
from kdlight.images import Image, Window
from kdlight.inference import eligibility
from kdlight.preprocessing import InputSpec

RAMP = np.arange(4096, dtype=np.float32).reshape(64, 64)


def picture(**fields: Any) -> Image:
    whole: dict[str, Any] = {"pixels": RAMP, "windows": (Window(2048, 4096),), "modality": "xray"}
    return Image(**{"sha256": "", "format": "dicom", "bits": 12, **whole, **fields})


@pytest.fixture
def chest(tiny_bundle: Bundle) -> Card:
    """The card of a bundle for frontal chest films."""
    covered = {"modalities": ["xray"], "min_side": 32, "color": None, "body_parts": ["chest"], "views": ["AP", "PA"]}
    return tiny_bundle.card.replace(name="Films", modality="xray", eligibility=covered)


@pytest.mark.parametrize("part", ["leg", "extremity", "head", "abdomen", "breast", "spine"])
def test_another_body_part_is_not_covered(chest: Card, part: str) -> None:
    found = eligibility(chest, picture(body_part=part))
    assert not found.eligible
    assert len(found.reasons) == 1
    assert found.reasons[0].endswith("; Films was trained on images of the chest.")
    assert eligibility(chest, picture(body_part=part), confirmed=True).confirmed


def test_the_reason_says_what_the_file_shows(chest: Card) -> None:
    (reason,) = eligibility(chest, picture(body_part="leg")).reasons
    assert reason == ("By its header this file shows the hip, leg or foot; Films was trained on images of the chest.")


@pytest.mark.parametrize("part", [None, "chest", "trunk", "neck_chest", "body"])
def test_the_part_covered_a_whole_that_holds_it_and_none_are_no_reason(chest: Card, part: str | None) -> None:
    assert eligibility(chest, picture(body_part=part)).eligible


def test_several_parts_may_be_covered_and_a_card_may_name_none(chest: Card) -> None:
    both = chest.replace(eligibility={"modalities": ["xray"], "body_parts": ["arm", "leg"]})
    assert eligibility(both, picture(body_part="extremity")).eligible
    (reason,) = eligibility(both, picture(body_part="chest")).reasons
    assert reason.endswith("images of the shoulder, arm or hand or the hip, leg or foot.")
    none = chest.replace(eligibility={"modalities": ["xray"]})
    assert eligibility(none, picture(body_part="leg", view="LL")).eligible


@pytest.mark.parametrize(("view", "covered"), [("PA", True), ("AP", True), (None, True), ("LL", False), ("LLD", False)])
def test_a_view_that_the_set_lacks_is_not_covered(chest: Card, view: str | None, covered: bool) -> None:
    found = eligibility(chest, picture(view=view, body_part="chest"))
    assert found.eligible is covered
    expected = () if covered else (f"By its header this view is {view}; Films was trained on AP and PA.",)
    assert found.reasons == expected


BLANK = "In its display window every pixel has nearly the same gray: there is nothing to read."


def test_a_picture_that_its_window_shows_blank_is_not_read(chest: Card) -> None:
    for window in (Window(-5000, 100), Window(9000, 100), Window(2048, 4_000_000)):
        assert eligibility(chest, picture(windows=(window,))).reasons == (BLANK,)
    black = np.zeros(4096, np.uint8)
    assert eligibility(chest, picture(voi_lut=black)).reasons == (BLANK,)
    assert eligibility(chest, picture(windows=(Window(10, 20),))).eligible


def test_the_window_is_that_of_the_model(chest: Card) -> None:
    lung = chest.replace(input=InputSpec(64, window="lung").to_json())
    water = picture(pixels=RAMP / 4096 * 20, windows=(Window(10, 20),), units="HU")
    assert eligibility(chest, water).eligible
    assert eligibility(lung, water).reasons == (BLANK,)
    assert eligibility(lung, dataclasses.replace(water, units="")).eligible


def test_a_flat_picture_keeps_its_own_words(chest: Card) -> None:
    flat = picture(pixels=np.full((64, 64), 7, np.float32))
    assert eligibility(chest, flat).reasons == ("Every pixel has the same value: there is nothing to read.",)
