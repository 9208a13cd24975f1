"""docs/results.md from the records of studies: `python -m tools.results docs/studies --out docs/results.md`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from kdlight import storage
from kdlight.distillers import METHODS, hyperparameters
from kdlight.studies import RecordError, collect
from tools.results.page import Method, write
from tools.results.publish import publish
from tools.results.sets import gain

PUBLISHED = Path("docs/studies")
NOTES = "notes.md"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.results", description=__doc__)
    parser.add_argument("studies", nargs="*", type=Path, default=[PUBLISHED], help="Folders of studies, or records.")
    parser.add_argument("--out", type=Path, help="Write the page, such as docs/results.md.")
    parser.add_argument("--keep", type=Path, help="Put what may be published of each record here: docs/studies.")
    given = parser.parse_args(arguments)
    try:
        records = collect(given.studies)
    except (RecordError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    kept = [str(publish(record, given.keep)) for record in records] if given.keep else []
    if given.out is not None:
        storage.write(given.out, write(records, _notes(given.studies), methods()))
    rows = [
        {
            "recipe": r.recipe,
            "data": r.set_name,
            "seeds": len(r.seeds),
            **r.mean.by_model,
            "gain": gain(r).replace("*", ""),
        }
        for r in records
    ]
    sys.stdout.write(json.dumps({"studies": rows, "page": str(given.out or ""), "kept": kept}, indent=1) + "\n")
    return 0


def _notes(studies: Sequence[Path]) -> str:
    """Words that lie beside the records, for the foot of the page."""
    files = [path / NOTES for path in studies if (path / NOTES).is_file()]
    return "\n\n".join(path.read_text(encoding="utf-8").strip() for path in files)


def methods() -> dict[str, Method]:
    """What the page says of each method: its paper, its first line, its own options."""
    return {name: Method(kind.paper, kind.summary, hyperparameters(kind)) for name, kind in METHODS.items()}


if __name__ == "__main__":
    sys.exit(main())
