"""What a stranger may write into a card, and the tiny bundle with it sealed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdlight import bundle as bundles

Change = Callable[[dict[str, Any]], Any]
DEEP = 100_000
HUGE = "9" * 400


def put(value: Any, *keys: str | int) -> Change:
    """A change that sets one value of a card."""

    def change(card: dict[str, Any]) -> None:
        inner: Any = card
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


def operating(aim: float = 0.9, threshold: float | None = 0.25) -> dict[str, Any]:
    """Thresholds of the tiny bundle's class that must not be missed; at .98 there is none."""
    rate = {"value": 0.8, "low": 0.7, "high": 0.9}
    points = [
        {"aim": aim, "threshold": threshold, "sensitivity": rate, "specificity": rate},
        {"aim": 0.95, "threshold": 0.05, "sensitivity": rate, "specificity": rate},
        {"aim": 0.98, "threshold": None},
    ]
    return {"malignant": {"aim": aim, "n": 30, "teacher": points, "student": points}}


def twin(card: dict[str, Any]) -> None:
    card["classes"][1] = card["classes"][0]


CARDS: dict[str, Change] = {
    "a number of 400 digits": put("HUGE", "student", "parameters"),
    "1e400": put("1e400", "student", "macs"),
    "a float of 1e300": put(1e300, "metrics", "teacher", "ece", "value"),
    "a list where a mapping was": put([1, 2], "metrics"),
    "a mapping where a list was": put({"a": 1}, "limits"),
    "modalities = 5": put(5, "eligibility", "modalities"),
    "an unknown modality": put("xrays", "modality"),
    "an unknown modality that it reads": put(["mri", "soul"], "eligibility", "modalities"),
    "an unknown body part": put(["tail"], "eligibility", "body_parts"),
    "NaN": put(float("nan"), "calibration", "student", "temperature"),
    "infinity": put(float("inf"), "metrics", "student", "ece", "value"),
    "temperature 0": put(0, "calibration", "teacher", "temperature"),
    "temperature 1e9": put(1e9, "calibration", "teacher", "temperature"),
    "qhat 1.5": put(1.5, "conformal", "teacher", "qhat"),
    "alpha 1": put(1.0, "conformal", "alpha"),
    "a threshold of 2": put(operating(threshold=2.0), "operating"),
    "a sensitivity of 1": put(operating(aim=1.0), "operating"),
    "a threshold of a harmless class": put({"benign": operating()["malignant"]}, "operating"),
    "a class twice": twin,
    "two classes for one text": put("Benign", "classes", 1, "words"),
    "an empty class": put("", "classes", 0, "name"),
    "a blank text": put("   ", "classes", 0, "words"),
    "a class with a line break": put("be\nnign", "classes", 0, "name"),
    "a class that turns its direction": put("be‮ngin", "classes", 0, "words"),
    "half a surrogate": put("\ud800", "classes", 0, "words"),
    "one class": lambda card: card["classes"].__delitem__(slice(1, None)),
    "2000 classes": lambda card: card.update(classes=[{"name": str(i), "words": str(i)} for i in range(2000)]),
    "a student of no bytes": put(0, "student", "bytes"),
    "a teacher of other bytes": put(7, "teacher", "bytes"),
    "an ONNX file of other bytes": put(7, "student", "onnx_bytes"),
    "minus one parameter": put(-1, "student", "parameters"),
    "a mean of null": put([None, 0, 0], "input", "mean"),
    "a mean of NaN": put([float("nan"), 0, 0], "input", "mean"),
    "a size of 64.5": put(64.5, "input", "size"),
    "a size in words": put("64", "input", "size"),
    "a size of a million": put(1_000_000, "input", "size"),
    "a calibration error of minus 3": put(-3, "metrics", "student", "ece", "value"),
    "a text of a megabyte": put("x" * 2**20, "intended_use"),
    "a student that takes no time": lambda card: card["metrics"].update(latency=speed(0)),
}
"""What is wrong, and the change that makes it so."""


def speed(ms: float) -> dict[str, Any]:
    rows = [{"role": role, "engine": "ONNX Runtime", "p50_ms": ms} for role in ("teacher", "student")]
    return {"machine": {"cpu": "x", "cores": 1}, "size": 64, "threads": 1, "runs": 50, "rows": rows}


def spoil(folder: Path, change: Change) -> None:
    """Change the card of the bundle in a folder, and seal it again."""
    card = json.loads((folder / "card.json").read_text())
    change(card)
    text = json.dumps(card).replace('"HUGE"', HUGE).replace('"1e400"', "1e400")
    (folder / "card.json").write_text(text)
    bundles.seal(folder)


def spoil_text(folder: Path, content: bytes) -> None:
    """Replace the card of the bundle in a folder by other bytes, and seal it again."""
    (folder / "card.json").write_bytes(content)
    bundles.seal(folder)


TEXTS = {
    "deep lists": b"[" * DEEP,
    "deep mappings": b'{"schema":' * DEEP,
    "deep and whole": b'{"schema": "kdlight.card/2", "limits": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "nothing": b"",
    "no text": b"\xff\xfe\x00",
    "10 MB": b'"' + b"x" * 10 * 2**20 + b'"',
    "null": b"null",
}
"""What stands in place of a card."""
