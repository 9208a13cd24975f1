"""The record of an acceptance, bound by hashes, and the stop rule that goes on from it on later cases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from kdlight import storage
from kdlight.bundle import Card
from kdlight.bundle.part import Count, Line, Name, Part
from kdlight.contracts.bar import Bar, BarError
from kdlight.contracts.reading import Role
from kdlight.metrics import sequential
from kdlight.metrics.acceptance import Rate
from kdlight.trust import acceptance
from kdlight.trust.acceptance import Case, Sha256, asked, counted

Verdict = Literal["accepted", "rejected", "undecided", "go on", "stop"]
"""Of an acceptance: every line passes; one fails; else too few cases. Of monitoring the last two."""
Watched = Literal["sensitivity", "answered"]
LARGEST = 64 * 2**20
"""Bytes of a record: some hundred thousand cases."""


class ResultError(ValueError):
    """A record that is not as it was written, or of something else."""


class Watch(Part):
    """The evidence that one line is no longer kept, over all looks so far."""

    criterion: Watched
    of: Name | None
    model: Role | None
    bar: float = Field(gt=0, lt=1)
    n: Count = 0
    """Independent cases of all looks."""
    right: Count = 0
    stakes: tuple[()] | tuple[float, float, float, float] = ()
    """Logs of what the bets have become; see `kdlight.metrics.sequential`."""
    evidence: float = 1.0
    """1 at first; rarely large while the line is kept."""
    limit: float
    """Evidence at which to stop."""
    stop: bool = False
    """It was reached, now or before."""


class Result(Part):
    """What was found on a person's cases, with all that it rests on, and a digest over it."""

    form: Literal["kdlight.acceptance/1"] = Field(default="kdlight.acceptance/1", alias="schema")
    created: Line
    """ISO time, UTC."""
    versions: dict[Name, Line]
    bundle: Name
    bundle_name: Name
    bundle_version: Name
    bundle_sha256: str = Sha256
    data: Line
    """The set's folder or file, without the folders above it."""
    split: Line
    bar: Bar
    bar_sha256: str = Sha256
    verdict: Verdict
    lines: tuple[acceptance.Line, ...] = ()
    """Of the first record of a chain; later ones have `watches`."""
    watches: tuple[Watch, ...] = ()
    looks: Count = 0
    """At later cases, this one included."""
    cases: tuple[Case, ...]
    """Those that are counted here."""
    repeated: Count = 0
    """Files that were there twice, or were counted in a record before, and are not counted."""
    seen: tuple[str, ...] = ()
    """Keys of the cases of the records before."""
    before: str | None = None
    """Digest of the record before, None of the first."""
    began: Verdict | None = None
    """Of a later look: the verdict of the first record."""
    sha256: str = ""
    """Digest of all the rest of this record."""

    @property
    def withheld(self) -> int:
        return sum(case.student is None for case in self.cases)

    @property
    def known(self) -> frozenset[str]:
        """Keys of all cases that were ever counted."""
        return frozenset((*self.seen, *(case.key for case in self.cases)))

    def sealed(self) -> Result:
        """With its digest."""
        values = self.model_dump(mode="json", by_alias=True)
        return Result.model_validate({**values, "sha256": digest_of(values)})

    def text(self) -> str:
        """The record as it is written to a file."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False) + "\n"


def digest_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of a record's values but its own digest, as JSON with sorted keys and without spaces."""
    rest = {key: value for key, value in values.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_result(source: str | Path | bytes) -> Result:
    """A record from its file or its bytes. Raises ResultError where it was changed or is none, FileNotFoundError."""
    name = "The record" if isinstance(source, bytes) else Path(source).name
    try:
        values = json.loads(source if isinstance(source, bytes) else storage.read(source, LARGEST))
        found = Result.model_validate(values)
    except FileNotFoundError:
        raise
    except ValidationError as error:
        raise ResultError(
            f"{name} is no record of an acceptance ({storage.first_problem(error)}); the JSON file that kdlight accept "
            "wrote was expected. Give that file."
        ) from None
    except (ValueError, RecursionError):
        raise ResultError(
            f"{name} cannot be read as JSON; the file that kdlight accept wrote was expected. Give that file."
        ) from None
    if digest_of(values) != found.sha256:
        raise ResultError(
            f"{name} was changed after it was written: its digest is not the one it states. Give the original file."
        )
    return found


def verdict_of(lines: Sequence[acceptance.Line]) -> Verdict:
    outcomes = {line.outcome for line in lines}
    return "accepted" if outcomes == {"pass"} else "rejected" if "fail" in outcomes else "undecided"


def watches(bar: Bar, card: Card) -> tuple[Watch, ...]:
    """Before any look: one of each line that is watched. Raises BarError where there is none."""
    lines = [line for line in asked(bar, card) if line.criterion in get_args(Watched)]
    if not lines:
        known = " or ".join(get_args(Watched))
        raise BarError(f"of the record has no line of {known}, so there is nothing to watch. Accept anew.", "The bar")
    limit = len(lines) / (1 - bar.confidence)
    return tuple(Watch.model_validate({**line._asdict(), "limit": round(limit, 6)}) for line in lines)


def looked(before: Sequence[Watch], looks: int, cases: Sequence[Case], bar: Bar) -> tuple[Watch, ...]:
    """After a look at new cases; looks: how many there were before. A line without new cases stays as it is."""

    def after(watch: Watch) -> Watch:
        line = acceptance.Asked(watch.criterion, watch.of, watch.model, watch.bar)
        counts = counted(line, cases, bar)
        assert isinstance(counts, Rate)
        right, n = int(counts.x), counts.n
        stakes = sequential.look(watch.stakes, looks, right, n, watch.bar)
        evidence = sequential.evidence(stakes, looks + 1)
        stop = watch.stop or evidence >= watch.limit
        totals = {"n": watch.n + n, "right": watch.right + right}
        return watch.replace(stakes=stakes, evidence=evidence, stop=stop, **totals)

    return tuple(map(after, before))
