"""The two linked panes: a Streamlit v2 component of our own, drawn in the browser and loaded from nowhere else.

The frame's values go over HTTP once per frame, at an address that answers this session's browser only; heat maps,
being small, go along as base64. Window, invert, zoom, pan and opacity happen in the browser and rerun nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import streamlit as st

from kdlight.contracts.image import Image
from kdlight.contracts.map_grade import MapFault
from kdlight.contracts.modality import WINDOWS
from kdlight.contracts.reading import HeatMap
from kdlight.ui import sessions

HERE = Path(__file__).parent
AUTO, FULL, FROM_FILE, CUSTOM = "Auto", "Full range", "From file", "Custom"
"""The windows by where they come from: fitted to the values, all of them, the file's own, the person's."""
MAP_SIDE = 256
"""Longest side in pixels of a heat map as sent; the class maps behind it are 4 to 16 pixels wide."""

FAULTS: dict[MapFault, str] = {
    "flat": "This map is flat: nothing can be read from it.",
    "unstable": "This map failed: it changes when the image is moved by 2 pixels.",
    "unsupported": "This map failed: the answer hangs little on what it marks.",
    "model_blind": "This map failed: random weights give much the same one.",
}

_mount = st.components.v2.component(
    "kdlight_viewer",
    js=(HERE / "viewer.js").read_text(encoding="utf-8"),
    css=(HERE / "viewer.css").read_text(encoding="utf-8"),
)


def show(image: Image, names: Mapping[str, str], maps: Mapping[str, HeatMap], label: str) -> None:
    """Draw one frame in both panes. `names` and `maps` are by role; `label` is what a screen reader says of it."""
    kind, frame = _encoded(image)
    facts: dict[str, Any] = {
        "scan": f"{image.sha256}-{image.frames}",
        "url": frame.address,
        "rows": image.shape[0],
        "columns": image.shape[1],
        "aspect": aspect(image),
        "kind": kind,
        "names": dict(names),
        "label": label,
        "maps": {role: _map(heat) for role, heat in maps.items()},
        "windows": [],
    }
    if not image.color:
        facts |= _gray(image, kind)
    _mount(key="viewer", data=facts)


def _encoded(image: Image) -> tuple[str, sessions.Frame]:
    """`encode` of the frame that is looked at, done once and not on every run of the page."""
    known = st.session_state.get("encoded")
    if known is None or known[0] != (image.sha256, image.frame):
        kind, values = encode(image.pixels)
        known = ((image.sha256, image.frame), kind, sessions.Frame(values.tobytes()))
        st.session_state["encoded"] = known
    return known[1], known[2]


def encode(pixels: np.ndarray) -> tuple[str, np.ndarray]:
    """Pixels as the browser gets them, exactly: rgb uint8, u16 (whole numbers less their minimum), else f32."""
    if pixels.ndim == 3:
        return "rgb", np.ascontiguousarray(pixels, dtype=np.uint8)
    low, high = float(pixels.min()), float(pixels.max())
    if high - low <= 65535 and abs(low) < 2**24 and np.array_equal(pixels, np.rint(pixels)):
        return "u16", (pixels - np.float32(low)).astype("<u2")
    return "f32", pixels.astype("<f4")


def presets(image: Image) -> list[dict[str, Any]]:
    """The windows to choose from: what is shown at first leads, for calibrated CT the usual ones follow."""
    names = _names(image)
    windows = [{**asdict(window), "name": name} for window, name in zip(image.windows, names, strict=True)]
    known = [asdict(w) for w in WINDOWS.values()] if image.units == "HU" else []
    if image.voi_lut is not None and windows:
        windows.insert(0, {**windows[0], "name": f"{FROM_FILE} (table)", "voi": True})
    return windows + known


def _names(image: Image) -> list[str]:
    """A name for each window of the image, none of them twice: the file's own words for them stay behind."""
    given = [window.name for window in image.windows]
    whole = {"fit": AUTO, "full": FULL, "range": AUTO if "full" in given else FULL}
    names: list[str] = []
    for name in given:
        plain = whole.get(name, FROM_FILE)
        count = sum(f"{other} ".startswith(f"{plain} ") for other in names)
        names.append(f"{plain} {count + 1}" if count else plain)
    return names


def aspect(image: Image) -> float:
    """Height over width of one pixel; 1 where the file does not say, or says so within a hundredth."""
    ratio = image.spacing[0] / image.spacing[1] if image.spacing else 1.0
    return ratio if abs(ratio - 1) > 0.01 else 1.0


def _gray(image: Image, kind: str) -> dict[str, Any]:
    low, high = float(image.pixels.min()), float(image.pixels.max())
    table = image.voi_lut
    return {
        "offset": int(low) if kind == "u16" else 0,
        "span": int(high - low) if kind == "u16" else 0,
        "spread": max(high - low, 1e-6),
        "units": image.units,
        "inverted": image.inverted,
        "windows": presets(image),
        "custom": CUSTOM,
        "voi": None if table is None else base64.b64encode(np.asarray(table, np.uint8).tobytes()).decode(),
        "voi_first": image.voi_first,
    }


def _map(heat: HeatMap) -> dict[str, Any]:
    rows, columns = heat.values.shape
    scale = min(1.0, MAP_SIDE / max(rows, columns))
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    small = PIL.Image.fromarray(heat.values.astype(np.float32)).resize(size, PIL.Image.Resampling.BILINEAR)
    values = np.rint(np.clip(np.asarray(small), 0, 1) * 255).astype(np.uint8)
    text = base64.b64encode(values.tobytes()).decode()
    faults = heat.grade.faults if heat.grade else ()
    return {
        "id": f"{heat.method}-{heat.class_name}-{hash(text)}",
        "rows": size[1],
        "columns": size[0],
        "values": text,
        "gray": heat.failed,
        "note": FAULTS["flat"] if heat.flat else " ".join(FAULTS[fault] for fault in faults[:1]),
        "words": f"Heat map for {heat.class_name}. {heat.note}",
    }
