"""Fill in what the cards of shipped bundles do not say yet: `python tools/fill_cards.py [BUNDLE ...]`.

Of a study: the same student from the same starting weights without its teacher, out of the records in docs/studies, and
the sentence that tells both gains. Of the pair: which models are at chance, and the kind of weights that the teacher
started with. Of the data: the body parts and views that its recipe names. Golden cases whose heat maps are of an older
kind are recorded anew, and those that bind nothing yet are bound. A bundle that lacks nothing is left as it is; every
other one must pass its golden cases as they are, and is sealed anew.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, Card
from kdlight.contracts.recipe import read_recipe, shipped
from kdlight.inference import golden
from kdlight.storage import read_json
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


def kept(path: Path) -> golden.Expected:
    """A bundle's golden record."""
    return golden.Expected.model_validate(read_json(path / "golden" / "expected.json"))


def fill(path: Path, published: Sequence[StudyRecord]) -> bool:
    """Fill one bundle's card and golden record; whether anything was lacking. Raises ValueError for a damaged one."""
    bundle, expected = bundles.load(path), kept(path)
    whole = filled(bundle.card, published)
    if whole == bundle.card and expected.maps == golden.MAPS and expected.bound is not None:
        return False
    check = golden.check(bundle)
    if not check.ok:
        raise ValueError(f"{path.name}: {check.fault}")
    current = Bundle(path, whole if whole == bundle.card else bundles.write_card(path, whole), "")
    if expected.maps != golden.MAPS:
        golden.record(path, current)
    golden.bind(current)
    bundles.seal(path)
    return True


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]] or sorted(p.parent for p in ROOT.glob("assets/bundles/*/card.json"))
    known = collect([ROOT / "docs" / "studies"])
    for bundle in paths:
        sys.stdout.write(f"{bundle.name}: {'filled in' if fill(bundle, known) else 'nothing was lacking'}\n")
