"""Fill in what the cards of shipped bundles do not say yet: `python tools/fill_cards.py [BUNDLE ...]`.

Of a study: the same student from the same starting weights without its teacher, out of the records in docs/studies, and
the sentence that tells both gains. Of the pair: which models are at chance, and the kind of weights that the teacher
started with. Of the data: the body parts and views that its recipe names. Golden cases whose heat maps are of an older
kind are recorded anew. A bundle that lacks nothing is left as it is; every other one is sealed anew.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from kdlight import bundle as bundles
from kdlight.bundle import Card
from kdlight.contracts.recipe import read_recipe, shipped
from kdlight.inference import golden
from kdlight.studies import StudyRecord, collect
from kdlight.studies.gains import with_baseline
from kdlight.studies.records import of_card
from kdlight.studies.run import sentence
from kdlight.training.card import eligibility

ROOT = Path(__file__).resolve().parents[1]


def filled(card: Card, published: Sequence[StudyRecord]) -> Card:
    """The card with all that can be told from it and from the published records of studies."""
    metrics, limits = card.metrics.replace(at_chance=card.at_chance), card.limits
    if metrics.study is not None:
        record = with_baseline(of_card(card), published)
        added = {"seeds": record.seeds, "gain_over_same_start": record.gain_over_same_start}
        metrics = metrics.replace(study=metrics.study.replace(**added))
        limits = (*limits[:-1], sentence(card, record))
    teacher = card.teacher.replace(**(card.origin.described() if card.origin else {}))
    recipe = shipped().get(f"kdlight-{card.id}")
    covered = eligibility(read_recipe(recipe).data) if recipe else card.eligibility
    return card.replace(metrics=metrics, limits=limits, teacher=teacher, eligibility=covered)


def has_old_maps(path: Path) -> bool:
    """Whether a bundle's golden heat maps are of an older kind than this version makes."""
    expected = json.loads((path / "golden" / "expected.json").read_text(encoding="utf-8"))
    return bool(expected.get("maps") != golden.MAPS)


def fill(path: Path, published: Sequence[StudyRecord]) -> bool:
    """Fill one bundle's card; whether anything was lacking."""
    card = bundles.load(path).card
    whole, old_maps = filled(card, published), has_old_maps(path)
    if whole == card and not old_maps:
        return False
    bundles.write_card(path, whole)
    bundles.seal(path)
    if old_maps:
        golden.record(path, bundles.load(path))
        bundles.seal(path)
    return True


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]] or sorted(p.parent for p in ROOT.glob("assets/bundles/*/card.json"))
    known = collect([ROOT / "docs" / "studies"])
    for bundle in paths:
        sys.stdout.write(f"{bundle.name}: {'filled in' if fill(bundle, known) else 'nothing was lacking'}\n")
