"""A bundle that was touched is not opened, and says which file."""

import json
import os
from pathlib import Path

import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError, Card, load
from kdlight.metrics import Interval
from tests.bundle_faults import CARDS, TEXTS, spoil, spoil_text


def test_a_bundle_opens_with_its_card_and_models(tiny_bundle: Bundle) -> None:
    found = tiny_bundle
    assert Card.model_validate(found.card.to_json()) == found.card
    assert found.model("student").num_classes == len(found.classes)
    assert found.card.student.bytes == found.weights("student").stat().st_size
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
        ({"schema": "kdlight.card/9"}, "schema 'kdlight.card/9' was found, kdlight.card/2 was expected"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"classes": {}}, "classes: Input should be a valid tuple"),
        ({"id": "../x"}, "id: String should match pattern"),
        ({"student": {"architecture": "kdlight_nano"}}, r"student\.parameters: Field required"),
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
    card = found.card.replace(student=found.card.student.replace(architecture="mobilenetv2"))
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
    assert card.metrics.at_chance is None
    assert card.at_chance == ()
    low = card.metrics.teacher.model_copy(update={"balanced_accuracy": Interval(0.4, 1 / 3, 0.5)})
    assert card.replace(metrics=card.metrics.replace(teacher=low)).at_chance == ("teacher",)
    assert card.replace(metrics=card.metrics.replace(at_chance=("student",))).at_chance == ("student",)


def test_a_card_says_where_its_teacher_began(tiny_bundle: Bundle) -> None:
    card = tiny_bundle.card
    assert card.origin is not None
    assert card.origin.kind == "random"
    assert card.replace(teacher=card.teacher.replace(start=None)).origin is None


def test_a_card_of_the_first_schema_says_the_same_in_typed_fields() -> None:
    first = json.loads((Path(__file__).parent / "card_of_schema_1.json").read_text(encoding="utf-8"))
    card = Card.model_validate(first)
    licenses, data = card.licenses, card.data
    weights = licenses.weights + (f" ({licenses.weights_note})" if licenses.weights_note else "")
    assert first["schema"] == "kdlight.card/1"
    assert first["licence"] == f"{weights} for the weights; the data they were trained on: {data.license}"
    assert licenses.data == data.license == first["data"].pop("licence")
    written = card.to_json()
    assert (written.pop("schema"), written.pop("licenses")) == ("kdlight.card/2", licenses.to_json())
    assert written["data"].pop("license") == data.license
    timed, recorded = written["metrics"].pop("latency"), first["metrics"].pop("latency")
    names = [{"name": f"{row.pop('role')}, {row.pop('engine')}", **row} for row in timed.pop("rows")]
    assert names == recorded.pop("rows")
    assert timed.items() <= recorded.items()
    study, first_study = written["metrics"].pop("study"), first["metrics"].pop("study")
    assert {**first_study, "gain": study["gain"], "deviation": study["deviation"]} == study  # which are derived
    assert written == {key: value for key, value in first.items() if key not in ("schema", "licence")}
    assert Card.model_validate_json(json.dumps(card.to_json())) == card


@pytest.mark.parametrize("what", CARDS)
def test_a_card_with_nonsense_is_refused_with_a_typed_reason(bundle_copy: Path, what: str) -> None:
    spoil(bundle_copy, CARDS[what])
    with pytest.raises(BundleError) as caught:
        load(bundle_copy)
    assert caught.value.reason == "card"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", TEXTS)
def test_what_is_no_card_is_refused_with_a_typed_reason(bundle_copy: Path, what: str) -> None:
    spoil_text(bundle_copy, TEXTS[what])
    with pytest.raises(BundleError) as caught:
        load(bundle_copy)
    assert caught.value.reason == "card"


@pytest.mark.parametrize("name", ["golden/notes.txt", "golden/SHA256SUMS", "golden/deep/er/x", ".hidden", "run.sh"])
@pytest.mark.parametrize("sealed", [False, True])
def test_files_that_no_bundle_has_are_refused_listed_or_not(bundle_copy: Path, name: str, sealed: bool) -> None:
    (bundle_copy / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle_copy / name).write_text("x")
    if sealed:
        bundles.seal(bundle_copy)
    with pytest.raises(BundleError) as caught:
        load(bundle_copy)
    assert caught.value.reason == "files"


def test_whatever_fails_is_a_bundle_error(bundle_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RecursionError(), MemoryError(), OverflowError(), OSError(5, "Input/output error"), KeyError("x")):
        monkeypatch.setattr(bundles.artifact, "digest", lambda path, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(BundleError, match="cannot be read") as caught:
            load(bundle_copy)
        assert caught.value.reason == "unreadable"


def test_a_name_that_is_no_text_is_said_in_what_can_be_shown(bundle_copy: Path) -> None:
    odd = bundle_copy.rename(bundle_copy.with_name(os.fsdecode(b"tiny\xff")))
    (odd / "card.json").unlink()
    with pytest.raises(BundleError) as caught:
        load(odd)
    assert str(caught.value).encode()
