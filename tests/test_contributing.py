"""The guide's table is true: what it says suffices is done in a copy of the project, file by file, and works there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Addition:
    """What is added: a new file, and lines put in front of a line of the registry."""

    file: str
    content: str
    registry: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    """(line of the registry, the line to put before it)."""


METHOD = '''"""Distillation by the mean absolute difference of logits: a toy."""

from torch import Tensor

from kdlight.distillers.base import Alpha, Batch, Distiller, View


class Toy(Distiller):
    name = "toy"
    summary = "The student's logits are drawn to the teacher's by their absolute difference."
    paper = "none"
    needs = "logits"

    alpha: Alpha = 0.5

    def distill(self, student: View, teacher: View, batch: Batch) -> Tensor:
        return self.alpha * (student.logits - teacher.logits).abs().mean()
'''
MODEL = '''"""Two convolutions: a toy."""

from torch import Tensor, nn

from kdlight.models.base import Classifier


class Toy(Classifier):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(16, num_classes)

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = self.body(x)
        return self.head(features.mean((2, 3))), [features]

    @property
    def cam_layer(self) -> nn.Module:
        return self.body


def build(name: str, num_classes: int, pretrained: bool = False) -> Classifier:
    return Toy(num_classes)
'''
EXPLAINER = '''"""The sum of the last features, whatever the class: a toy."""

from torch import Tensor, nn

from kdlight.explain.base import Evidence, Progress
from kdlight.explain.watch import cam_layers, forward, stacked


def toy(model: nn.Module, x: Tensor, class_index: int, progress: Progress) -> Evidence:
    watch, _ = forward(model, x, class_index)
    maps, lattice = stacked([maps[0].sum(0, keepdim=True) for maps in watch.maps], watch.lattices)
    return Evidence(maps.sum(0), lattice)
'''
LABELS = '''"""Sets with a file toy.txt of lines `path class`: a toy."""

from pathlib import Path

from kdlight.data.dataset import UNSPLIT
from kdlight.data.files import Labels, Layout, Row


def is_toy(root: Path) -> bool:
    return (root / "toy.txt").is_file()


def read_toy(root: Path, task: str = "") -> Labels:
    rows = [line.split() for line in (root / "toy.txt").read_text(encoding="utf-8").splitlines()]
    labels = Labels()
    labels.rows += [Row(path, name, UNSPLIT, path) for path, name in rows]
    return labels


LAYOUT = Layout("a file toy.txt", is_toy, read_toy)
'''
PAGE = '''"""A page: a toy."""

from kdlight.ui import navigation, theme

navigation.enter()
theme.heading("Toy", "A page that says hello.")
'''
COMMAND = '''"""A command: a toy."""

from kdlight.cli.output import Answer, Json, answers


@answers
def toy(as_json: Json = False) -> Answer:
    """Say hello."""
    return Answer({"hello": "toy"})
'''
ADDITIONS = {
    "a distillation method": Addition(
        "kdlight/distillers/toy.py",
        METHOD,
        "kdlight/distillers/__init__.py",
        (
            ("from kdlight.models.base import Classifier", "from kdlight.distillers.toy import Toy"),
            ("def create_distiller(", 'METHODS["toy"] = Toy'),
        ),
    ),
    "a model": Addition(
        "kdlight/models/toy.py",
        MODEL,
        "kdlight/models/registry.py",
        (
            ("from kdlight.models.zoo import TimmClassifier", "from kdlight.models import toy"),
            ('    "kdlight_nano": Network(', '    "toy": Network("student", "two convolutions", "ours", toy.build),'),
        ),
    ),
    "a heat map method": Addition(
        "kdlight/explain/toy.py",
        EXPLAINER,
        "kdlight/explain/registry.py",
        (
            ("_ALL = (", ""),
            ("    Explainer(", '    Explainer("toy", "Toy", "toy:toy", "none", "Sums."),'),
        ),
    ),
    "a layout of labeled sets": Addition(
        "kdlight/data/toy.py",
        LABELS,
        "kdlight/data/__init__.py",
        (
            ("from kdlight.data.check import", "from kdlight.data import toy"),
            ('    "covidquex": ', '    "toy": toy.LAYOUT,'),
        ),
    ),
    "a page": Addition(
        "pages/toy.py",
        PAGE,
        "kdlight/ui/navigation.py",
        (("FRAME_DRAWN", ""), ('"""In the order of the menu', 'TITLES = (*TITLES, "Toy")')),
    ),
    "a command": Addition(
        "kdlight/cli/toy.py",
        COMMAND,
        "kdlight/cli/__init__.py",
        (
            ("INTERRUPTED = 130", "from kdlight.cli import toy"),
            ('app.command("list")', 'app.command("toy")(toy.toy)'),
        ),
    ),
    "a recipe": Addition(
        "kdlight/recipes/toy.toml",
        '# A toy.\n[data]\npath = "synthetic"\nmodality = "surface"\n[student]\nname = "toy"\ninit = "random"\n'
        '[distill]\nmethod = "toy"\n[teacher]\nepochs = 1\n[train]\nepochs = 1\nalone = false\n',
    ),
}
"""By the guide's own words for them."""


def table() -> dict[str, tuple[str, str]]:
    """The guide's table: what to add, the file to write, where its line goes."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", GUIDE, re.MULTILINE)[1:]
    return {what: (_path(write), _path(line)) for what, write, line in rows}


def _path(cell: str) -> str:
    paths = re.findall(r"`((?:kdlight|pages)/[\w/<>.]+)`", cell)
    return str(paths[0]) if paths else ""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with everything added that ADDITIONS has, by the edits that the guide's table names alone."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("kdlight", "pages", "tests", "assets", ".streamlit"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    for added in ADDITIONS.values():
        (root / added.file).write_text(added.content, encoding="utf-8")
        for before, line in added.lines:
            registry = root / added.registry
            text = registry.read_text(encoding="utf-8")
            assert before in text, f"{added.registry} has no line {before!r}"
            registry.write_text(text.replace(before, f"{line}\n{before}" if line else before, 1), encoding="utf-8")
    return root


def run(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in the copy, which imports nothing of the project itself."""
    given = {**os.environ, "PYTHONPATH": str(root), **environment}
    done = subprocess.run([sys.executable, *words], cwd=root, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def answer(root: Path, *words: str) -> Any:
    return json.loads(run(root, "-m", "kdlight", *words, "--json").stdout)


def test_the_table_names_the_files_that_are_touched_here() -> None:
    touched = {what: (added.file.replace("toy", "<name>"), added.registry) for what, added in ADDITIONS.items()}
    assert {what: files for what, files in table().items() if what in touched} == touched


@pytest.mark.parametrize("kind", ["methods", "models", "explainers", "datasets", "recipes"])
def test_what_is_added_is_listed(copy: Path, kind: str) -> None:
    assert "toy" in [row["name"] for row in answer(copy, "list", kind)]


def test_the_contracts_hold_for_it(copy: Path) -> None:
    done = run(
        copy, "-m", "pytest", "tests/test_contracts.py", "-k", "toy", "-p", "no:cacheprovider", OMP_NUM_THREADS="1"
    )
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 12, done.stdout


def test_its_labels_are_read(copy: Path, tmp_path: Path) -> None:
    import PIL.Image

    for number in range(4):
        PIL.Image.effect_noise((40, 40), 40 + 20 * number).save(tmp_path / f"{number}.png")
    (tmp_path / "toy.txt").write_text("0.png a\n1.png b\n2.png a\n3.png b\n", encoding="utf-8")
    assert answer(copy, "data", "check", str(tmp_path))["classes"] == ["a", "b"]


def test_its_recipe_ends_in_a_bundle(copy: Path, tmp_path: Path) -> None:
    run(copy, "-m", "kdlight", "train", "toy", "--out", str(tmp_path / "run"), OMP_NUM_THREADS="1")
    verified = answer(copy, "verify", str(tmp_path / "run" / "bundle"))
    assert verified["ok"]


def test_its_command_answers(copy: Path) -> None:
    assert answer(copy, "toy") == {"hello": "toy"}


def test_its_page_is_in_the_menu_and_opens(copy: Path) -> None:
    script = (
        "from streamlit.testing.v1 import AppTest\n"
        "from kdlight.ui import navigation\n"
        "assert navigation.TITLES[-1] == 'Toy'\n"
        "app = AppTest.from_file('app.py', default_timeout=60).run().switch_page('pages/toy.py').run()\n"
        "assert not app.exception and app.title[0].value == 'Toy'\n"
    )
    run(copy, "-c", script)


def test_the_method_shown_is_the_one_in_the_repository() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert shown == (ROOT / "kdlight" / "distillers" / "mse.py").read_text(encoding="utf-8")
