"""`kdlight baseline`: what distillation is compared with beside networks, fitted and measured in one command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlight.cli.output import Answer, Data, Json, Model, answers, counted, open_bundle, table

if TYPE_CHECKING:
    from kdlight.baselines.handcrafted import Comparison


class Kind(StrEnum):
    """What can be fitted."""

    handcrafted = "handcrafted"


@answers
def baseline(
    kind: Annotated[Kind, typer.Argument(help="What to fit.")],
    data: Data,
    bundle: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Whose network gives the deep features.")
    ] = None,
    model: Annotated[Model, typer.Option(help="Which of the bundle's networks.")] = Model.teacher,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Input side in pixels where no bundle says it.")] = 128,
    as_json: Json = False,
) -> Answer:
    """An SVM on handcrafted features, on a network's, and on both: measured on the test split with 95 % intervals."""
    from kdlight.baselines import handcrafted
    from kdlight.data import open_dataset
    from kdlight.preprocessing import InputSpec

    opened = open_bundle(bundle) if bundle else None
    dataset = handcrafted.split(open_dataset(data))
    spec = opened.spec if opened else InputSpec(size)
    network = opened.model(model.value) if opened else None
    with counted("Features") as progress:
        measured = handcrafted.measure(dataset, spec, network, progress)
    name = f"{opened.card.id} {model.value}" if opened else None
    return Answer({"data": str(data), "network": name, "size": spec.size, **measured.to_json()}, _text(measured))


def _text(measured: Comparison) -> list[Any]:
    kinds = {kind: fitted for kind in ("handcrafted", "deep", "both") if (fitted := getattr(measured, kind))}
    names = ("features", "balanced_accuracy", "accuracy", "auc", "macro_f1", "ece")
    rows = [(name.replace("_", " "), *(getattr(fitted, name) for fitted in kinds.values())) for name in names]
    lines: list[Any] = [table(("", *kinds), rows), f"Test split of {measured.n} images."]
    for other, gain in (measured.gain or {}).items():
        known = gain is not None and gain.low is not None
        words = f"{gain:+.3f}{', no proven difference' if gain.spans_zero else ''}" if gain and known else "not known"
        lines.append(f"Both less {other}, in balanced accuracy: {words}.")
    return lines
