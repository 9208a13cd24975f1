"""A card made into an applied model card (`kdlight.reports.applied_parts`).

What a bundle cannot know (who made it, funding, who was consulted) is said to be not stated, never made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kdlight.bundle import Card
from kdlight.contracts.reading import ROLES
from kdlight.metrics import Interval
from kdlight.reports import measured, pair, words
from kdlight.reports.applied_parts import (
    AppliedModelCard,
    BasicInfo,
    Estimate,
    KeyMetric,
    KeyMetrics,
    MetricResult,
    ModelSummary,
    ReleaseInfo,
    Resources,
    Single,
    SystemFacts,
    TransparencyInformation,
    TrustIngredients,
    UsesAndDirections,
    Warnings,
)
from kdlight.reports.card import covered, not_intended
from kdlight.reports.document import Bullets, Paragraph, Section, Table

NOT_STATED = "Not stated."


def applied(card: Card) -> AppliedModelCard:
    """The card in that form."""
    return AppliedModelCard(
        basic_info=BasicInfo(model_name=card.name, model_developer=NOT_STATED, developer_contact=NOT_STATED),
        release_info=ReleaseInfo(
            release_stage="Research and teaching; not a medical device",
            release_date=card.created,
            release_version=card.version,
            global_availability=f"As the license of the weights allows: {card.licenses.weights}",
            regulatory_approval="None",
        ),
        model_summary=ModelSummary(
            summary=f"{card.name}. {card.intended_use}",
            keywords=(*card.modalities, *_class_words(card), "distillation"),
        ),
        uses_and_directions=_uses(card),
        warnings=_warnings(card),
        trust_ingredients=TrustIngredients(
            facts=_facts(card),
            transparency_information=TransparencyInformation(
                funding_source=NOT_STATED,
                third_party_information=f"Data: {card.data.source or NOT_STATED}",
                stakeholders_consulted=NOT_STATED,
            ),
        ),
        key_metrics=KeyMetrics(
            usefulness_usability_efficacy=_efficacy(card),
            fairness_equity=_fairness(card),
            safety_reliability=_safety(card),
        ),
        resources=Resources(
            evaluation_references="kdlight evaluate BUNDLE DATA measures every number anew",
            peer_reviewed_publications=card.distillation.paper or NOT_STATED,
            patient_consent_or_disclosure=NOT_STATED,
        ),
        bibliography="",
        kdlight=card,
    )


def schema() -> dict[str, Any]:
    """Its JSON Schema (draft 2020-12)."""
    return AppliedModelCard.model_json_schema(mode="serialization")


def _class_words(card: Card) -> list[str]:
    return list(measured.named(card).values())


def _uses(card: Card) -> UsesAndDirections:
    return UsesAndDirections(
        intended_use_and_workflow=card.intended_use,
        primary_intended_users="Researchers, teachers and students of medical imaging",
        how_to_use="Read the image with teacher and student side by side; use neither answer where they differ.",
        targeted_patient_population="; ".join(covered(card)),
        cautioned_out_of_scope_settings=_lines(not_intended(card)),
    )


def _warnings(card: Card) -> Warnings:
    return Warnings(
        known_risks_and_limitations=_lines([*pair.caveats(card), *card.limits]),
        known_biases_or_ethical_considerations=_lines(
            [*measured.leak(card.metrics.twins), *_texts([*measured.subgroups(card)])]
        )
        or "No groups of people are named in the test data, so no difference between them was measured.",
        clinical_risk_level="Not for clinical use",
    )


def _facts(card: Card) -> SystemFacts:
    counts = ((split, sum(of.values())) for split, of in card.data.counts.items())
    withheld = _texts([*measured.belonging(card)])
    return SystemFacts(
        outcomes_and_outputs=f"Calibrated probabilities of {words.listed(_class_words(card))}, prediction sets at "
        f"{words.percent(card.level)}, heat maps",
        model_type=f"Image classifiers: {words.architecture(card.student.architecture)} taught by "
        f"{words.architecture(card.teacher.architecture)} ({card.distillation.method})",
        foundation_models=card.origin.words if card.origin else NOT_STATED,
        input_data_source=f"One image. {'; '.join(covered(card))}",
        output_and_input_data_types=f"In: DICOM or picture, prepared to {card.input.size} x {card.input.size} px. "
        "Out: JSON, page",
        development_data_characterization=f"{card.data.source}. License: {card.data.license}. "
        + ", ".join(f"{split} {n} images" for split, n in counts)
        + (f". Kept together in one split: {card.data.group_key}" if card.data.group_key else ""),
        bias_mitigation_approaches="Images of one patient or lesion are never split; scores are per class and group",
        ongoing_maintenance="None by its makers. kdlight evaluate says whether new images differ from the training "
        "images, kdlight accept whether the pair holds on one's own cases",
        security="Weights as safetensors with SHA-256 of every file and golden cases; nothing is unpickled",
        transparency=_lines(withheld) or "Heat maps of both models; open code and recipe",
    )


def _efficacy(card: Card) -> KeyMetric:
    rows = (
        (f"{title}, {role}", getattr(card.metrics.of(role), name))
        for name, title in pair.FIGURES.items()
        for role in ROLES
    )
    return _metric(card, "Both models on held-back images", rows, pair.gain_sentence(card))


def _fairness(card: Card) -> KeyMetric:
    groups = card.metrics.subgroups or {}
    rows = [
        (f"Balanced accuracy, {role}, {column} {value}", getattr(part, role))
        for column, values in groups.items()
        for value, part in values.items()
        for role in ROLES
    ]
    known = "Small groups have wide intervals." if rows else "No groups of people are named; by class instead."
    rows = rows or [*_recalls(card)]
    return _metric(card, "The same service to every group", rows, known)


def _safety(card: Card) -> KeyMetric:
    alarms = card.metrics.ledger.alarms if card.metrics.ledger else ()
    lost = [f"{step.after} lost recall of {measured.named(card)[name]} beyond chance." for step, name in alarms]
    said = [*lost, *measured.robustness(card.metrics.corruptions), *_texts([*measured.sets(card)])]
    told = _lines(said) or "No class lost recall beyond chance, or this was not measured."
    return _metric(card, "What must not be missed is found", [*_recalls(card, urgent=True)], told)


def _recalls(card: Card, urgent: bool = False) -> Iterator[tuple[str, Interval | None]]:
    for entry in card.classes:
        if not urgent or entry.must_not_miss or not card.must_not_miss:
            for role in ROLES:
                yield f"Sensitivity, {entry.words}, {role}", card.metrics.of(role).recall.get(entry.name)


def _metric(card: Card, goal: str, rows: Iterable[tuple[str, Interval | None]], interpretation: str) -> KeyMetric:
    metrics, data = card.metrics, card.data
    return KeyMetric(
        metric_goal=goal,
        results=tuple(MetricResult(label=label, value=_value(found)) for label, found in rows if found is not None),
        interpretation=interpretation,
        test_type="Retrospective, one labeled set, images that neither model was trained on",
        testing_data_description=f"{data.name}, split {metrics.split}, {metrics.n} images",
        validation_process_and_justification="95 % percentile bootstrap over groups, within classes; Wilson where all "
        "draws agree",
    )


def _value(found: Interval) -> Estimate | Single:
    if found.low is None or found.high is None:
        return Single(value=found.value)
    return Estimate(estimate=found.value, lower=found.low, upper=found.high)


def _texts(sections: Iterable[Section]) -> list[str]:
    """What sections say, a line for each sentence or row."""
    lines: list[str] = []
    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, Paragraph):
            lines.append(block.text)
        elif isinstance(block, Bullets):
            lines += block.lines
        elif isinstance(block, Table):
            heads = [" ".join(head.split()) for head in block.heads]
            for row in block.rows:
                cells = [f"{head} {cell}".strip() for head, cell in zip(heads, row, strict=True) if str(cell)]
                lines.append(", ".join(cells))
    return lines


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(texts)
