"""What cards and records are made of."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

Value = bool | int | float | str | list[str] | None
"""An option of a recipe."""


class Part(BaseModel):
    """A frozen model. `to_json` gives the keys that were given, so an older file is written as it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def replace(self, **changes: Any) -> Self:
        """A checked copy with other values. Raises pydantic.ValidationError."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate(values | changes)


class LenientPart(Part):
    """A part that may come from another version, whose keys that are not known here are left out."""

    model_config = ConfigDict(extra="ignore")
