"""The table of measured speeds from docs/benchmarks/*.json: see write_table.py.

Each file is what `kdlight benchmark NAME ... --json` printed. A benchmark without a file has no lines.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "benchmarks"
BEGIN, END = "<!-- speed: written by `make docs` -->", "<!-- end of speed -->"
HEADER = """| what | kdlight | against: milliseconds, times as fast |
|---|---|---|"""
AGAINST = {
    "torch eager": "teacher in torch",
    "torch eager, channels last": "channels last",
    "ONNX Runtime": "on the same engine",
    "torch eager after torchvision's transforms": "in torch after torchvision's transforms",
}
HOW = {"network": "prepared", "cold": "cold", "image": "from a decoded image of {} px"}
Line = tuple[str, str, str]
"""What was timed, kdlight's time, and the others'."""
Json = dict[str, Any]


def latency(report: Json) -> Iterator[Line]:
    """One image: the networks alone, from a decoded image, cold; the student's rows against the teacher's alike."""
    for row in report["rows"]:
        how = HOW.get(row["route"], "").format(row["pixels"])
        if (row["role"], row["engine"]) == ("student", "ONNX Runtime"):
            alike = {r["engine"]: r["p50_ms"] for r in report["rows"] if is_teacher_alike(r, row)}
            against = [beside(AGAINST[engine], ms, row["p50_ms"]) for engine, ms in alike.items()]
            yield f"one image at {report['size']} px, {how}", milliseconds(row["p50_ms"]), "; ".join(against)
        elif row["route"] == "maps":
            how = HOW["image"].format(row["pixels"])
            yield f"both models' answers and Grad-CAM at {report['size']} px, {how}", milliseconds(row["p50_ms"]), ""
    bound = report["bound"]
    what = f"the multiply-adds alone, at the measured peak of {bound['peak_gmacs']:.3g} G a second"
    yield what, milliseconds(bound["student_ms"]), beside("teacher", bound["teacher_ms"], bound["student_ms"])


def is_teacher_alike(row: Json, student: Json) -> bool:
    """Whether a row is the teacher's, timed in the same way as the student's."""
    return row["role"] == "teacher" and all(row[key] == student[key] for key in ("route", "pixels"))


def explain(report: Json) -> Iterator[Line]:
    """Heat maps; the quick ways of Score-CAM against the one that tries every mask."""
    baseline, near = report["baseline"], report["likeness"]
    whole = medians(report)[baseline]
    for name, ms in medians(report).items():
        against = f"{beside('every mask', whole, ms)}{likeness(near[name])}" if name in near else ""
        yield name, milliseconds(ms), against


def likeness(near: Json) -> str:
    median, least = (f"{near[which]:.4f} ({which})" for which in ("median", "least"))
    return f"; Pearson with every mask's {median}, {least} of {near['images']} images"


def training(report: Json) -> Iterator[Line]:
    """An epoch with cached teacher outputs against the plain loop."""
    p50, candidate, baseline = medians(report), report["candidate"], report["baseline"]
    over = report["ratios"]["over_alone"]
    teachers = {row["teacher"]: row for row in reversed(report["rows"]) if row["teacher"]}
    against = beside(baseline, p50[baseline], p50[candidate])
    for teacher, row in reversed(teachers.items()):
        plain = f"{against}; " if row["name"] == candidate else ""
        words = f"{plain}without a teacher: {1 / over[teacher]:.3g} x"
        yield f"an epoch: {row['name']}", milliseconds(row["p50_ms"]), words


def batch(report: Json) -> Iterator[Line]:
    """A file of a folder against a plain loop; then the many that were read in one go, and the memory held."""
    p50, candidate = medians(report), report["candidate"]
    against = "; ".join(beside(other, ms, p50[candidate]) for other, ms in p50.items() if other != candidate)
    yield f"each of {report['files']} DICOM files: {candidate}", milliseconds(p50[candidate]), against
    if alone := report["alone"]:
        held = ", ".join(f"{megabytes:.0f} MB after {files}" for files, megabytes in report["memory_mb"].items())
        time = milliseconds(1000 / alone["files_per_second"])
        yield f"each of {alone['files']} more in one go", time, f"memory: {held}"


def peers(report: Json) -> Iterator[Line]:
    """kdlight's epoch, network and folder against what one would otherwise use; the grad-cam package's Score-CAM."""
    what = {
        "training": f"an epoch of {report['training']['images']} images",
        "latency": "one image at 224 px, random weights",
        "folder": "each file of a folder",
    }
    for part, words in what.items():
        if part in report:
            (name, ms), *others = medians(report[part]).items()
            yield f"{words}: {name}", milliseconds(ms), "; ".join(beside(other, took, ms) for other, took in others)
    if explained := report.get("scorecam"):
        p50, package = medians(explained), explained["baseline"]
        for name in explained["ratios"]:
            yield name, milliseconds(p50[name]), beside("grad-cam package", p50[package], p50[name])


BENCHMARKS = {"latency": latency, "explain": explain, "training": training, "batch": batch, "peers": peers}


def medians(report: Json) -> dict[str, float]:
    return {row["name"]: row["p50_ms"] for row in report["rows"]}


def milliseconds(value: float) -> str:
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"


def beside(words: str, other: float, ms: float) -> str:
    """Another's time, and how many times as fast kdlight is."""
    return f"{words}: {milliseconds(other)}, {other / ms:.3g} x"


def table() -> str:
    paths = {name: KEPT / f"{name}.json" for name in BENCHMARKS}
    reports = {n: json.loads(p.read_text(encoding="utf-8")) for n, p in paths.items() if p.is_file()}
    if not reports:
        return "Nothing is measured yet."
    lines = [f"| {' | '.join(cells)} |" for name, report in reports.items() for cells in BENCHMARKS[name](report)]
    places = []
    for name, report in reports.items():
        machine = report["machine"]
        what = " ".join([name, *([report["bundle"]] if "bundle" in report else [])])
        what += f" --weights {report['weights']}" if report.get("weights") else ""
        command = "python tools/peers.py" if name == "peers" else f"kdlight benchmark {what}"
        places.append(f"`{command}`: {machine['cpu']}, {report['threads']} of {machine['cores']} cores")
    return "\n".join([HEADER, *lines, "", f"Medians. {'; '.join(places)}."])
