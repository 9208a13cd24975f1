"""What a worker can be asked. Every request is a frozen dataclass of plain values and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kdlight.explain import DEFAULT
from kdlight.images import Image


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Both opinions of one image, and their heat maps where `explain` names a method: gives a Reading."""

    bundle: Path
    image: Image
    explain: str | None = None
    class_name: str | None = None
    confirmed: bool = False
    modality: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class HeatMaps:
    """Both heat maps of one image: gives a dict of role to HeatMap."""

    bundle: Path
    image: Image
    method: str = DEFAULT
    class_name: str | None = None
    confirmed: bool = False
    modality: str | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """Student against teacher by the clock: gives the report of `kdlight.benchmark.latency`."""

    bundle: Path
    size: int = 224
    threads: int = 1
    runs: int = 50
    warmups: int = 10
    quiet: bool = False
    """Refuse with a BusyError while other work keeps the machine busy, before and after."""


@dataclass(frozen=True, slots=True)
class Verify:
    """Checksums and golden cases: gives the report of `kdlight.inference.golden.check`."""

    bundle: Path


@dataclass(frozen=True, slots=True)
class Warm:
    """Load a bundle, so that the first reading with it is as quick as the next: gives its sha256."""

    bundle: Path


Request = Read | HeatMaps | Latency | Verify | Warm

REQUESTS: dict[str, type[Request]] = {
    "read": Read,
    "heat_maps": HeatMaps,
    "latency": Latency,
    "verify": Verify,
    "warm": Warm,
}
