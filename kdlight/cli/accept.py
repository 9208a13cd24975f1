"""The command that holds a bundle against a bar on one's own cases, and says later when to stop using it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from kdlight import storage
from kdlight.cli.output import Answer, BundleFolder, Data, Json, UsageError, answers, counted, open_bundle, table
from kdlight.reports.document import Document, Paragraph, Table


@answers
def accept(
    bundle: BundleFolder,
    data: Data,
    bar: Annotated[Path | None, typer.Option(help="The bar, as TOML; else one for what must not be missed.")] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("-o", "--override", metavar="KEY=VALUE", help="Set or add a line of it: sensitivity.mel=0.95."),
    ] = None,
    since: Annotated[
        Path | None, typer.Option(help="A record from before: count its later cases, and say whether to stop.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to take; else test, val or all, the first there is.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the record, JSON; --since goes on from it.")] = None,
    report: Annotated[Path | None, typer.Option("--pdf", help="File for the same as PDF, bound to it by hash.")] = None,
    as_json: Json = False,
) -> Answer:
    """Hold a bundle against your bar on your own labeled cases: pass, fail or too few, per line."""
    from kdlight.contracts.bar import changed_bar, read_bar
    from kdlight.inference import accept as accepting
    from kdlight.reports.acceptance import document
    from kdlight.reports.pdf import pdf
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
    told = document(found, opened.words)
    if report is not None:
        storage.write(report, pdf(told))
    return Answer(found.model_dump(mode="json", by_alias=True), [*_text(told), f"sha256 {found.sha256}"])


def _text(told: Document) -> Iterator[Any]:
    """A document as a terminal shows it, without what a page shows one click away."""
    for section in told.sections:
        for block in section.blocks if not section.folded else ():
            if isinstance(block, Table):
                yield table(block.heads, block.rows)
            else:
                yield block.text if isinstance(block, Paragraph) else "\n".join(block.lines)
