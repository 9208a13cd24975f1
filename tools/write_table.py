"""Print a table that a script beside this one makes; with --write, put it where its marks stand.

    python -m tools.write_table NAME [--write]

NAME.py has BEGIN, END and table(). The marks stand in README.md or in a page of docs.
"""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(name: str, write: bool) -> None:
    script = runpy.run_path(str(HERE / f"{name}.py"))
    if not write:
        print(script["table"]())  # noqa: T201
        return
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
    main(sys.argv[1], "--write" in sys.argv)
