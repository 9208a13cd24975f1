"""Accuracy against latency: kdlight nano beside timm's smallest networks, distilled by one recipe, on one engine.

    OMP_NUM_THREADS=1 python tools/pareto.py data/busi3 data/lc_lung3 data/cxr3 \
        --weights MOBILENETV2.safetensors --out docs/pareto

Every set (a folder named after a recipe kdlight-<name>) gets one teacher and, from its answers, every student: with
random first weights, so that all start alike, and kdlight nano once more as its recipe starts it. Accuracy is balanced,
on the test split, calibrated on validation; latency is ONNX Runtime's on the same machine in the same run. What a
folder of runs or a study of the same recipe holds is not trained again. Writes OUT.json and OUT.png.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import matplotlib

matplotlib.use("agg")

import numpy as np
import torch
import typer
from matplotlib import pyplot as plt
from safetensors.numpy import load_file

from kdlight import bundle, runs, study, training
from kdlight.benchmark.timer import interleave, machine, row
from kdlight.cli.output import Answer, table
from kdlight.compress import export_onnx
from kdlight.contracts.recipe import Recipe, read_recipe, shipped
from kdlight.inference.engines import Engine, OnnxEngine
from kdlight.metrics import balanced_accuracy, difference
from kdlight.models import Classifier
from kdlight.runs import Run
from kdlight.runs.progress import epochs, say
from kdlight.storage import write_json

NANO = "kdlight_nano"
NETWORKS = (NANO, "timm:mobilenetv3_small_050", "timm:mobilenetv4_conv_small_035")
LARGE = 224
"""Side in pixels that is timed besides those of the recipes, where accuracy is measured."""
MARKS = dict(zip(NETWORKS, ("o", "s", "^"), strict=True))
COLORS = dict(zip(NETWORKS, ("#1b6ca8", "#c4661f", "#3d8a52"), strict=True))


@dataclasses.dataclass(frozen=True, slots=True)
class Contender:
    """A student and its first weights: random, or as the recipe says."""

    network: str
    start: str

    @property
    def slug(self) -> str:
        return f"{self.network.removeprefix('timm:')}-{self.start}"

    @property
    def words(self) -> str:
        name = self.network.removeprefix("timm:").replace("_", " ")
        return name if self.start == "random" else f"{name}, started as its recipe says"

    def overrides(self) -> list[str]:
        chosen = [f'student.name="{self.network}"']
        return chosen + (['student.init="random"'] if self.start == "random" else [])


CONTENDERS = (*(Contender(name, "random") for name in NETWORKS), Contender(NANO, "recipe"))


def main(
    sets: Annotated[list[Path], typer.Argument(metavar="SET...", help="Labelled folders named as kdlight's recipes.")],
    weights: Annotated[str, typer.Option(help="MobileNetV2's first weights; empty asks timm.")] = "",
    folder: Annotated[Path, typer.Option("--runs", help="Where the trainings are kept.")] = Path("runs/pareto"),
    studies: Annotated[
        list[Path] | None, typer.Option(help="Studies of the same recipes: their teachers serve.")
    ] = None,
    override: Annotated[list[str] | None, typer.Option("-o", help="section.key=value for every recipe.")] = None,
    out: Annotated[Path, typer.Option(help="Where OUT.json and OUT.png go.")] = Path("pareto"),
    rounds: Annotated[int, typer.Option(min=50, help="Timed calls of each network.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record.")] = False,
) -> None:
    """Distill every student on every set, time them, draw both."""
    torch.set_flush_denormal(True)
    found = []
    for path in sets:
        given = [f"data.path={path}", "train.alone=false", "train.scratch=false", *(override or ())]
        given += [f"teacher.weights={weights}"] if weights else []
        found.append(
            distill_all(path.name, given, folder / path.name, [s / path.name / "seed-0" for s in studies or ()])
        )
    record = report(found, rounds)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out.with_suffix(".json"), record)
    draw(record, out.with_suffix(".png"))
    Answer(record, words(record)).print(as_json)


def distill_all(name: str, overrides: Sequence[str], folder: Path, others: Sequence[Path]) -> dict[Contender, Run]:
    """Each contender's finished run on one set, under `folder`; one teacher serves all."""
    finished: dict[Contender, Run] = {}
    for contender in CONTENDERS:
        recipe = read_recipe(shipped()[f"kdlight-{name}"], [*overrides, *contender.overrides()])
        finished[contender] = distill(recipe, folder / contender.slug, [*map(Run, others), *finished.values()])
    return finished


def distill(recipe: Recipe, path: Path, others: Sequence[Run]) -> Run:
    """A recipe's run, finished. Teacher and student are taken from `others` where they are this recipe's."""
    run = Run(path) if (path / "status.json").is_file() else runs.create(recipe, path=path)
    if run.status().state == "done":
        return run
    for other in others:
        study.inherit(run, recipe, other)
        if same(recipe, other):
            study.take(run, other, "student", ("student.safetensors",))
    say(f"{recipe.name}: {path.name}")
    with run.claim(resume=True), epochs() as show:
        for line in training.execute(recipe, run):
            show(line)
        run.update(state="done", message="")
    return run


def same(recipe: Recipe, other: Run) -> bool:
    """Whether another run's student is this recipe's, whatever baselines were trained beside it."""
    if not other.recipe.is_file():
        return False
    given = read_recipe(other.recipe)
    train = given.train.changed(alone=recipe.train.alone, scratch=recipe.train.scratch)
    return given.changed(train=train) == recipe


def report(found: Sequence[dict[Contender, Run]], rounds: int) -> dict[str, Any]:
    """The record: "networks" with their latency, "points" with their accuracy, "dominated" by set, at its size."""
    points = [point for runs_ in found for point in points_of(runs_)]
    timed = latency(found[0], sorted({point["size"] for point in points} | {LARGE}), rounds)
    names = dict.fromkeys(point["set"] for point in points)
    return {
        "benchmark": "pareto",
        "command": f"python tools/pareto.py {' '.join(names)} --weights MOBILENETV2 --out docs/pareto",
        "machine": machine().model_dump(),
        "engine": "ONNX Runtime",
        "threads": 1,
        "batch": 1,
        "runs": rounds,
        "metric": "balanced_accuracy",
        "networks": timed,
        "faster_than_nano": faster_than_nano(timed),
        "points": points,
        "dominated": {name: dominated([p for p in points if p["set"] == name], timed) for name in names},
    }


def latency(finished: dict[Contender, Run], sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """p50 and p95 of each network as it is shipped, at each of `sizes`, all in turns."""
    first = {c.network: bundle.load(run.bundle) for c, run in finished.items() if c.start == "random"}
    engines = {name: exported(opened.model("student")) for name, opened in first.items()}
    found: dict[str, dict[str, Any]] = {name: {} for name in engines}
    for size in sizes:
        x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        ways = {name: lambda engine=engine, x=x: engine(x) for name, engine in engines.items()}
        for name, taken in interleave(ways, rounds, warmups=20).items():
            found[name][str(size)] = row(name, taken).model_dump(exclude={"name"})
    described = ("parameters", "macs", "onnx_bytes")
    return [
        {"name": name, **{key: getattr(opened.card.student, key) for key in described}, "latency": found[name]}
        for name, opened in first.items()
    ]


def faster_than_nano(networks: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """By size in pixels: the networks whose median is below kdlight nano's."""
    took = {n["name"]: {size: times["p50_ms"] for size, times in n["latency"].items()} for n in networks}
    return {size: [name for name in took if took[name][size] < own] for size, own in took[NANO].items()}


def exported(model: Classifier) -> Engine:
    """A network on ONNX Runtime, on one thread, as this version of kdlight writes it: all of them alike."""
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / "student.onnx", LARGE)
        return OnnxEngine(Path(folder) / "student.onnx", threads=1)


def points_of(finished: dict[Contender, Run]) -> list[dict[str, Any]]:
    """One set's students: balanced accuracy with its interval, and kdlight nano's lead over each, paired by group."""
    answers = {contender: load_file(run.path / training.PREDICTIONS) for contender, run in finished.items()}
    points = []
    for contender, run in finished.items():
        card, own = bundle.load(run.bundle).card, answers[contender]
        nano = answers[Contender(NANO, contender.start)]
        lead = difference(balanced_accuracy, nano["student"], own["student"], own["labels"], own["groups"])
        points.append(
            {
                "set": card.id,
                "size": card.input.size,
                "network": contender.network,
                "start": card.student.start,
                "seed": read_recipe(run.recipe).train.seed,
                "n": card.metrics.n,
                "teacher": card.metrics.teacher.balanced_accuracy.to_json(),
                "student": card.metrics.student.balanced_accuracy.to_json(),
                "nano_leads": None if contender.network == NANO or lead is None else lead.to_json(),
                "minutes": round(sum(log["seconds"] for log in run.log() if log["stage"] == "student") / 60, 3),
            }
        )
    return points


def dominated(points: Sequence[dict[str, Any]], networks: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Of the students that start alike, by network: those at least as accurate and as fast, one of the two more so."""
    places = {}
    for point in points:
        if point["start"] == "random":
            took = next(n for n in networks if n["name"] == point["network"])["latency"][str(point["size"])]["p50_ms"]
            places[point["network"]] = np.array([point["student"]["value"], -took])
    return {
        name: [other for other, at in places.items() if bool((at >= own).all() and (at > own).any())]
        for name, own in places.items()
    }


def draw(record: dict[str, Any], path: Path) -> None:
    """One panel per set: balanced accuracy against milliseconds, the teacher's accuracy as a line."""
    names = list(record["dominated"])
    figure, panels = plt.subplots(1, len(names), figsize=(3.6 * len(names) + 1.2, 3.6), squeeze=False)
    for name, panel in zip(names, panels[0], strict=True):
        points = [p for p in record["points"] if p["set"] == name]
        for point in points:
            _mark(panel, point, record["networks"])
        panel.axhline(100 * points[0]["teacher"]["value"], color="0.55", lw=1, ls=":", label="their teacher")
        panel.set_title(f"{name} ({points[0]['n']} test images)", fontsize=10)
        panel.set_xlabel(f"ms an image at {points[0]['size']} px, one thread")
        panel.margins(x=0.25)
        panel.grid(color="0.92")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("balanced accuracy, %")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _mark(panel: Any, point: dict[str, Any], networks: Sequence[dict[str, Any]]) -> None:
    network = next(n for n in networks if n["name"] == point["network"])
    ms = network["latency"][str(point["size"])]["p50_ms"]
    alike, score = point["start"] == "random", point["student"]
    value, low, high = (100 * score[key] for key in ("value", "low", "high"))
    panel.errorbar(
        ms,
        value,
        yerr=[[value - low], [high - value]],
        fmt=MARKS[point["network"]],
        color=COLORS[point["network"]],
        mfc=COLORS[point["network"]] if alike else "white",
        capsize=3,
        lw=1,
        label=Contender(point["network"], "random" if alike else "recipe").words,
    )


def words(record: dict[str, Any]) -> Any:
    """The table for people, and who is beaten on both counts."""
    from rich.console import Group

    sizes = list(record["networks"][0]["latency"])
    took = {n["name"]: [n["latency"][size]["p50_ms"] for size in sizes] for n in record["networks"]}
    rows = [
        (p["set"], p["network"], p["start"], p["student"], p["teacher"]["value"], *took[p["network"]])
        for p in record["points"]
    ]
    heads = ("set", "network", "start", "student", "teacher", *(f"ms at {size} px" for size in sizes))
    beaten = [
        f"{name}: {network} is neither more accurate nor faster than {', '.join(by)}."
        for name, found in record["dominated"].items()
        for network, by in found.items()
        if by
    ]
    slower = [
        f"At {size} px {NANO} is slower than {', '.join(by)}." for size, by in record["faster_than_nano"].items() if by
    ]
    return Group(table(heads, rows), *slower, *(beaten or ["No network is beaten on both counts on any set."]))


if __name__ == "__main__":
    typer.run(main)
