"""Three files say the colors: Streamlit's config, the style sheet, and the charts. They must say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from kdlight.ui import theme

ROOT = Path(__file__).resolve().parents[2]
CONFIG = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
CSS = (ROOT / "assets" / "theme.css").read_text(encoding="utf-8")


def luminance(color: str) -> float:
    """Relative luminance of #RRGGBB, WCAG 2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def blend(one: str, other: str, share: float) -> str:
    """#RRGGBB of `one` laid over `other` with an opacity of `share`."""
    pairs = ((int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(above * share + below * (1 - share)):02X}" for above, below in pairs)


@pytest.mark.parametrize(("kind", "column"), [("light", 0), ("dark", 1)])
def test_the_two_colors_are_the_same_everywhere(kind: str, column: int) -> None:
    settings = CONFIG["theme"][kind]
    for role, name in (("teacher", "blueColor"), ("student", "orangeColor")):
        in_css = re.search(rf"--{role}: light-dark\((#\w+), (#\w+)\)", CSS)
        assert in_css
        assert theme.COLORS[kind][role] == settings[name] == in_css.group(column + 1)
    assert settings["chartCategoricalColors"] == [theme.COLORS[kind][r] for r in ("teacher", "student", "alone")]


@pytest.mark.parametrize("kind", ["light", "dark"])
def test_text_and_colors_can_be_read(kind: str) -> None:
    settings = CONFIG["theme"][kind]
    background = settings["backgroundColor"]
    assert contrast(settings["textColor"], background) >= 7
    for name in ("blueColor", "orangeTextColor", "grayTextColor", "redTextColor"):
        assert contrast(settings[name], background) >= 4.5, name
    assert contrast(settings["orangeColor"], background) >= 3  # bars and marks, not text


@pytest.mark.parametrize(("kind", "column"), [("light", 0), ("dark", 1)])
def test_the_track_of_a_bar_and_the_ring_of_the_keyboard_can_be_seen(kind: str, column: int) -> None:
    for name in ("track", "focus"):
        declared = re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", CSS)
        assert declared
        for ground in ("backgroundColor", "sidebar"):
            settings = CONFIG["theme"][kind]
            color = settings[ground]["backgroundColor"] if ground == "sidebar" else settings[ground]
            if name == "focus" or ground == "backgroundColor":  # bars stand on the page only
                assert contrast(declared.group(column + 1), color) >= 3, (name, ground)


@pytest.mark.parametrize("kind", ["light", "dark"])
def test_quiet_bars_can_be_told_from_the_page(kind: str) -> None:
    faded = re.search(r"\.kd-track > i \{[^}]*opacity: ([\d.]+)", CSS)
    assert faded
    share, ground = float(faded.group(1)), CONFIG["theme"][kind]["backgroundColor"]
    for name in ("blueColor", "orangeColor"):
        mixed = blend(CONFIG["theme"][kind][name], ground, share)
        assert contrast(mixed, ground) >= 3, name


def test_nothing_is_loaded_from_outside_and_nothing_is_told() -> None:
    texts = [CSS, *(p.read_text(encoding="utf-8") for p in (ROOT / "kdlight" / "ui").rglob("*.js"))]
    texts += [p.read_text(encoding="utf-8") for p in (ROOT / "assets").glob("*.svg")]
    addresses = {a for text in texts for a in re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)}
    assert addresses <= {"http://www.w3.org"}
    assert CONFIG["browser"]["gatherUsageStats"] is False
    assert CONFIG["client"]["showErrorDetails"] == "none"
    assert CONFIG["server"]["maxUploadSize"] == 64
    assert CONFIG["server"]["enableXsrfProtection"] is True
