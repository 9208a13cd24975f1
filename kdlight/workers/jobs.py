"""Long work that a page asks for and no bundle's warm models are needed for. Imported by the worker only."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from kdlight.bundle.card import Metrics
from kdlight.bundle.speed import Speed
from kdlight.explain import Progress
from kdlight.trust.monitoring import Result
from kdlight.workers.requests import (
    Accept,
    Catalog,
    CheckData,
    Compare,
    Comparison,
    Curves,
    EstimateTime,
    Evaluation,
    FindWeights,
    License,
    ListCatalog,
    Method,
    Network,
    Published,
    ReliabilityCurve,
    RocCurve,
    ShownFlip,
    TimeEstimate,
)

if TYPE_CHECKING:
    from kdlight.bundle import Bundle
    from kdlight.data import Dataset
    from kdlight.data.check import Check
    from kdlight.metrics import Flip

FLIPS_SHOWN = 60
THUMBNAIL = 128
CURVE_POINTS = 100


def catalog(_: ListCatalog, progress: Progress) -> Catalog:
    progress(0.1, "Looking up models and methods")
    from kdlight.contracts.options import declared
    from kdlight.distillers import METHODS
    from kdlight.models import GENERAL, MODELS
    from kdlight.preprocessing.augment import AUGMENTATIONS

    return Catalog(
        methods={n: Method(summary=m.summary, paper=m.paper, options=declared(m)) for n, m in METHODS.items()},
        networks={
            name: Network(role=network.role, summary=f"{network.summary} ({network.source})", family=network.family)
            for name, network in MODELS.items()
        },
        augmentations=tuple(AUGMENTATIONS),
        general={name: License(words=one.words, commercial=one.commercial) for name, (_, one) in GENERAL.items()},
    )


def find_weights(request: FindWeights, progress: Progress) -> Published:
    progress(0.3, "Looking for the network's published weights")
    from kdlight.models import published

    return Published(
        lacking=published.lacking(request.network),
        licenses=published.licenses(request.network),
        commercial=published.commercial(request.network),
    )


def check_data(request: CheckData, progress: Progress) -> Check:
    from kdlight import data

    return data.check(data.open_dataset(request.path), _counting(progress, "Reading image {} of {}"))


def compare(request: Compare, progress: Progress) -> Comparison:
    from kdlight.benchmark import BusyError, quiet_latency

    bundle = _proven(request, progress)
    evaluation = _evaluate(bundle, request, progress) if request.data else None
    try:
        timing = _counting(progress, "Timing both", 0.8)
        report = quiet_latency(bundle, bundle.spec.size, progress=timing)
        return Comparison(evaluation=evaluation, speed=Speed.of(report.model_dump()), bundle_sha256=bundle.sha256)
    except BusyError as busy:
        return Comparison(evaluation=evaluation, busy=str(busy), bundle_sha256=bundle.sha256)


def accept(request: Accept, progress: Progress) -> Result:
    from kdlight.inference import accept as accepting

    bundle, counting = _proven(request, progress), _counting(progress, "Reading case {} of {}")
    if request.since is not None:
        return accepting.go_on(bundle, request.data, request.since, progress=counting)
    return accepting.accept(bundle, request.data, request.bar, progress=counting)


def _proven(request: Compare | Accept, progress: Progress) -> Bundle:
    """The bundle of a request. Raises BundleError where it does not reproduce its golden cases."""
    from kdlight import bundle as bundles
    from kdlight.inference import Predictor
    from kdlight.workers.models import require

    bundle = bundles.load(request.bundle)
    if bundle.sha256 not in request.proven:
        progress(0.0, "Asking both models their golden cases")
        require(Predictor(bundle), request.proven)
    return bundle


def _evaluate(bundle: Bundle, request: Compare, progress: Progress) -> Evaluation:
    from kdlight.inference import measures
    from kdlight.inference.evaluate import evaluate
    from kdlight.workers.looks import looks

    assert request.data is not None
    measured = evaluate(
        bundle, request.data, request.split, lambda share, words: progress(0.6 * share, words), masks=request.masks
    )
    alike, cases = looks(bundle, measured, lambda share, words: progress(0.6 + 0.1 * share, words))
    part, flips = measured.part, measured.flips or ()
    trust = {
        "ledger": measures.ledger_of(bundle, measured),
        "coverage": measures.coverage_of(bundle, measured),
        "subgroups": measures.subgroups_of(bundle, measured),
        "look_alike": alike,
        "shortcuts": measures.shortcuts_of(bundle, measured, lambda share, words: progress(0.7 + 0.1 * share, words)),
    }
    return Evaluation(
        metrics=Metrics.model_validate({"split": measured.split, "n": measured.n, **measured.reports, **trust}),
        flips=len(flips),
        shown=tuple(_shown(part, flip, measured.pixels) for flip in flips[:FLIPS_SHOWN]),
        curves={r: _curves(p, part.labels, bundle.classes) for r, p in measured.probabilities.items()},
        localization=measured.localization,
        looks=cases,
        drift=measures.drift_of(bundle, measured),
    )


def _shown(part: Dataset, flip: Flip, pixels: np.ndarray) -> ShownFlip:
    index = next(i for i, item in enumerate(part.items) if item.ref == flip.path)
    picture = PIL.Image.fromarray(pixels[index])
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    png = io.BytesIO()
    picture.save(png, "PNG")
    thumbnail = base64.b64encode(png.getvalue()).decode()
    return ShownFlip(**dict(flip), thumbnail=thumbnail, file=part.source.file(flip.path))


def _curves(probabilities: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> Curves:
    """ROC per class that has both sides, thinned to CURVE_POINTS, and reliability without its empty bins."""
    from kdlight.metrics import reliability_curve, roc_curve

    roc = {}
    for index, name in enumerate(classes):
        positive = labels == index
        if positive.any() and not positive.all():
            false, true, _ = roc_curve(probabilities[:, index], positive)
            points = np.unique(np.linspace(0, len(false) - 1, CURVE_POINTS).round().astype(int))
            roc[name] = RocCurve(false=false[points].tolist(), true=true[points].tolist())
    confidence, right, count = reliability_curve(probabilities, labels)
    full = count > 0
    columns = {"confidence": confidence, "accuracy": right, "count": count}
    return Curves(roc=roc, reliability=ReliabilityCurve(**{n: c[full].tolist() for n, c in columns.items()}))


def estimate_time(request: EstimateTime, progress: Progress) -> TimeEstimate:
    from kdlight.training.effort import try_out

    trial = try_out(request.recipe, progress)
    return TimeEstimate(seconds=trial.seconds(request.recipe), images=trial.images)


def _counting(progress: Progress, words: str, start: float = 0.0) -> Callable[[int, int], None]:
    """A progress of (done, total) as the part of another's from `start` on; words: with places for both numbers."""
    return lambda done, total: progress(start + (1 - start) * done / total, words.format(done, total))
