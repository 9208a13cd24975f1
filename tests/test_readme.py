"""README and docs keep their word: the commands they show exist, and their numbers are those of cards and reports."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kdlight.bundle import load

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")))
]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
SHELL = [
    line
    for name, text in TEXTS.items()
    if name != "docs/results-full.md"  # its commands are its own test's
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in block.splitlines()
]
PYTHON = [block for text in TEXTS.values() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


def test_a_newcomer_sees_the_app_and_the_two_commands_first() -> None:
    top = "\n".join(README.splitlines()[:25])
    assert "make app" in top
    assert "make test" in top
    assert re.search(r"!\[.+\]\((.+\.png)\)", top)


@pytest.mark.parametrize("name", ["summary", "card", "folds", "speed", "size", "belonging"])
def test_a_table_is_what_its_script_makes_of_cards_and_reports(name: str) -> None:
    script = runpy.run_path(str(ROOT / "tools" / f"{name}_table.py"))
    written = [
        text.partition(script["BEGIN"])[2].partition(script["END"])[0].strip()
        for text in (page.read_text(encoding="utf-8") for page in PAGES)
        if script["BEGIN"] in text
    ]
    assert written == [script["table"]()], "run make docs"


def test_the_sizes_are_those_of_the_shipped_bundles() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "size_table.py"))
    for path in script["KEPT"].glob("*.json"):
        measured = json.loads(path.read_text(encoding="utf-8"))["source_sha256"]
        assert measured == load(ROOT / "assets" / "bundles" / path.stem).sha256, f"compress {path.stem} again"


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= 800


def as_rows(times: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"name": name, "p50_ms": ms} for name, ms in times]


def network(role: str | None, engine: str, ms: float, pixels: int | None = None) -> dict[str, Any]:
    route = "maps" if role is None else "image" if pixels else "network"
    return {"role": role, "engine": engine, "route": route, "pixels": pixels, "p50_ms": ms}


def test_the_speed_table_compares_like_with_like() -> None:
    """On made-up reports: each teacher's row against the student's that was measured the same way."""
    script = runpy.run_path(str(ROOT / "tools" / "speed_table.py"))
    rows = [
        network("teacher", "torch eager", 20.0),
        network("student", "torch eager", 4.0),
        network("student", "ONNX Runtime", 2.0),
        network("teacher", "ONNX Runtime", 12.0, 64),
        network("student", "ONNX Runtime", 3.0, 64),
        network(None, "as read", 2500.0, 64),
    ]
    bound = {"peak_gmacs": 50.0, "teacher_ms": 6.0, "student_ms": 0.8}
    lines = list(script["latency"]({"rows": rows, "bound": bound, "size": 224}))
    assert [cells[1:] for cells in lines] == [
        ("2 ms", "teacher in torch: 20 ms, 10 x"),
        ("3 ms", "on the same engine: 12 ms, 4 x"),
        ("2.5 s", ""),
        ("0.8 ms", "teacher: 6 ms, 7.5 x"),
    ]
    epochs = [("cached", 2.0), ("plain", 20.0), ("outputs of vgg19 cached", 3.0)]
    loop: dict[str, Any] = {"rows": as_rows(epochs), "candidate": "cached", "baseline": "plain"}
    for row, teacher in zip(loop["rows"], ("mobilenetv2", None, "vgg19"), strict=True):
        row["teacher"] = teacher
    loop["ratios"] = {"over_alone": {"mobilenetv2": 1.25, "vgg19": 0.5}}
    assert [cells[1:] for cells in script["training"](loop)] == [
        ("2 ms", "plain: 20 ms, 10 x; without a teacher: 0.8 x"),
        ("3 ms", "without a teacher: 2 x"),
    ]
    folder: dict[str, Any] = {
        "rows": as_rows(epochs[:2]),
        "candidate": "cached",
        "files": 9,
        "memory_mb": {"9": 100.4, "99": 101.0},
    }
    folder["alone"] = {"files": 90, "files_per_second": 500.0}
    assert [cells[1:] for cells in script["batch"](folder)] == [
        ("2 ms", "plain: 20 ms, 10 x"),
        ("2 ms", "memory: 100 MB after 9, 101 MB after 99"),
    ]
    maps = [("whole", 8000.0), ("fast", 80.0), ("class map", 2.0)]
    both = {"training": {"images": 64, "rows": as_rows(epochs[:2])}, "latency": {"rows": as_rows(epochs[1:])}}
    both["scorecam"] = {"rows": as_rows(maps[:2]), "baseline": "whole", "ratios": {"fast": 100.0}}
    assert [cells[1:] for cells in script["peers"](both)] == [
        ("2 ms", "plain: 20 ms, 10 x"),
        ("20 ms", "outputs of vgg19 cached: 3 ms, 0.15 x"),
        ("80 ms", "grad-cam package: 8 s, 100 x"),
    ]
    near = {"fast": {"images": 50, "median": 0.978, "least": 0.573}}
    heat: dict[str, Any] = {"rows": as_rows(maps), "baseline": "whole", "likeness": near}
    assert [cells[1:] for cells in script["explain"](heat)] == [
        ("8 s", ""),
        ("80 ms", "every mask: 8 s, 100 x; Pearson with every mask's 0.9780 (median), 0.5730 (least) of 50 images"),
        ("2 ms", ""),
    ]


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("kdlight ")])
def test_every_command_shown_is_understood(line: str) -> None:
    """The words are parsed by the command line itself; nothing is run."""
    from typer.main import get_command

    from kdlight.cli import app

    words = shlex.split(line, comments=True)[1:]
    command = get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with command.make_context("kdlight", words) as context:
        assert context.params


@pytest.mark.parametrize("block", [block for block in PYTHON if "import kdlight\n" in block])
def test_every_name_in_the_python_shown_is_there(block: str) -> None:
    import kdlight
    from kdlight import runs

    for name in re.findall(r"\bkdlight\.(\w+)", block):
        assert hasattr(kdlight, name)
    for name in re.findall(r"\bruns\.(\w+)", block):
        assert hasattr(runs, name)
    compile(block, "README.md", "exec")


@pytest.mark.parametrize("name", list(TEXTS))
def test_every_file_named_is_there(name: str) -> None:
    for path in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", TEXTS[name]):
        assert (ROOT / name).parent.joinpath(path).exists(), path
