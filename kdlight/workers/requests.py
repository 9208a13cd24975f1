"""What a worker can be asked: each request with the type of its answer, and which function gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from kdlight.bundle.card import Metrics
from kdlight.bundle.signature import Signature
from kdlight.bundle.speed import Speed
from kdlight.contracts.bar import Bar
from kdlight.contracts.options import Declared, Value
from kdlight.contracts.reading import Reading, Role
from kdlight.contracts.recipe import Recipe
from kdlight.images import Image
from kdlight.metrics import Flip
from kdlight.metrics.drift import Drift
from kdlight.metrics.localization import Localization
from kdlight.metrics.look_alike import MapCase
from kdlight.trust.monitoring import Result

if TYPE_CHECKING:
    from kdlight.data.check import Check  # noqa: F401  named in a string below

PLAIN_READ = 15.0
EXPLAINED_READ = 60.0
"""Seconds that one step of a reading may take."""
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Request(Generic[R_co]):
    """Values that a message may hold. The parameter is the type of the answer."""

    @property
    def patience(self) -> float | None:
        """Seconds without a sign of life after which its process is ended; None as with any work."""
        return None

    @classmethod
    def answer_type(cls) -> Any:
        (base,) = cls.__orig_bases__  # type: ignore[attr-defined]
        return get_args(base)[0]


class Answer(BaseModel):
    """What a worker says in more than one value."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, eq=False)
class Read(Request[Reading]):
    """Both opinions of one image, and their heat maps where `explain` names a method."""

    bundle: Path
    image: Image
    explain: str | None = None
    class_name: str | None = None
    confirmed: bool = False
    modality: str | None = None
    options: Mapping[str, Value] = field(default_factory=dict)
    """Of the method of the heat maps."""
    proven: tuple[str, ...] = ()
    """See `kdlight.workers.proofs`."""

    @property
    def patience(self) -> float:
        """The models are loaded in one step and asked in the next; a heat map takes many."""
        return PLAIN_READ if self.explain is None else EXPLAINED_READ


@dataclass(frozen=True)
class Latency(Request[Speed]):
    """Student against teacher by the clock, see `kdlight.benchmark.latency`."""

    bundle: Path
    size: int = 224
    quiet: bool = False
    """Refuse with a BusyError while other work keeps the machine busy, before and after."""

    @property
    def patience(self) -> float:
        """It comes forward in rounds."""
        return EXPLAINED_READ


class Verification(Answer):
    """See `kdlight.inference.golden.check`."""

    bundle: str
    sha256: str
    ok: bool
    cases: int
    probability_change: dict[Role, float]
    map_change: dict[Role, float] | None
    onnx_torch_difference: float
    bound: bool
    changed: tuple[str, ...]
    fault: str | None
    signature: Signature


@dataclass(frozen=True)
class Verify(Request[Verification]):
    """Checksums and golden cases."""

    bundle: Path

    @property
    def patience(self) -> float:
        """It comes forward in steps, as heat maps do."""
        return EXPLAINED_READ


class Method(Answer):
    """A distillation method."""

    summary: str
    paper: str
    options: tuple[Declared, ...]


class Network(Answer):
    """A network that goes by a name of ours."""

    role: Role
    summary: str
    family: str


class License(Answer):
    """What weights may be used under."""

    words: str
    commercial: bool


class Catalog(Answer):
    """What can be chosen for a training, by name."""

    methods: dict[str, Method]
    networks: dict[str, Network]
    augmentations: tuple[str, ...]
    general: dict[str, License]
    """The students that kdlight ships pre-distilled weights of, and what those may be used under."""


@dataclass(frozen=True)
class ListCatalog(Request[Catalog]):
    """What the registries hold."""


@dataclass(frozen=True)
class CheckData(Request["Check"]):
    """What is in a labeled set, and what is wrong with it."""

    path: str

    @classmethod
    def answer_type(cls) -> Any:
        """Imported here, since it brings the DICOM library along."""
        from kdlight.data.check import Check

        return Check


class TimeEstimate(Answer):
    """How long a training takes here, in seconds, on so many images."""

    seconds: float
    images: int


@dataclass(frozen=True)
class EstimateTime(Request[TimeEstimate]):
    """Tried with some batches of each phase."""

    recipe: Recipe


class Published(Answer):
    """Whether a network's published weights can be had now."""

    lacking: str | None
    """Why they cannot, as a clause; None where they can."""
    licenses: tuple[str, ...] = ()
    """Ids of what they are published under."""
    commercial: bool = True


@dataclass(frozen=True)
class FindWeights(Request[Published]):
    """Whether the published weights of a network can be had now."""

    network: str


class RocCurve(Answer):
    """Of one class against the rest: false and true positive rates, both rising from 0 to 1."""

    false: tuple[float, ...]
    true: tuple[float, ...]


class ReliabilityCurve(Answer):
    """Mean stated probability, share that was right and number of images, of every bin that is not empty."""

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    count: tuple[int, ...]


class Curves(Answer):
    """Of one model; roc by class, where it has images of it and of others."""

    roc: dict[str, RocCurve]
    reliability: ReliabilityCurve


class ShownFlip(Flip):
    """With what the models saw (a PNG in base64), and the file behind it where there is one."""

    thumbnail: str
    file: Path | None


class ShownCase(MapCase):
    """With the file behind it where there is one, and both maps over what the models saw where they are drawn."""

    file: Path | None
    pictures: dict[Role, str]
    """PNGs in base64."""


class Evaluation(Answer):
    """Both models on one labeled split."""

    metrics: Metrics
    flips: int
    """Images on which they differ."""
    shown: tuple[ShownFlip, ...]
    curves: dict[Role, Curves]
    localization: Localization | None
    """None without outlines."""
    looks: tuple[ShownCase, ...] = ()
    """Of up to 300 images, how far maps and probabilities are apart."""
    drift: Drift | None = None
    """None where the bundle does not know how the images of its training are."""


class Comparison(Answer):
    """evaluation: None without data. speed: None where the clock was not used, `busy` then says why."""

    evaluation: Evaluation | None = None
    speed: Speed | None = None
    bundle_sha256: str | None = None
    busy: str | None = None


@dataclass(frozen=True)
class Compare(Request[Comparison]):
    """Both models of a bundle by the clock, and on a labeled set where one is named; masks: a folder of outlines."""

    bundle: Path
    data: str | None = None
    split: str | None = None
    masks: str | None = None
    proven: tuple[str, ...] = ()
    """See `kdlight.workers.proofs`."""


@dataclass(frozen=True)
class Accept(Request[Result]):
    """Labeled cases against a bar; with `since`, a record from before, later cases against the bar of that."""

    bundle: Path
    data: str
    bar: Bar | None = None
    since: Result | None = None
    proven: tuple[str, ...] = ()
    """See `kdlight.workers.proofs`."""


FUNCTIONS: Mapping[type[Request[Any]], str] = {
    Read: "kdlight.workers.models:read",
    Latency: "kdlight.workers.models:measure_latency",
    Verify: "kdlight.workers.models:verify",
    ListCatalog: "kdlight.workers.jobs:catalog",
    CheckData: "kdlight.workers.jobs:check_data",
    EstimateTime: "kdlight.workers.jobs:estimate_time",
    FindWeights: "kdlight.workers.jobs:find_weights",
    Compare: "kdlight.workers.jobs:compare",
    Accept: "kdlight.workers.jobs:accept",
}
"""Functions of (request, progress), by module:name: only the worker imports them, since they import torch."""
