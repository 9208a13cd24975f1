"""`kdlight baseline`: what distillation is compared with beside networks, fitted and measured in one command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from kdlight.cli.frame import Answer, Json, answers, table
from kdlight.cli.opinion import Model, open_bundle
from kdlight.cli.progress import counted
from kdlight.metrics import Interval


class Kind(StrEnum):
    """What can be fitted."""

    handcrafted = "handcrafted"


@answers
def baseline(
    kind: Annotated[Kind, typer.Argument(help="What to fit.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images, MedMNIST .npz, or CSV of paths.")],
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
        found = handcrafted.measure(dataset, spec, network, progress)
    name = f"{opened.card.id} {model.value}" if opened else None
    return Answer({"data": str(data), "network": name, "size": spec.size, **found}, _words(found))


def _words(found: dict[str, Any]) -> Any:
    from rich.console import Group

    kinds = [kind for kind in ("handcrafted", "deep", "both") if kind in found]
    names = ("features", "balanced_accuracy", "accuracy", "auc", "macro_f1", "ece")
    rows = [(name.replace("_", " "), *(found[kind][name] for kind in kinds)) for name in names]
    lines = [f"Test split of {found['n']} images."]
    for other, gain in found.get("gain", {}).items():
        lines.append(f"Both less {other}, in balanced accuracy: {_gain(gain)}.")
    return Group(table(("", *kinds), rows), *lines)


def _gain(gain: dict[str, float] | None) -> str:
    interval = Interval.of(gain)
    if interval is None or interval.low is None:
        return "not known"
    return f"{interval:+.3f}{', no proven difference' if interval.spans_zero else ''}"
