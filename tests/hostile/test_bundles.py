"""Cards, zips and bundles as a stranger may make them: refused with a typed reason, or whole and drawn."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError, load
from kdlight.contracts.reading import ROLES
from kdlight.inference import eligibility
from kdlight.inference.eligibility import margin
from kdlight.reports.card import document
from kdlight.reports.markdown import markdown
from kdlight.ui import pair
from kdlight.ui.library import cards, store
from tests.conftest import picture
from tests.hostile.conftest import Trials

NASTY: list[Any] = [
    *(None, True, False, 0, -1, 1, 5, 10**15, 10**15 + 1, 10**400, -(10**30), 0.5, 1e-320, 1e15, 1e300, -0.0),
    *("", " ", "a", "benign", "NaN", "\x00", "‮", "\ud800", "<script>", "x" * 500, "x" * 200_000, "../../etc"),
    *([], [[]], [None], ["benign"], [1, 2, 3], {}, {"value": 1}, {"value": None, "low": 2, "high": -5}, {"": {}}),
    *(float("nan"), float("inf")),
]


def spots(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way] * bool(way) + [spot for key, inner in inside for spot in spots(inner, (*way, key))]


def mutate(card: Any, rng: np.random.Generator) -> None:
    """One to three values of a card become others, go, or get a neighbor."""
    for _ in range(rng.integers(1, 4)):
        ways = spots(card)
        *way, last = ways[rng.integers(len(ways))]
        inner = card
        for key in way:
            inner = inner[key]
        nasty = copy.deepcopy(NASTY[rng.integers(len(NASTY))])
        match rng.integers(4):
            case 0 if isinstance(inner, dict):
                inner[str(nasty)] = inner.pop(last)
            case 1:
                del inner[last]
            case _:
                inner[last] = nasty


def draw(bundle: Bundle) -> None:
    """What the pages make of a card."""
    card = bundle.card
    assert cards.tile(bundle)
    assert markdown(document(card))
    pair.table(bundle, card.metrics, card.metrics.latency)
    assert pair.caveats_html(card) is not None
    assert not card.student.bytes or card.times_smaller >= 0  # the sizes are held against the files on loading
    for role in ROLES:
        assert 0 < margin(card, role) <= 2
    if card.metrics.latency is not None:
        assert card.metrics.latency.times_faster > 0
    eligibility(card, picture())


def test_a_card_is_refused_or_can_be_drawn(tiny_bundle: Bundle, tmp_path: Path, trials: Trials) -> None:
    shipped = [p for p in bundles.shipped_folder().iterdir() if p.name in ("busi3", "cxr3")]
    sources = [json.loads((path / "card.json").read_text()) for path in (tiny_bundle.path, *shipped)]
    folder, drawn, reasons = tmp_path / "bundle", 0, set()
    for rng in trials():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        card = json.loads(json.dumps(sources[rng.integers(len(sources))]))
        mutate(card, rng)
        (folder / "card.json").write_text(json.dumps(card))
        try:
            draw(Bundle(folder, bundles.read_card(folder), ""))
            drawn += 1
        except BundleError as error:
            reasons.add(error.reason)
    assert drawn > 0
    assert reasons == {"card"}


def test_a_changed_byte_never_passes(bundle_copy: Path, trials: Trials) -> None:
    names = [*bundles.files(bundle_copy), bundles.SUMS]
    before = load(bundle_copy)
    for rng in trials():
        file = bundle_copy / names[rng.integers(len(names))]
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        file.write_bytes(changed)
        with pytest.raises(BundleError):
            load(bundle_copy)
        file.write_bytes(whole)
    assert load(bundle_copy) == before


def test_a_damaged_zip_is_refused_or_gives_the_very_bundle(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: Trials
) -> None:
    root = tmp_path / "library"
    monkeypatch.setenv("KDLIGHT_LIBRARY", str(root))
    monkeypatch.setattr(store.trial, "verify", lambda path: SimpleNamespace(ok=load(path).sha256 == tiny_bundle.sha256))
    whole = store.pack(tiny_bundle)
    index = whole.rfind(b"PK\x01\x02") - 600  # the directory at the end, where a change matters most
    for rng in trials():
        content = bytearray(whole)
        low = index if rng.integers(2) else 0
        at = int(rng.integers(low, len(content)))
        match rng.integers(4):
            case 0:
                content[at] = rng.integers(256)
            case 1:
                del content[at : at + int(rng.integers(1, 5000))]
            case 2:
                content[at:at] = rng.bytes(int(rng.integers(1, 50)))
            case _:
                content = content[:at]
        with contextlib.suppress(store.StoreError, BundleError):
            place = store.unpack(bytes(content))
            assert load(place).sha256 == tiny_bundle.sha256
            shutil.rmtree(place)
        assert not root.exists() or not list(root.iterdir())
