"""Print a table that a script beside this one makes; with --write, put it into README.md between the script's marks.

python .ci/readme_block.py NAME [--write], where NAME.py has BEGIN, END and table().
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
    readme = HERE.parent / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(script["BEGIN"])
    _, end, after = rest.partition(script["END"])
    if not begin or not end:
        sys.exit(f"README.md has no {script['BEGIN']} ... {script['END']}; put both marks where the table belongs.")
    readme.write_text(f"{before}{begin}\n{script['table']()}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], "--write" in sys.argv)
