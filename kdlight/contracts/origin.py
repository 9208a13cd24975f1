"""Where a teacher's starting weights came from: as a run keeps it, and as a card and a study's record say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from kdlight.contracts.recipe import UNTRAINED

Kind = Literal["file", "published", "random"]
"""Of a state dict that the recipe names, of weights that others published, or of nothing."""
PUBLISHED = "timm pretrained weights"


class Origin(BaseModel):
    """The starting weights of a teacher."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind | None
    """None where an older record does not tell."""
    words: str
    """For people: the file's name, who published them, or why there were none."""
    license: str | None = None
    """Of a file that says so, as those of `kdlight weights` do."""

    def described(self) -> dict[str, str | None]:
        """As the teacher's part of a card and of a study's record holds it."""
        told = {"start": self.words, "start_kind": self.kind}
        return told if self.license is None else {**told, "start_license": self.license}


def of(teacher: Mapping[str, Any]) -> Origin | None:
    """The start in a teacher's part of a card or record; None where it does not say."""
    words = teacher.get("start")
    if not words:
        return None
    kind, license_id = _kind(teacher.get("start_kind"), str(words)), teacher.get("start_license")
    return Origin(kind=kind, words=str(words), license=license_id)


def _kind(kind: object, words: str) -> Kind | None:
    """The kind that is kept; what was written before kinds were has only words, in one of three fixed forms."""
    known: dict[str, Kind] = {name: name for name in get_args(Kind)}
    if kind is not None:
        return known.get(str(kind))
    if words.startswith(UNTRAINED):
        return "random"
    if words.startswith(PUBLISHED):
        return "published"
    return "file" if words.endswith((".pth", ".pt", ".safetensors")) else None
