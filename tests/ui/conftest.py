"""The whole app without a browser, its workers played by a fake that answers as a test says."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from streamlit.testing.v1 import AppTest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle
from kdlight.contracts.map_likeness import MapLikeness
from kdlight.contracts.reading import ROLES, Eligibility, HeatMap, Opinion, Reading
from kdlight.images import Image
from kdlight.ui import sessions, waiting
from kdlight.ui.read import readings
from kdlight.workers import Read
from kdlight.workers.strikes import Strikes
from tests.served import serving

APP = str(Path(__file__).resolve().parents[2] / "app.py")
ANSWERS = {"teacher": (0.1, 0.7, 0.2), "student": (0.05, 0.9, 0.05)}


class FakeTicket:
    """Answers at once unless a test keeps it waiting."""

    def __init__(self, answer: Any, waits: bool = False, position: int = 0, request: Any = None) -> None:
        self.done, self.position, self.request = not waits, position, request
        self.progress = (0.25, "Grad-CAM of the teacher")
        self.cancelled = False
        self._answer = answer

    def result(self, timeout: float | None = None) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def cancel(self) -> None:
        self.cancelled = True


class FakeWorkers:
    """Keeps what it was asked; `answer` makes a ticket of it."""

    def __init__(self, answer: Callable[[Any], FakeTicket]) -> None:
        self.asked: list[Any] = []
        self.idle = True
        self.strikes = Strikes()
        self.answer = answer

    def submit(self, request: Any, *arguments: Any) -> FakeTicket:
        self.asked.append(request if not arguments else (request, *arguments))
        return self.answer(self.asked[-1])


def a_reading(asked: Read, bundle: Bundle, answers: dict[str, tuple[float, ...]] = ANSWERS) -> Reading:
    """What the real thing would say, with the probabilities that a test wants."""

    def opinion(role: str) -> Opinion:
        p = dict(zip(bundle.classes, answers[role], strict=True))
        top = asked.class_name or max(p, key=p.__getitem__)
        values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
        heat = HeatMap(asked.explain, top, values, False, "Concentrated.", 0.1) if asked.explain else None
        size = 4_000_000 if role == "teacher" else 400_000
        return Opinion(
            role=role,  # type: ignore[arg-type]
            architecture=bundle.card.network(role).architecture,
            probabilities=p,
            prediction=max(p, key=p.__getitem__),
            prediction_set=tuple(name for name, share in p.items() if share >= 0.2),
            margin=0.1,
            parameters=1,
            bytes=size,
            heat_map=heat,
            thresholds=bundle.card.thresholds(role),  # type: ignore[arg-type]
        )

    reasons = ("You chose CT; Tiny MRI was trained on MRI.",) if asked.confirmed else ()
    return Reading(
        bundle=bundle.card.id,
        bundle_version="1",
        bundle_sha256=bundle.sha256,
        image=asked.image.facts,
        eligibility=Eligibility(not reasons, reasons, asked.confirmed),
        **{role: opinion(role) for role in ROLES},  # type: ignore[arg-type]
        must_not_miss=bundle.card.must_not_miss,
        sensitivity=bundle.card.sensitivities(),
        map_similarity=0.81 if asked.explain else None,
        map_likeness=MapLikeness(0.81, 0.6) if asked.explain else None,
    )


KEPT = 10
"""Seconds that the server under test keeps a session whose window is closed."""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Path:
    """Where the server under test keeps its library and its runs."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(tiny_bundle.path, root / "library" / "tiny_mri")
    return root


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[str]:
    """The address of the app as a person starts it."""
    with serving(home, "--server.disconnectedSessionTTL", str(2 * KEPT)) as address:
        yield address


@pytest.fixture
def library(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library with the tiny bundle, no shipped ones, and no runs."""
    root = tmp_path / "library"
    shutil.copytree(tiny_bundle.path, root / "tiny_mri")
    monkeypatch.setenv("KDLIGHT_LIBRARY", str(root))
    monkeypatch.setenv("KDLIGHT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("KDLIGHT_DATA", str(tmp_path))
    monkeypatch.setattr(sessions, "browser", lambda: "this browser")
    monkeypatch.setattr(bundles.artifact, "shipped_folder", lambda: tmp_path / "shipped")
    return root


@pytest.fixture
def workers(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> FakeWorkers:
    """Workers that read at once; a test may set `answer` to something else."""
    fake = FakeWorkers(lambda asked: FakeTicket(a_reading(asked, tiny_bundle)))
    monkeypatch.setattr(waiting, "workers", lambda: fake)
    monkeypatch.setattr(readings, "SOON", 0.05)
    return fake


@pytest.fixture
def app(library: Path, workers: FakeWorkers) -> AppTest:
    """The app, on its first page."""
    return AppTest.from_file(APP, default_timeout=30).run()


def page(app: AppTest, name: str) -> AppTest:
    """The app on another of its pages."""
    return app.switch_page(f"pages/{name}.py").run()


def said(app: AppTest) -> str:
    """Everything on the page that a person can read, in order."""
    kinds = ("title", "subheader", "html", "markdown", "caption", "info", "warning", "error", "success")
    texts = [
        element.value if hasattr(element, "value") else element.body for kind in kinds for element in app.get(kind)
    ]
    return "\n".join(str(text) for text in texts)


def colored(image: Image) -> Image:
    return replace(image, pixels=np.repeat(image.pixels[..., None], 3, 2).astype(np.uint8), windows=())


def sample(app: AppTest, name: str) -> AppTest:
    return app.button(key=name).click().run()


def upload(app: AppTest, content: bytes, name: str = "Doe^Jane.dcm") -> AppTest:
    return app.sidebar.file_uploader[0].upload(name, content).run()


def button(app: AppTest, label: str) -> Any:
    return next(b for b in app.button if b.label == label)


def png(side: int = 40) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.tile(np.arange(side, dtype=np.uint8), (side, 1))).save(file, "PNG")
    return file.getvalue()


def above(app: AppTest) -> str:
    """What stands over the pictures in place of the verdict."""
    block = next(b for b in app.main.children.values() if getattr(b.proto, "id", "").endswith("kd_above"))
    kinds = ("html", "info", "warning", "error")
    return "\n".join(str(e.value if hasattr(e, "value") else e.body) for kind in kinds for e in block.get(kind))
