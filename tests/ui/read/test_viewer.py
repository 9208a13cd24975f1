from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kdlight import images
from kdlight.contracts.map_grade import MapGrade, MapLimits
from kdlight.contracts.reading import HeatMap
from kdlight.images import Image, Window
from kdlight.ui.read import viewer


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the component is given."""
    sent: list[Any] = []
    monkeypatch.setattr(viewer, "_mount", lambda key, data: sent.append(data))
    return sent


def test_whole_numbers_are_sent_as_they_are(tiny_image: Image) -> None:
    pixels = np.array([[-1024, 0], [3071, 7]], dtype=np.float32)
    kind, values = viewer.encode(pixels)
    assert kind == "u16"
    assert values.dtype == np.dtype("<u2")
    assert (values.astype(np.float32) - 1024 == pixels).all()


def test_fractions_and_great_ranges_are_sent_as_float32() -> None:
    for pixels in (np.array([[0.5, 1.25]], np.float32), np.array([[0, 70_000]], np.float32)):
        kind, values = viewer.encode(pixels)
        assert kind == "f32"
        assert (values == pixels).all()


def test_color_is_sent_as_rgb() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    kind, values = viewer.encode(pixels)
    assert kind == "rgb"
    assert values.tobytes() == pixels.tobytes()


def test_calibrated_ct_offers_the_usual_windows_after_its_own(shown: list[Any]) -> None:
    sample = next(s for s in images.samples() if s.name == "Chest CT phantom")
    image = images.read(sample.data)
    viewer.show(image, {"teacher": "T", "student": "S"}, {}, "CT")
    names = [w["name"] for w in shown[0]["windows"]]
    assert image.units == "HU"
    assert (shown[0]["windows"][0]["center"], shown[0]["windows"][0]["width"]) == (
        image.windows[0].center,
        image.windows[0].width,
    )
    assert {"lung", "bone", "brain", "abdomen"} <= set(names)
    assert len(names) == len(set(names))
    assert shown[0]["units"] == "HU"


def test_the_files_own_table_is_the_first_choice(tiny_image: Image, shown: list[Any]) -> None:
    table = np.arange(256, dtype=np.uint8)[::-1]
    image = replace(tiny_image, voi_lut=table, voi_first=5, windows=(Window(100, 50),))
    viewer.show(image, {}, {}, "")
    assert shown[0]["windows"][0]["voi"] is True
    assert base64.b64decode(shown[0]["voi"]) == table.tobytes()
    assert shown[0]["voi_first"] == 5


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("fit", "range"), ["Auto", "Full range"]),
        (("full",), ["Full range"]),
        (("range", "full"), ["Auto", "Full range"]),
        (("file", "fit", "range"), ["From file", "Auto", "Full range"]),
        (("file 1", "file 2", "fit", "range"), ["From file", "From file 2", "Auto", "Full range"]),
    ],
)
def test_a_window_says_where_it_comes_from(tiny_image: Image, given: tuple[str, ...], named: list[str]) -> None:
    image = replace(tiny_image, windows=tuple(Window(100 + i, 50, name) for i, name in enumerate(given)))
    assert [preset["name"] for preset in viewer.presets(image)] == named


@pytest.mark.parametrize(
    ("spacing", "aspect"), [((0.6, 0.3), 2.0), ((0.5, 0.5), 1.0), (None, 1.0), ((1.0, 1.005), 1.0)]
)
def test_pixels_that_are_not_square_are_not_drawn_square(
    tiny_image: Image, spacing: tuple[float, float] | None, aspect: float
) -> None:
    assert viewer.aspect(replace(tiny_image, spacing=spacing)) == pytest.approx(aspect)


def test_maps_go_along_small_and_flat_ones_say_so(tiny_image: Image, shown: list[Any]) -> None:
    values = np.zeros((512, 256), np.float32)
    values[256:] = 1.0
    heat = HeatMap("gradcam", "benign", values, False, "Concentrated.", 0.1)
    flat = replace(heat, values=np.zeros_like(values), flat=True)
    viewer.show(tiny_image, {}, {"teacher": heat, "student": flat}, "")
    sent = shown[0]["maps"]["teacher"]
    assert (sent["rows"], sent["columns"]) == (256, 128)
    back = np.frombuffer(base64.b64decode(sent["values"]), np.uint8).reshape(256, 128)
    assert back[:120].max() == 0
    assert back[136:].min() == 255
    assert sent["note"] == ""
    assert not sent["gray"]
    assert "nothing can be read from it" in shown[0]["maps"]["student"]["note"]


def test_a_map_that_failed_is_gray_and_says_why(tiny_image: Image, shown: list[Any]) -> None:
    failed = MapGrade(None, ("unstable", "unsupported"), MapLimits(0.1, 0.8), False)
    heat = HeatMap("gradcam", "benign", np.eye(8, dtype=np.float32), False, "Failed.", 0.1, grade=failed)
    viewer.show(tiny_image, {}, {"teacher": heat}, "")
    sent = shown[0]["maps"]["teacher"]
    assert sent["gray"]
    assert sent["note"] == "This map failed: it changes when the image is moved by 2 pixels."
