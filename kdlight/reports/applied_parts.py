"""Parts of an Applied Model Card of the Coalition for Health AI, so that other programs can read it.

Sections, their order and their names are those of the coalition's published schema v0.2
(https://github.com/coalition-for-health-ai/mc-schema, v0.2/schema.xsd, draft), which is XML; here they are the same as
JSON. A result is a label and a value of one of the kinds in the coalition's examples, `estimate_ci` and `single`, as an
object rather than as JSON in a string. Not part of that schema: `schema`, and the bundle's own card under `kdlight`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_pascal

from kdlight.bundle import Card
from kdlight.bundle.part import Part


class AppliedPart(Part):
    model_config = ConfigDict(alias_generator=to_pascal)


class Estimate(Part):
    """A number with its 95 % interval."""

    kind: Literal["estimate_ci"] = "estimate_ci"
    estimate: float
    lower: float
    upper: float
    level: float = 95
    unit: str = ""


class Single(Part):
    """A number without one."""

    kind: Literal["single"] = "single"
    value: float
    unit: str = ""


class MetricResult(AppliedPart):
    label: str
    value: Annotated[Estimate | Single, Field(discriminator="kind")]


class KeyMetric(AppliedPart):
    metric_goal: str
    results: tuple[MetricResult, ...]
    interpretation: str
    test_type: str
    testing_data_description: str
    validation_process_and_justification: str


class KeyMetrics(AppliedPart):
    usefulness_usability_efficacy: KeyMetric
    fairness_equity: KeyMetric
    safety_reliability: KeyMetric


class BasicInfo(AppliedPart):
    model_name: str
    model_developer: str
    developer_contact: str


class ReleaseInfo(AppliedPart):
    release_stage: str
    release_date: str
    release_version: str
    global_availability: str
    regulatory_approval: str


class ModelSummary(AppliedPart):
    summary: str
    keywords: tuple[str, ...]


class UsesAndDirections(AppliedPart):
    intended_use_and_workflow: str
    primary_intended_users: str
    how_to_use: str
    targeted_patient_population: str
    cautioned_out_of_scope_settings: str


class Warnings(AppliedPart):
    known_risks_and_limitations: str
    known_biases_or_ethical_considerations: str
    clinical_risk_level: str


class SystemFacts(AppliedPart):
    outcomes_and_outputs: str
    model_type: str
    foundation_models: str
    input_data_source: str
    output_and_input_data_types: str
    development_data_characterization: str
    bias_mitigation_approaches: str
    ongoing_maintenance: str
    security: str
    transparency: str


class TransparencyInformation(AppliedPart):
    funding_source: str
    third_party_information: str
    stakeholders_consulted: str


class TrustIngredients(AppliedPart):
    facts: Annotated[SystemFacts, Field(alias="AISystemFacts")]
    transparency_information: TransparencyInformation


class Resources(AppliedPart):
    evaluation_references: str
    peer_reviewed_publications: str
    patient_consent_or_disclosure: str


class AppliedModelCard(AppliedPart):
    """The whole card; text may hold line breaks."""

    schema_: Annotated[Literal["kdlight.applied-model-card/1"], Field(alias="schema")] = "kdlight.applied-model-card/1"
    basic_info: BasicInfo
    release_info: ReleaseInfo
    model_summary: ModelSummary
    uses_and_directions: UsesAndDirections
    warnings: Warnings
    trust_ingredients: TrustIngredients
    key_metrics: KeyMetrics
    resources: Resources
    bibliography: str
    kdlight: Annotated[Card, Field(alias="kdlight"), PlainSerializer(Card.to_json)]
    """card.json of the bundle, with every number that this card is made of."""

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)
