"""What most rooms need: a tiny bundle that is whole, and a tiny image. Nothing here imports torch before it is used."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest

from kdlight.contracts.modality import Window
from kdlight.images import Image

if TYPE_CHECKING:
    from kdlight.benchmark.training import Bench
    from kdlight.bundle import Bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A whole, sealed bundle for MRI at 64 px with untrained weights. Read-only: `bundle_copy` may be changed."""
    from tests.tiny import build

    return build(tmp_path_factory.mktemp("bundles") / "tiny_mri")


def picture(side: int = 96, seed: int = 0, modality: str | None = "mri", color: bool = False) -> Image:
    """A drawn image as `images.read` gives it: gray in 0 to 255, or RGB."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3 if color else 1), dtype=np.uint8)
    large = PIL.Image.fromarray(coarse if color else coarse[:, :, 0]).resize((side, side))
    pixels = np.asarray(large)
    return Image(
        pixels=pixels if color else pixels.astype(np.float32),
        sha256=f"{seed:064x}",
        format="png",
        bits=8,
        windows=() if color else (Window(127.5, 255),),
        modality=modality,
    )


@pytest.fixture
def tiny_image() -> Image:
    """A gray MRI of 96 x 96 pixels."""
    return picture()


@pytest.fixture
def bundle_copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A folder with the tiny bundle that a test may change."""
    return Path(shutil.copytree(tiny_bundle.path, tmp_path / "tiny_mri"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The training benchmark on 36 drawn images of 32 px."""
    from kdlight.benchmark.training import Bench
    from kdlight.data import open_dataset, synthetic
    from kdlight.preprocessing import InputSpec

    dataset = open_dataset(synthetic(tmp_path / "drawn", per_class=12, size=32))
    return Bench.of(dataset, InputSpec(32), tmp_path)
