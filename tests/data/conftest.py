from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.data import synthetic


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where rendered pixels are kept in this test."""
    monkeypatch.setenv("KDLIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pixels"


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small picture at a path under tmp_path / "set" and returns the set's folder."""

    def write(*refs: str, shade: int | None = None) -> Path:
        for number, ref in enumerate(refs):
            path = tmp_path / "set" / ref
            path.parent.mkdir(parents=True, exist_ok=True)
            level = number + 10 if shade is None else shade
            PIL.Image.fromarray(np.full((8, 6), level, dtype=np.uint8)).save(path)
        return tmp_path / "set"

    return write


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic set: 3 classes of 12 images, two to a group. Do not change it."""
    return synthetic(tmp_path_factory.mktemp("shapes") / "set", per_class=12, size=32)
