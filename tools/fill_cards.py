"""Fill in what the cards of shipped bundles do not say yet: `.venv/bin/python tools/fill_cards.py [BUNDLE ...]`.

Of a study: the same student from the same starting weights without its teacher, out of the records in docs/studies, and
the sentence that tells both gains. Of the pair: which models are at chance, and the kind of weights that the teacher
began with. Of the data: the body parts and views that its recipe names. Golden cases whose heat maps are of an older
kind are recorded anew. A bundle that lacks nothing is left as it is; every other one is sealed anew.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdlight import bundle as bundles
from kdlight import results
from kdlight.bundle import Card
from kdlight.config import read_recipe, shipped
from kdlight.inference import golden
from kdlight.results import Record, over_alone, same_start
from kdlight.study import sentence
from kdlight.training.card import eligibility

ROOT = Path(__file__).resolve().parents[1]


def with_baseline(study: dict[str, Any], record: Record) -> dict[str, Any]:
    """A card's study with the baseline that its record was filled with."""
    if same_start.NAME not in record.mean:
        return study
    rows = zip(study["seeds"], record.seeds, strict=True)
    return {
        **study,
        "seeds": [{**row, same_start.NAME: filled[same_start.NAME]} for row, filled in rows],
        "mean": {**study["mean"], same_start.NAME: record.mean[same_start.NAME]},
        same_start.GAIN: dict(record.gains[same_start.GAIN] or {}),
    }


def filled(card: Card, record: Record | None) -> Card:
    """The card with all that can be told from it and from a record of its study."""
    metrics = card.metrics.replace(at_chance=card.at_chance)
    limits = card.limits
    if record is not None:
        gain = over_alone.words(record.gain)
        metrics = metrics.replace(study={**with_baseline(card.metrics.study or {}, record), "gain": gain})
        limits = (*limits[:-1], sentence(card, record))
    teacher = card.teacher.replace(**(card.origin.described() if card.origin else {}))
    recipe = shipped().get(f"kdlight-{card.id}")
    covered = eligibility(read_recipe(recipe).data) if recipe else card.eligibility
    return card.replace(metrics=metrics, limits=limits, teacher=teacher, eligibility=covered)


def old_maps(path: Path) -> bool:
    """Whether a bundle's golden heat maps are of an older kind than this version makes."""
    expected = json.loads((path / "golden" / "expected.json").read_text(encoding="utf-8"))
    return bool(expected.get("maps") != golden.MAPS)


def fill(path: Path, published: Sequence[Record]) -> bool:
    """Fill one bundle's card; whether anything was lacking."""
    card = bundles.load(path).card
    record = None
    if card.metrics.study is not None:
        record = same_start.filled(results.read(path / "card.json"), published)
    whole = filled(card, record)
    old = old_maps(path)
    if whole == card and not old:
        return False
    bundles.write_card(path, whole)
    bundles.seal(path)
    if old:
        golden.record(path, bundles.load(path))
        bundles.seal(path)
    return True


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]] or sorted(p.parent for p in ROOT.glob("assets/bundles/*/card.json"))
    known = results.collect([ROOT / "docs" / "studies"])
    for bundle in paths:
        sys.stdout.write(f"{bundle.name}: {'filled in' if fill(bundle, known) else 'nothing was lacking'}\n")
