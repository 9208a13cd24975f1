"""Make finished runs' cards anew without training: `python -m tools.remeasure RUN [RUN ...]`.

RUN is a run's folder, or that of a study, whose first seed is measured and whose bundle is written again. The weights
in the folder are asked again on the recipe's data, everything that a card says is measured by today's code, and the
bundle is packed again: its study, latency, version and date stay. Nothing is trained, and nothing is written unless the
models give the test images the classes that they gave them when the run ended.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from kdlight import bundle as bundles
from kdlight import studies
from kdlight.bundle import Bundle, Card
from kdlight.runs import Run, RunError
from kdlight.storage import copy_folder, load_arrays, replacing_folder
from kdlight.studies.run import publish, sentence
from kdlight.training import PREDICTIONS, RunResult
from kdlight.training.run import measured, pack, prepared, students

SAME = 0.99
"""Least share of test images whose class is as before: on another machine a close call may turn."""


def remeasure(path: Path) -> Bundle:
    """The new bundle of a run or of a study. Raises ValueError where it cannot be the one that was trained."""
    if not (path / "study.json").is_file():
        return of_run(Run(path))
    record, before = studies.read(path), bundles.read_card(path / "bundle")
    first = Run(path / f"seed-{min(row.seed for row in record.seeds)}")
    of_run(first)
    with tempfile.TemporaryDirectory() as folder:
        publish(first.bundle, Path(folder) / "bundle", record)
        return install(Path(folder) / "bundle", path / "bundle", before)


def of_run(run: Run) -> Bundle:
    """Measure one run again and pack its bundle."""
    recipe, before, state = run.read_recipe(), bundles.read_card(run.bundle), run.status().state
    lacking = [name for name in ("teacher", *students(recipe)) if not (run.path / f"{name}.safetensors").is_file()]
    if state != "done" or lacking:
        what = f"its {lacking[0]} has no weights" if lacking else f"it is {state}"
        raise RunError(f"{run.path} is not finished: {what}. Finish it with kdlight train --resume.")
    with run.locked(), tempfile.TemporaryDirectory() as folder:
        result = measured(prepared(recipe, run))
        require_same(run, result)
        pack(Path(folder) / "bundle", result)
        bundle = install(Path(folder) / "bundle", run.bundle, before)
        run.update(at_chance=bundle.card.at_chance)
    return bundle


def require_same(run: Run, result: RunResult) -> None:
    """Raise RunError unless labels are those that the run was tested on and the models answer them as they did."""
    kept, labels = load_arrays(run.path / PREDICTIONS, older=True)[0], result.data.dataset.split("test").labels
    if not np.array_equal(kept["labels"], labels):
        raise RunError(f"The test images of {run.path} are others now than when it ended. Give it the data it had.")
    for name, probabilities in result.probabilities.items():
        same = float((probabilities.argmax(1) == kept[name].argmax(1)).mean())
        if same < SAME:
            raise RunError(
                f"The {name} of {run.path} gives {1 - same:.0%} of the test images another class than when the run "
                f"ended. Give it the data and weights that it had."
            )


def install(source: Path, target: Path, before: Card) -> Bundle:
    """Put a new bundle in the place of the one with the card `before`, of which study, latency, version, date stay."""
    card = bundles.read_card(source)
    metrics = card.metrics.replace(study=before.metrics.study or card.metrics.study, latency=before.metrics.latency)
    card = card.replace(metrics=metrics, version=before.version, created=before.created)
    if metrics.study is not None:
        card = card.replace(limits=(*card.limits[:-1], sentence(card, metrics.study)))
    bundles.write_card(source, card)
    bundles.seal(source)
    with replacing_folder(target) as beside:
        copy_folder(source, beside)
    return bundles.load(target)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit("No folder was named; name those of finished runs or studies: python -m tools.remeasure RUN ...")
    for name in sys.argv[1:]:
        try:
            remade = remeasure(Path(name))
        except ValueError as error:
            sys.exit(f"{name}: {error}")
        sys.stdout.write(f"{name}: {remade.card.id} {remade.sha256[:12]}\n")
