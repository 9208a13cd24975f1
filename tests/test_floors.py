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
    {"anatomy"},
    {"config", "modality", "storage", "memory", "prefetch", "stopwatch"},
    {"runs", "images", "metrics"},
    {"preprocessing", "reading", "results"},
    {"data", "models"},
    {"distillers", "bundle", "bounds"},
    {"answers", "checkpoint"},
    {"training", "evaluation"},
    {"explain", "baselines"},
    {"compress"},
    {"stages"},
    {"inference"},
    {"batch", "golden", "training_benchmark"},
    {"assembly", "workers"},
    {"pipeline"},
    {"study"},
    {"cli", "ui"},
    {"__main__", "__init__", "pages", "app"},
)
"""From the ground up. A module may import its own room and the rooms of the floors below its own, nothing else."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS, start=1) for room in rooms}
FUNCTION_LINES = 60
PAGE_LINES = 80
APP_LINES = 40


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


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


@pytest.fixture(params=sources(), ids=names(sources()))
def source(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_module_has_a_floor(source: Path) -> None:
    assert room_of(source) in FLOOR, f"{room_of(source)} stands on no floor; give it one in FLOORS."


def test_the_guide_shows_these_floors() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = [set(rooms.split(", ")) for rooms in re.findall(r"^ ?\d+ (.+)$", guide, re.M)]
    assert shown == [set(rooms) for rooms in FLOORS]


def test_imports_come_from_below(source: Path) -> None:
    own = room_of(source)
    for dotted in imports(source):
        room = room_named(dotted)
        if room is None or room == own:
            continue
        assert room in FLOOR, f"{dotted}: {room} stands on no floor."
        assert FLOOR[room] < FLOOR[own], f"{own} (floor {FLOOR[own]}) imports {dotted} (floor {FLOOR[room]})."


def test_only_the_surface_knows_streamlit(source: Path) -> None:
    if room_of(source) not in ("ui", "pages", "app"):
        assert not [name for name in imports(source) if name.split(".")[0] == "streamlit"]


def test_the_surface_starts_without_torch(source: Path) -> None:
    """Pages never import it; a module of kdlight/ui may inside a function, for what runs in a child process."""
    heavy = ("torch", "torchvision", "timm", "sklearn")
    if room_of(source) in ("pages", "app"):
        assert not [name for name in imports(source) if name.split(".")[0] in heavy]
    if room_of(source) == "ui":
        at_top = ast.Module([n for n in tree_of(source).body if isinstance(n, (ast.Import, ast.ImportFrom))], [])
        assert not re.findall(rf"^(?:import|from) (?:{'|'.join(heavy)})\b", ast.unparse(at_top), re.MULTILINE)


def test_nothing_is_unpickled(source: Path) -> None:
    readers = ("pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "dill.load", "cloudpickle.load")
    assert not set(imports(source)) & set(readers)
    for node in ast.walk(tree_of(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in readers, f"line {node.lineno}"
        given = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called == "torch.load":
            assert given.get("weights_only") == "True", f"line {node.lineno}"
        if called in ("np.load", "numpy.load"):
            assert given.get("allow_pickle", "False") == "False", f"line {node.lineno}"


def test_functions_are_short(source: Path) -> None:
    for node in ast.walk(tree_of(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"{node.name} has {lines} lines; split it."


def test_modules_say_what_they_are(source: Path) -> None:
    tree = tree_of(source)
    assert ast.get_docstring(tree) or not tree.body


def test_scripts_are_thin(source: Path) -> None:
    allowed = {"app": APP_LINES, "pages": PAGE_LINES}.get(room_of(source))
    if allowed:
        assert len(source.read_text(encoding="utf-8").splitlines()) <= allowed


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
