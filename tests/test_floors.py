"""The house rules, held by parsing every module: who may import whom, and what may stand where."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FLOORS = (
    {"contracts", "metrics", "processes", "storage"},
    {"images", "models", "preprocessing", "runs"},
    {"bundle", "data", "distillers", "explain"},
    {"trust"},
    {"baselines", "compress", "inference"},
    {"training"},
    {"benchmark", "studies"},
    {"reports", "workers"},
    {"cli", "ui"},
    {"__main__", "__init__", "pages", "app"},
)
"""From the ground up. A module may import its own room and the rooms of the floors below its own, nothing else."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS, start=1) for room in rooms}
FUNCTION_LINES = 40
FILE_LINES = 300
LINES = {"pages": 80, "app": 40}
"""Of a script; every other file has FILE_LINES."""
SURFACE = ("ui", "pages", "app")
HEAVY = ("torch", "torchvision", "timm", "sklearn", "skimage", "matplotlib")
"""What the surface starts without."""


def sources() -> list[Path]:
    """Every module of the package, every page, and the app."""
    scripts = [*ROOT.glob("app.py"), *ROOT.glob("pages/*.py")]
    return sorted([*(ROOT / "kdlight").rglob("*.py"), *scripts])


def room_of(path: Path) -> str:
    """The folder or module below kdlight/; for scripts, pages or app."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "kdlight" else parts[0]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all that a module imports anywhere in it: at its top, in functions, for types only."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def room_named(dotted: str) -> str | None:
    """The room that an import enters; None for other packages, and for what kdlight/__init__.py itself holds."""
    parts = dotted.split(".")
    if parts[0] in ("app", "pages"):
        return parts[0]
    if parts[0] != "kdlight" or len(parts) == 1 or parts[1] == "__version__":
        return None
    return homes().get(parts[1], parts[1])


@cache
def homes() -> dict[str, str]:
    """The public names of kdlight/__init__.py and the room that each comes from."""
    from kdlight import _HOMES

    return {name: home.split(".")[1] for name, home in _HOMES.items()}


def complaints(source: Path) -> Iterator[str]:
    """Everything that a module does against the rules of the house."""
    tree, room = tree_of(source), room_of(source)
    yield from _imports(source, room)
    yield from _size(source, room)
    if tree.body and not ast.get_docstring(tree):
        yield "It has no docstring."
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _unpickling(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _function(node)


def _imports(source: Path, room: str) -> Iterator[str]:
    if room not in FLOOR:
        yield f"{room} stands on no floor; give it one in FLOORS."
        return
    for dotted in imports(source):
        package, other = dotted.split(".")[0], room_named(dotted)
        if other is not None and other != room and FLOOR.get(other, len(FLOORS)) >= FLOOR[room]:
            yield f"It imports {dotted} (floor {FLOOR.get(other)}) from floor {FLOOR[room]}."
        if package == "streamlit" and room not in SURFACE:
            yield "Only ui, pages and app import streamlit."
        if package in HEAVY and room in ("pages", "app"):
            yield f"A page imports {package}."
    if room == "ui":  # inside a function it may, for what runs in a child process
        at_top = ast.Module([n for n in tree_of(source).body if isinstance(n, (ast.Import, ast.ImportFrom))], [])
        for package in re.findall(rf"^(?:import|from) ({'|'.join(HEAVY)})\b", ast.unparse(at_top), re.MULTILINE):
            yield f"It imports {package} at its top."


def _size(source: Path, room: str) -> Iterator[str]:
    limit, lines = LINES.get(room, FILE_LINES), len(source.read_text(encoding="utf-8").splitlines())
    if lines > limit:
        yield f"It has {lines} lines; {limit} are the most. Split it."


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > FUNCTION_LINES:
        yield f"{node.name} has {lines} lines; {FUNCTION_LINES} are the most. Split it."


def _unpickling(node: ast.Call) -> Iterator[str]:
    called, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
    if called in ("pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "dill.load", "cloudpickle.load"):
        yield f"{called} in line {node.lineno}."
    if called == "torch.load" and given.get("weights_only") != "True":
        yield f"torch.load without weights_only=True in line {node.lineno}."
    if called in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False":
        yield f"{called} with pickles in line {node.lineno}."


@pytest.mark.parametrize("source", sources(), ids=[path.relative_to(ROOT).as_posix() for path in sources()])
def test_a_module_keeps_the_rules(source: Path) -> None:
    assert not list(complaints(source))


def test_the_guide_shows_these_floors() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = [set(rooms.split(", ")) for rooms in re.findall(r"^ ?\d+ (.+)$", guide, re.M)]
    assert shown == [set(rooms) for rooms in FLOORS]


def test_the_guide_names_these_limits() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    stated = (f"{FUNCTION_LINES} lines at most", f"a file {FILE_LINES}", f"a page {LINES['pages']}")
    assert not [limit for limit in stated if limit not in guide]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("import kdlight.ui.words", "floor"),
        ("import kdlight.nowhere", "floor"),
        ("import streamlit", "streamlit"),
        ("import pickle\npickle.loads(b'')", "pickle.loads"),
        ("import torch\ntorch.load('x')", "weights_only"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "pickles"),
        ("def long():\n" + "    a = 1\n" * FUNCTION_LINES, "lines"),
        ("a = 1\n" * (FILE_LINES + 1), "Split"),
        ("a = 1", "docstring"),
    ],
)
def test_the_rules_can_be_broken(line: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of floor 1 with one fault each is complained about, for that fault."""
    monkeypatch.setattr("tests.test_floors.ROOT", tmp_path)
    module = tmp_path / "kdlight" / "storage.py"
    module.parent.mkdir()
    module.write_text(("" if complaint == "docstring" else '"""A module."""\n') + line, encoding="utf-8")
    assert any(complaint in found for found in complaints(module))


def test_mean_and_std_stand_once() -> None:
    found = [
        (path.name, node.value)
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in (0.485, 0.456, 0.406, 0.229, 0.224, 0.225)
    ]
    assert sorted(value for _, value in found) == [0.224, 0.225, 0.229, 0.406, 0.456, 0.485]
    assert {name for name, _ in found} == {"spec.py"}


def test_there_is_no_room_for_odds_and_ends() -> None:
    for path in (ROOT / "kdlight").rglob("*"):
        assert path.stem not in ("utils", "core", "common", "helpers", "misc"), path


def test_the_rules_see_an_import_from_above() -> None:
    """The parser itself: what it must not overlook."""
    assert room_named("kdlight.ui.words.sentence") == "ui"
    assert room_named("kdlight.Predictor") == "inference"
    assert room_named("kdlight.__version__") is None
    assert room_named("torch.nn") is None
    inner = list(imports(ROOT / "kdlight" / "__main__.py"))
    assert "kdlight.cli.main" in inner
