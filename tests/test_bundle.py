"""A bundle that was touched is not opened, and says which file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError, Card, load


def test_a_bundle_opens_with_its_card_and_models(tiny_bundle: Bundle) -> None:
    found = tiny_bundle
    assert Card.from_json(found.card.to_json()) == found.card
    assert found.model("student").num_classes == len(found.classes)
    assert found.card.student["bytes"] == found.weights("student").stat().st_size
    assert not found.model("teacher").training


@pytest.mark.parametrize("name", [*bundles.FILES, "golden/expected.json"])
def test_one_changed_byte_is_found(bundle_copy: Path, name: str) -> None:
    content = bytearray((bundle_copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle_copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} was changed"):
        load(bundle_copy)


def test_a_missing_and_an_added_file_are_found(bundle_copy: Path) -> None:
    (bundle_copy / "extra.txt").write_text("x")
    with pytest.raises(BundleError, match=r"extra\.txt is not listed"):
        load(bundle_copy)
    (bundle_copy / "extra.txt").unlink()
    (bundle_copy / "student.onnx").unlink()
    with pytest.raises(BundleError, match=r"student\.onnx is missing"):
        load(bundle_copy)


@pytest.mark.parametrize("line", ["../outside", "/etc/passwd", ""])
def test_a_listing_that_leads_outside_is_refused(bundle_copy: Path, line: str) -> None:
    with (bundle_copy / bundles.SUMS).open("a") as sums:
        sums.write(f"{'0' * 64}  {line}\n")
    with pytest.raises(BundleError, match="no checksum and name"):
        load(bundle_copy)


def test_a_link_is_refused(bundle_copy: Path) -> None:
    (bundle_copy / "golden" / "link").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="holds a link"):
        load(bundle_copy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "kdlight.card/9"}, "schema 'kdlight.card/9'"),
        ({"extra": 1}, "field 'extra'"),
        ({"classes": {}}, "classes is no list"),
        ({"id": "../x"}, "the id may hold"),
    ],
)
def test_a_card_of_another_kind_is_refused(bundle_copy: Path, change: dict[str, object], says: str) -> None:
    card = json.loads((bundle_copy / "card.json").read_text())
    (bundle_copy / "card.json").write_text(json.dumps({**card, **change}))
    bundles.seal(bundle_copy)
    with pytest.raises(BundleError, match=says):
        load(bundle_copy)


def test_weights_of_another_architecture_are_refused(tiny_bundle: Bundle) -> None:
    found = tiny_bundle
    card = Card.from_json({**found.card.to_json(), "student": {**found.card.student, "architecture": "mobilenetv2"}})
    with pytest.raises(BundleError, match="do not fit mobilenetv2"):
        Bundle(found.path, card, found.sha256).model("student")


def test_what_is_no_bundle_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle"):
        load(tmp_path / "nothing")


def test_the_library_follows_the_environment(bundle_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDLIGHT_LIBRARY", str(bundle_copy.parent))
    assert bundle_copy in bundles.find()


def test_a_card_says_which_models_are_at_chance_also_one_from_before_that_was_kept(tiny_bundle: Bundle) -> None:
    card = tiny_bundle.card
    assert "at_chance" not in card.metrics
    assert card.at_chance == ()
    low = {**card.metrics["teacher"], "balanced_accuracy": {"value": 0.4, "low": 1 / 3, "high": 0.5}}
    assert replace(card, metrics={**card.metrics, "teacher": low}).at_chance == ("teacher",)
    assert replace(card, metrics={**card.metrics, "at_chance": ["student"]}).at_chance == ("student",)
    assert replace(card, metrics={}).at_chance == ()


def test_a_card_says_where_its_teacher_began(tiny_bundle: Bundle) -> None:
    card = tiny_bundle.card
    assert card.origin is not None
    assert card.origin.kind == "random"
    assert replace(card, teacher={}).origin is None
