"""What cards and records are made of."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

Value = bool | int | float | str | list[str] | None
"""An option of a recipe."""

_ODD = r"\p{Cc}\x{2028}-\x{202e}\x{2066}-\x{2069}"
"""Control characters, and those that turn the direction of what follows."""
Line = Annotated[str, Field(max_length=1000, pattern=f"^[^{_ODD}]*$")]
"""A text of one line."""
Name = Annotated[str, Field(max_length=200, pattern=rf"^[^{_ODD}]*[^\s{_ODD}][^{_ODD}]*$")]
"""A line that is not blank."""
Count = Annotated[int, Field(ge=0, le=10**15)]


class Part(BaseModel):
    """A frozen model. `to_json` gives the keys that were given, so an older file is written as it was read."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
        str_max_length=100_000,
    )

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def replace(self, **changes: Any) -> Self:
        """A checked copy with other values. Raises pydantic.ValidationError."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate(values | changes)


class LenientPart(Part):
    """A part that may come from another version, whose keys that are not known here are left out."""

    model_config = ConfigDict(extra="ignore")
