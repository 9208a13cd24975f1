"""Write the tables of README.md and docs where their marks stand; with a NAME, print that one.

    python -m tools.write_table [NAME]

NAME_table.py beside this script has BEGIN, END and table(). The marks stand in README.md or in a page of docs.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def write(script: dict[str, Any]) -> None:
    """Put a table between its marks, on every page that has them."""
    pages = [HERE.parent / "README.md", *sorted((HERE.parent / "docs").glob("*.md"))]
    marked = [page for page in pages if script["BEGIN"] in page.read_text(encoding="utf-8")]
    if not marked:
        sys.exit(f"No page has {script['BEGIN']} ... {script['END']}; put both marks where the table belongs.")
    for page in marked:
        before, begin, rest = page.read_text(encoding="utf-8").partition(script["BEGIN"])
        _, end, after = rest.partition(script["END"])
        if not end:
            sys.exit(f"{page.name} has no {script['END']} after {begin}; put it where the table ends.")
        page.write_text(f"{before}{begin}\n{script['table']()}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(runpy.run_path(str(HERE / f"{sys.argv[1]}_table.py"))["table"]())  # noqa: T201
    else:
        for path in sorted(HERE.glob("*_table.py")):
            if path.name != Path(__file__).name:
                write(runpy.run_path(str(path)))
