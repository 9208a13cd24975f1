"""The table of int8 students from docs/benchmarks/int8/*.json: see write_table.py.

Each file is what `kdlight compress BUNDLE --precision int8 --data DIR --out OUT --json` printed, less what names a
folder or an image: `python tools/size_table.py PRINTED...` puts it there.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "benchmarks" / "int8"
BEGIN, END = "<!-- sizes: written by `make docs` -->", "<!-- end of sizes -->"
HEADER = """| bundle | float16 weights | float32 ONNX | int8 ONNX | flipped | balanced accuracy, float32, int8 |
|---|---|---|---|---|---|"""


def keep(printed: Path) -> None:
    """Store a printed answer, without the folders of the machine and the names of images."""
    found = json.loads(printed.read_text(encoding="utf-8"))
    for name in ("data", "out"):
        del found[name]
    del found["flips"]["images"]
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{found['bundle']}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def row(path: Path) -> str:
    found = json.loads(path.read_text(encoding="utf-8"))
    card = json.loads((ROOT / "assets" / "bundles" / found["bundle"] / "card.json").read_text(encoding="utf-8"))
    flips, scores = found["flips"], found["balanced_accuracy"]
    cells = (
        f"`{found['bundle']}`",
        *(f"{size / 1000:.1f} kB" for size in (card["student"]["bytes"], found["bytes"]["source"])),
        f"{found['bytes']['small'] / 1000:.1f} kB",
        f"{flips['count']} of {found['n']}, {100 * flips['share']['value']:.1f} %",
        f"{scores['source']['value']:.3f}, {scores['small']['value']:.3f}",
    )
    return f"| {' | '.join(cells)} |"


def table() -> str:
    return "\n".join([HEADER, *(row(path) for path in sorted(KEPT.glob("*.json")))])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        keep(Path(name))
