"""How alike two heat maps are: part of a Reading."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MapLikeness:
    """How alike the two models' heat maps of one image are."""

    rank_correlation: float
    """Spearman's over the places of the maps, -1 to 1: whether they come in the same order."""
    overlap: float
    """Of the strongest fifth of the places of the one map, the share that is among those of the other, 0 to 1: a fifth
    by chance. Ties at the limit count in part."""
