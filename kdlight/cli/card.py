"""A bundle's card in plain words, and for programs."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kdlight import storage
from kdlight.cli.output import Answer, BundleFolder, Json, UsageError, answers, open_bundle


class Format(StrEnum):
    """How a card is written."""

    md = "md"
    pdf = "pdf"
    json = "json"


@answers
def card(
    bundle: BundleFolder,
    form: Annotated[Format, typer.Option("--format", help="Markdown, PDF, or JSON for programs.")] = Format.md,
    out: Annotated[Path | None, typer.Option(help="File to write; Markdown and JSON can go to stdout.")] = None,
    as_json: Json = False,
) -> Answer:
    """What a pair is for, how well it does and what it cannot do; as JSON it follows CHAI's applied model card."""
    from kdlight.reports.applied import applied
    from kdlight.reports.card import document
    from kdlight.reports.markdown import markdown

    known = open_bundle(bundle).card
    payload = applied(known).to_json()
    if form is Format.pdf:
        from kdlight.reports.pdf import pdf

        if out is None:
            raise UsageError("A PDF is a file: name the one to write with --out FILE.pdf.")
        content = pdf(document(known))
    elif form is Format.json:
        content = (json.dumps(payload, ensure_ascii=False, indent=1) + "\n").encode()
    else:
        content = markdown(document(known)).encode()
    if out is None:
        return Answer(payload, content.decode().rstrip("\n"))
    storage.write(out, content)
    return Answer(payload, f"{out}: the card of {known.id}, {form.value}.")
