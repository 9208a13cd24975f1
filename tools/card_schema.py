"""Write docs/applied-model-card.schema.json: what `kdlight card --format json` holds, as JSON Schema."""

import sys
from pathlib import Path

from kdlight.reports.applied import schema
from kdlight.storage import write_json

FILE = Path(__file__).resolve().parents[1] / "docs" / "applied-model-card.schema.json"

if __name__ == "__main__":
    write_json(FILE, schema())
    sys.stdout.write(f"{FILE.name}\n")
