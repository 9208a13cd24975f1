"""Numbers and facts in words for people: at most three significant digits, always with a unit or an interval."""

from __future__ import annotations

import math

from kdlight.metrics import Interval

ARCHITECTURES = {
    "mobilenetv2": "MobileNetV2",
    "kdlight_nano": "kdlight nano",
    "kdlight_nano16": "kdlight nano 16",
    "kdlight_small": "kdlight small",
    "kdlight_base": "kdlight base",
    "ofa595": "OFA-595",
    "vgg19": "VGG19",
    "visformer_s": "Visformer-S",
    "autoformerv2_t": "AutoFormerV2-T",
    "fusion_skin": "Fused skin teacher",
    "dual_stream": "Dual stream",
}
INITS = {
    "selection": "From the teacher's starting weights",
    "teacher": "From the trained teacher",
    "random": "Random weights",
    "general": "Pre-distilled on six data sets",
    "published": "The student's own published weights",
}
"""A student's first weights, by the recipe's student.init."""


def number(value: float, digits: int = 3) -> str:
    """At most `digits` significant digits, never in scientific form: 0.9234 -> 0.923, 1234.5 -> 1,230."""
    if not math.isfinite(value):
        return "not measured"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{round(value, digits - 1 - math.floor(math.log10(abs(value)))):,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text and abs(value) >= 1 else text


def score(value: float) -> str:
    """A score in [0, 1] with two decimals; more would pretend to a precision that the intervals deny."""
    return f"{value:.2f}" if math.isfinite(value) else "not measured"


def p_value(p: float) -> str:
    """With its sign: = 0.021, or < 0.001 for whatever is smaller."""
    return "< 0.001" if p < 0.001 else f"= {number(p, 2)}"


def interval(measured: Interval | None) -> str:
    """0.92 [0.88, 0.95], the value alone without bounds."""
    return str(measured or "not measured")


def percent(probability: float) -> str:
    """A probability in whole percent; the ends are kept honest: never 0 % or 100 % by rounding."""
    if 0 < probability < 0.005:
        return "< 1 %"
    if 0.995 <= probability < 1:
        return "> 99 %"
    return f"{probability * 100:.0f} %"


def megabytes(size: float) -> str:
    """Bytes in MB (10^6)."""
    return f"{number(size / 1e6)} MB" if size >= 1e5 else f"{number(size / 1e3)} kB"


def millions(count: float) -> str:
    """A count of parameters or multiply-adds, in thousands or millions."""
    return f"{number(count / 1e6)} M" if count >= 1e6 else f"{number(count / 1e3)} k"


def architecture(name: str) -> str:
    return ARCHITECTURES.get(name, name.replace("_", " "))


def listed(names: list[str] | tuple[str, ...]) -> str:
    """a; a and b; a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
