"""The table of measured speeds from docs/benchmarks/*.json: see write_table.py.

Each file is what `kdlight benchmark NAME ... --json` printed. A benchmark without a file has no lines.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "benchmarks"
BEGIN, END = "<!-- speed: written by `make speed-table` -->", "<!-- end of speed -->"
HEADER = """| what | kdlight | against: milliseconds, times as fast |
|---|---|---|"""
STUDENT, GRAD_CAM = "student, ONNX Runtime", "Grad-CAM of both"
AGAINST = {
    "teacher, torch eager": "teacher in torch",
    "teacher, torch eager, channels last": "channels last",
    "teacher, ONNX Runtime": "on the same engine",
    "teacher, torch eager after torchvision's transforms": "in torch after torchvision's transforms",
}
Line = tuple[str, str, str]
"""What was timed, kdlight's time, and the others'."""


def latency(found: dict[str, Any]) -> Iterator[Line]:
    """One image: the networks alone, from a decoded image, cold; the student's rows against the teacher's alike."""
    p50 = {row["name"]: row["p50_ms"] for row in found["rows"]}
    for name, own in p50.items():
        engine, _, how = name.partition("; ")
        if engine == STUDENT:
            alike = {words: p50.get(f"{other}; {how}" if how else other) for other, words in AGAINST.items()}
            against = [beside(words, ms, own) for words, ms in alike.items() if ms is not None]
            yield f"one image at {found['size']} px, {how or 'prepared'}", milliseconds(own), "; ".join(against)
        elif engine == GRAD_CAM:
            yield f"both models' answers and Grad-CAM at {found['size']} px, {how}", milliseconds(own), ""
    bound = found["bound"]
    what = f"the multiply-adds alone, at the measured peak of {bound['peak_gmacs']:.3g} G a second"
    yield what, milliseconds(bound["student_ms"]), beside("teacher", bound["teacher_ms"], bound["student_ms"])


def explain(found: dict[str, Any]) -> Iterator[Line]:
    """Heat maps; Score-CAM of the teacher against the grad-cam package's."""
    p50, other = {row["name"]: row["p50_ms"] for row in found["rows"]}, found["baseline"]
    for name, own in p50.items():
        if name != other:
            against = beside(other, p50[other], own) if name.startswith("Score-CAM of the teacher") else ""
            against += likeness(found["likeness"][name]) if name in found.get("likeness", {}) else ""
            yield name, milliseconds(own), against


def likeness(near: dict[str, Any]) -> str:
    median, least = (f"{near[which]:.4f} ({which})" for which in ("median", "least"))
    return f"; Pearson with every mask's {median}, {least} of {near['images']} images"


def training(found: dict[str, Any]) -> Iterator[Line]:
    """An epoch with kept answers against the plain loop."""
    p50 = {row["name"]: row["p50_ms"] for row in found["rows"]}
    own, other = found["candidate"], found["baseline"]
    (_, first), *others = found["ratios"]["over_alone"].items()
    yield f"an epoch: {own}", milliseconds(p50[own]), f"{beside(other, p50[other], p50[own])}; {untaught(first)}"
    for teacher, over in others:
        kept = next(name for name in p50 if f" of {teacher} " in name)
        yield f"an epoch: {kept}", milliseconds(p50[kept]), untaught(over)


def untaught(over: float) -> str:
    return f"without a teacher: {1 / over:.3g} x"


def batch(found: dict[str, Any]) -> Iterator[Line]:
    """A file of a folder against plain loops; then the many that were read in one go, and the memory held."""
    p50, own = {row["name"]: row["p50_ms"] for row in found["rows"]}, found["candidate"]
    against = "; ".join(beside(other, ms, p50[own]) for other, ms in p50.items() if other != own)
    yield f"each of {found['files']} DICOM files: {own}", milliseconds(p50[own]), against
    if alone := found.get("alone"):
        held = ", ".join(f"{megabytes:.0f} MB after {files}" for files, megabytes in found["memory_mb"].items())
        yield (
            f"each of {alone['files']} more in one go",
            milliseconds(1000 / alone["files_per_second"]),
            f"memory: {held}",
        )


def peers(found: dict[str, Any]) -> Iterator[Line]:
    """kdlight's epoch and network against what one would otherwise use."""
    what = {
        "training": f"an epoch of {found['training']['images']} images",
        "latency": "one image at 224 px, random weights",
    }
    for part, words in what.items():
        (name, own), *others = ((row["name"], row["p50_ms"]) for row in found[part]["rows"])
        yield f"{words}: {name}", milliseconds(own), "; ".join(beside(other, ms, own) for other, ms in others)


BENCHMARKS = {"latency": latency, "explain": explain, "training": training, "batch": batch, "peers": peers}


def milliseconds(value: float) -> str:
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"


def beside(words: str, other: float, own: float) -> str:
    """Another's time, and how many times as fast kdlight is."""
    return f"{words}: {milliseconds(other)}, {other / own:.3g} x"


def table() -> str:
    paths = {name: KEPT / f"{name}.json" for name in BENCHMARKS}
    found = {n: json.loads(p.read_text(encoding="utf-8")) for n, p in paths.items() if p.is_file()}
    if not found:
        return "Nothing is measured yet."
    lines = [f"| {' | '.join(cells)} |" for name, report in found.items() for cells in BENCHMARKS[name](report)]
    places = []
    for name, report in found.items():
        machine = report["machine"]
        what = " ".join([name, *([report["bundle"]] if "bundle" in report else [])])
        what += f" --weights {report['weights']}" if report.get("weights") else ""
        command = "python tools/peers.py" if name == "peers" else f"kdlight benchmark {what}"
        places.append(f"`{command}`: {machine['cpu']}, {report['threads']} of {machine['cores']} cores")
    return "\n".join([HEADER, *lines, "", f"Medians. {'; '.join(places)}."])
