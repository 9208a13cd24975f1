"""`kdlight results`: one page from the records of studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdlight.cli.frame import Answer, Json, answers, table

if TYPE_CHECKING:
    from kdlight.results.page import Method

PUBLISHED = Path("docs/studies")
NOTES = "notes.md"


@answers
def results(
    studies: Annotated[
        list[Path] | None,
        typer.Argument(metavar="STUDY...", help="Folders of studies, or records; docs/studies if none is named."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the page, such as docs/results.md.")] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Put what may be published of each record here: docs/studies.")
    ] = None,
    as_json: Json = False,
) -> Answer:
    """The results of studies as a page: every system, every set, every gain with its interval."""
    from kdlight import results as pages
    from kdlight import storage
    from kdlight.results.sets import gain

    found = pages.collect(studies or [PUBLISHED])
    kept = [pages.keep(record, keep) for record in found] if keep else []
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        storage.write(out, pages.write(found, _notes(studies or [PUBLISHED]), methods()))
    rows = [
        {"recipe": r.recipe, "data": r.data, "seeds": len(r.seeds), **r.mean, "gain": gain(r).replace("*", "")}
        for r in found
    ]
    payload = {"studies": rows, "page": str(out) if out else None, "kept": [str(path) for path in kept]}
    names = ("recipe", "data", "seeds", "teacher", "alone", "student", "gain")
    return Answer(payload, table(names, [[row[name] for name in names] for row in rows]))


def _notes(studies: list[Path]) -> str:
    """Words that lie beside the records, for the foot of the page."""
    found = [path / NOTES for path in studies if (path / NOTES).is_file()]
    return "\n\n".join(path.read_text(encoding="utf-8").strip() for path in found)


def methods() -> dict[str, Method]:
    """What the page says of each method: its paper, its first line, its own hyper-parameters."""
    from kdlight.distillers import METHODS, hyperparameters
    from kdlight.results.page import Method

    return {name: Method(kind.paper, kind.summary, hyperparameters(kind)) for name, kind in METHODS.items()}
