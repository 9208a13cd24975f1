"""What a worker does with the models of a bundle. Imported by the worker only; torch comes with the warm-up."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from kdlight import bundle as bundles
from kdlight.bundle import BundleError, OverLimitError, signature
from kdlight.bundle.speed import Speed
from kdlight.contracts.reading import Reading
from kdlight.explain import Progress
from kdlight.inference import Predictor
from kdlight.workers.requests import Latency, Read, Verification, Verify

if TYPE_CHECKING:
    from torch import nn

BUNDLES = 4
"""Held in memory by one worker, those used last."""


def read(request: Read, progress: Progress) -> Reading:
    try:
        return _read(request, progress)
    except (BundleError, OverLimitError) as error:
        lacking = isinstance(error, OverLimitError) or isinstance(error.__cause__, (MemoryError, RuntimeError))
        if not lacking or not _load.cache_info().currsize:
            raise
        _load.cache_clear()  # what other bundles hold in memory may be what this one lacked
        return _read(request, progress)


def _read(request: Read, progress: Progress) -> Reading:
    predictor = _predictor(request.bundle, progress)
    require(predictor, request.proven)
    progress(0.0, "Teacher and student are reading the scan")
    asked = (request.explain, request.class_name, request.confirmed, request.modality)
    return predictor.read(request.image, *asked, progress=progress, options=request.options)


_PROVEN: set[str] = set()
"""Bundles that reproduced their golden cases in this process."""


def require(predictor: Predictor, proven: Collection[str]) -> None:
    """Once for each bundle on a server: raise BundleError where it does not reproduce its golden cases."""
    from kdlight.inference import golden

    sha256 = predictor.bundle.sha256
    if sha256 not in _PROVEN and sha256 not in proven:
        golden.require(predictor)
    _PROVEN.add(sha256)


def measure_latency(request: Latency, progress: Progress) -> Speed:
    from kdlight.benchmark import latency, quiet_latency

    def report(done: int, total: int) -> None:
        progress(done / total, f"Round {done} of {total}")

    measure = quiet_latency if request.quiet else latency
    timed = measure(bundles.load(request.bundle), request.size, progress=report)
    return Speed.model_validate(timed.model_dump())


def verify(request: Verify, progress: Progress) -> Verification:
    from kdlight.inference import golden

    progress(0.0, "Checking every file")
    bundle = bundles.load(request.bundle)
    check = golden.check(bundle, lambda share, words: progress(0.1 + 0.9 * share, words))
    return Verification(
        bundle=bundle.card.id,
        sha256=bundle.sha256,
        fault=check.fault,
        signature=signature.look(bundle),
        **check.model_dump(),
    )


def _predictor(path: Path, progress: Progress) -> Predictor:
    """The Predictor of a bundle, loaded once for as long as its checksum file stays as it is. Raises BundleError."""
    sums = path / bundles.SUMS
    stamp = sums.stat() if sums.is_file() else None
    progress(0.0, "Loading the models")
    return _load(path, stamp and (stamp.st_mtime_ns, stamp.st_ino))


@lru_cache(BUNDLES)
def _load(path: Path, _stamp: tuple[int, int] | None) -> Predictor:
    return Predictor(bundles.load(path))


def warm_up(threads: int) -> Iterator[str]:
    """Import and run what the first request would pay for, in steps; requests may be answered between them."""
    import torch

    torch.set_num_threads(threads)
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    from kdlight.models import create_model

    model: nn.Module = create_model("kdlight_nano", 2).eval()
    x = torch.zeros(1, 3, 64, 64)
    with torch.inference_mode():
        model(x)
    yield "models"
    from kdlight.explain import explain

    explain(model, x.uniform_(), 0)
    yield "heat maps"
