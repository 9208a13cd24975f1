"""The command that holds a bundle against a bar on one's own cases, and says later when to stop using it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight import storage
from kdlight.cli.output import Answer, BundleFolder, Data, Json, UsageError, answers, counted, open_bundle, table

if TYPE_CHECKING:
    from kdlight.trust.acceptance import Line
    from kdlight.trust.monitoring import Result

VERDICTS = {
    "accepted": "Accepted: every line of the bar is passed.",
    "rejected": "Rejected: a line of the bar is failed.",
    "undecided": "Undecided: too few cases for a line of the bar.",
    "go on": "Go on: no line of the bar is proven to be kept no longer.",
    "stop": "Stop using this bundle: a line of the bar is no longer kept.",
}


@answers
def accept(
    bundle: BundleFolder,
    data: Data,
    bar: Annotated[Path | None, typer.Option(help="The bar, as TOML; else one for what must not be missed.")] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("-o", "--override", metavar="KEY=VALUE", help="Change of it: sensitivity.malignant=0.95."),
    ] = None,
    since: Annotated[
        Path | None, typer.Option(help="A record from before: count its later cases, and say whether to stop.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to take; else test, val or all, the first there is.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the record, JSON; --since goes on from it.")] = None,
    as_json: Json = False,
) -> Answer:
    """Hold a bundle against your bar on your own labeled cases: pass, fail or too few, per line."""
    from kdlight.contracts.bar import changed_bar, read_bar
    from kdlight.inference import accept as accepting
    from kdlight.trust.acceptance import default_bar
    from kdlight.trust.monitoring import read_result

    opened = open_bundle(bundle)
    if since is not None and (bar is not None or override):
        raise UsageError("--since goes on with the bar of the record; leave --bar and -o out, or accept anew.")
    with counted("Reading") as shown:
        if since is not None:
            found = accepting.go_on(opened, data, read_result(since), split, shown)
        else:
            asked = changed_bar(read_bar(bar) if bar else default_bar(opened.card), override or ())
            found = accepting.accept(opened, data, asked, split, shown)
    if out is not None:
        storage.write(out, found.text())
    return Answer(found.model_dump(mode="json", by_alias=True), list(_text(found)))


def _text(found: Result) -> Iterator[Any]:
    yield VERDICTS[found.verdict]
    kept_back = f", {found.withheld} of them withheld by the bundle" if found.withheld else ""
    twice = f" {found.repeated} file(s) were there twice or counted before." if found.repeated else ""
    yield f"{len(found.cases)} cases of {found.data}, split {found.split}{kept_back}.{twice}"
    if found.watches:
        columns = ("", "of", "model", "bar", "n", "right", "evidence", "stop at")
        looks = [
            (one.criterion, one.of or "all", one.model or "pair", one.bar, one.n, one.right, one.evidence, one.limit)
            for one in found.watches
        ]
        yield table(columns, looks)
        yield f"Look {found.looks}. While the bar is kept a stop comes in one of twenty such series at most."
    else:
        heads = ("", "of", "model", "bar", "n", "withheld", "found", "bounds", "answer", "cases needed")
        yield table(heads, [_row(line) for line in found.lines])
        yield (
            f"Each bound is one-sided and exact, {found.bar.confidence:.0%} over {found.bar.looks} planned look(s); "
            "those of a failed line hold over all lines together."
        )
    yield f"sha256 {found.sha256}"


def _row(line: Line) -> tuple[Any, ...]:
    needed = "" if line.outcome != "too few" else "no number would do" if line.more is None else f"{line.more} more"
    bounds = f"{line.low:.3f} to {line.high:.3f}"
    told = (line.criterion, line.of or "all", line.model or "pair", line.bar, line.n, line.withheld)
    return *told, line.value, bounds, line.outcome, needed
