"""A card's document says what the card says, wherever it is written, and its machine-readable form validates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pypdfium2
import pytest

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, Card
from kdlight.bundle.looks import Belonging, KindWithheld
from kdlight.cli import main
from kdlight.metrics.intervals import wilson
from kdlight.reports.applied import applied, schema
from kdlight.reports.card import document, lacking
from kdlight.reports.document import Bullets, Paragraph, Table
from kdlight.reports.markdown import markdown, plain
from kdlight.reports.pdf import pdf

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "assets" / "bundles").glob("*/card.json"))
SECTIONS = [
    "BasicInfo",
    "ReleaseInfo",
    "ModelSummary",
    "UsesAndDirections",
    "Warnings",
    "TrustIngredients",
    "KeyMetrics",
    "Resources",
    "Bibliography",
]
"""Of the coalition's schema v0.2, in its order."""


def texts(card: Card) -> list[str]:
    """Every text of a card's document, a cell at a time."""
    found: list[str] = []
    for section in document(card).sections:
        found.append(section.title)
        for block in section.blocks:
            if isinstance(block, Table):
                found += [str(cell) for row in (block.heads, *block.rows) for cell in row]
            elif isinstance(block, Bullets):
                found += block.lines
            else:
                assert isinstance(block, Paragraph)
                found.append(block.text)
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_markdown_and_pdf_say_all_that_the_document_says(path: Path) -> None:
    card = bundles.read_card(path.parent)
    written = markdown(document(card))
    pages = pypdfium2.PdfDocument(pdf(document(card)))
    printed = "".join(re.sub(r"\s", "", page.get_textpage().get_text_range()) for page in pages)
    lacking_in_pdf = [text for text in texts(card) if re.sub(r"\s", "", text) not in printed]
    assert [text for text in texts(card) if plain(text) not in written] == []
    assert all(len(text) > 20 and " " in text for text in lacking_in_pdf)  # cells of several lines stand side by side
    assert len(lacking_in_pdf) < 0.2 * len(texts(card))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_the_machine_readable_card_of_every_shipped_bundle_validates(path: Path) -> None:
    known = json.loads((ROOT / "docs" / "applied-model-card.schema.json").read_text(encoding="utf-8"))
    card = bundles.read_card(path.parent)
    written = json.loads(json.dumps(applied(card).to_json(), allow_nan=False))
    jsonschema.validate(written, known, jsonschema.Draft202012Validator)
    assert [name for name in written if name in SECTIONS] == SECTIONS
    assert written["kdlight"] == card.to_json()
    results = written["KeyMetrics"]["UsefulnessUsabilityEfficacy"]["Results"]
    teacher = next(one["Value"] for one in results if one["Label"] == "Balanced accuracy, teacher")
    score = card.metrics.teacher.balanced_accuracy
    assert score is not None
    assert (teacher["estimate"], teacher["lower"], teacher["upper"]) == (score.value, score.low, score.high)
    for fault in ("BasicInfo", "KeyMetrics"):
        torn = {name: value for name, value in written.items() if name != fault}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(torn, known)


def test_the_published_schema_is_todays() -> None:
    """`python -m tools.card_schema` writes it."""
    published = json.loads((ROOT / "docs" / "applied-model-card.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(schema()))


def test_a_card_that_says_everything_lacks_nothing_but_what_it_lacks(tiny_bundle: Bundle) -> None:
    looks = Belonging(
        **{"copies": ("turned",), "distance": 1, "odds": 1, "gray": True, "level": 0.97, "n": 60},
        kinds=(
            KindWithheld(kind="own", n=100, share=wilson(0.04, 100)),
            KindWithheld(kind="x", n=9, share=wilson(1, 9)),
        ),
    )
    card = tiny_bundle.card.replace(belonging=looks)
    assert len(lacking(card)) == len(lacking(tiny_bundle.card)) - 1
    assert "Of its own unseen images 4 % [2, 10], n = 100 are withheld, wrongly." in " ".join(texts(card))
    assert "100 % [70, 100], n = 9" in texts(card)


def test_what_it_is_not_for_follows_from_what_it_knows(tiny_bundle: Bundle) -> None:
    said = texts(tiny_bundle.card)
    line = "To find anything but Benign, Malignant and Normal: whatever else an image shows, it is given one of these."
    assert line in said
    assert any("Modality: MRI" in text and text.startswith("For images of another kind") for text in said)


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    status = main(["card", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_writes_each_form(tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, tiny_bundle.path)
    assert (status, out.rstrip("\n")) == (0, markdown(document(tiny_bundle.card)).rstrip("\n"))
    assert json.loads(run(capsys, tiny_bundle.path, "--json")[1]) == applied(tiny_bundle.card).to_json()
    for form in ("md", "pdf", "json"):
        assert run(capsys, tiny_bundle.path, "--format", form, "--out", tmp_path / f"card.{form}")[0] == 0
    assert (tmp_path / "card.pdf").read_bytes() == pdf(document(tiny_bundle.card))
    assert json.loads((tmp_path / "card.json").read_text()) == applied(tiny_bundle.card).to_json()
    status, out, err = run(capsys, tiny_bundle.path, "--format", "pdf")
    assert (status, out) == (2, "")
    assert "--out FILE.pdf" in err
