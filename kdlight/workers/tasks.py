"""What a worker does for each request. Runs in the child only; torch is imported by the warm-up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdlight import bundle as bundles
from kdlight.explain import Progress
from kdlight.inference import Predictor
from kdlight.reading import HeatMap, Reading, Role
from kdlight.workers.requests import HeatMaps, Latency, Read, Request, Verify, Warm

if TYPE_CHECKING:
    from torch import nn

KEPT = 4
"""Bundles held in memory by one worker."""


class Desk:
    """Loaded bundles, the ones used last. A bundle whose checksum file changed is loaded again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], Predictor] = OrderedDict()

    def __call__(self, request: Request, progress: Progress) -> Any:
        """The answer to a request; whatever it raises goes back to whoever asked."""
        match request:
            case Read():
                return self._read(request, progress)
            case HeatMaps():
                return self._heat_maps(request, progress)
            case Latency():
                return self._latency(request, progress)
            case Verify():
                return self._verify(request, progress)
            case Warm():
                return self.predictor(request.bundle, progress).bundle.sha256

    def predictor(self, path: Path, progress: Progress) -> Predictor:
        """The Predictor of a bundle, loaded and warm. Raises BundleError."""
        sums = path / bundles.SUMS
        stamp = sums.stat() if sums.is_file() else None
        key = (str(path), stamp.st_mtime_ns if stamp else 0, stamp.st_ino if stamp else 0)
        if key not in self._kept:
            progress(0.0, "Loading the models")
            self._kept[key] = Predictor(bundles.load(path))
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _read(self, asked: Read, progress: Progress) -> Reading:
        predictor = self.predictor(asked.bundle, progress)
        progress(0.0, "Teacher and student are reading the scan")
        return predictor.read(
            asked.image, asked.explain, asked.class_name, asked.confirmed, asked.modality, progress=progress
        )

    def _heat_maps(self, asked: HeatMaps, progress: Progress) -> dict[Role, HeatMap]:
        predictor = self.predictor(asked.bundle, progress)
        return predictor.heat_maps(
            asked.image, asked.method, asked.class_name, asked.confirmed, asked.modality, progress=progress
        )

    def _latency(self, asked: Latency, progress: Progress) -> dict[str, Any]:
        from kdlight.benchmark import latency, quiet_latency

        def report(done: int, total: int) -> None:
            progress(done / total, f"Round {done} of {total}")

        measure = quiet_latency if asked.quiet else latency
        timed = measure(
            bundles.load(asked.bundle), asked.size, asked.threads, asked.runs, asked.warmups, progress=report
        )
        return timed.model_dump(mode="json")

    def _verify(self, asked: Verify, progress: Progress) -> dict[str, Any]:
        from kdlight.inference import golden

        progress(0.0, "Checking every file")
        bundle = bundles.load(asked.bundle)
        progress(0.5, "Asking both models the golden cases")
        return {"bundle": bundle.card.id, "sha256": bundle.sha256, **golden.check(bundle)}


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
