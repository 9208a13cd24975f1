"""Heat maps of both models against outlines that people drew: `kdlight evaluate` and Compare on a set with masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import PIL.Image

from kdlight.contracts.reading import ROLES, Role
from kdlight.data import Dataset
from kdlight.data.masks import read_mask
from kdlight.explain import DEFAULT
from kdlight.inference.predictor import Predictor
from kdlight.metrics.localization import Localization, Located, LocatedByModel, Overlap, localization, overlap


def localize(
    predictor: Predictor,
    part: Dataset,
    predicted: Mapping[Role, Sequence[int]],
    method: str = DEFAULT,
    progress: Callable[[int, int], None] | None = None,
) -> Localization | None:
    """Where the maps of each model's answer lie, over the images of `part` that have an outline with something in it.

    predicted: class indices (N,) by model, rows in the order of `part.items`; labels numbered as the bundle's classes.
    None where nothing is outlined. Raises DataError for a mask that cannot be read or is not of its image.
    """
    outlined = [index for index, item in enumerate(part.items) if item.ref in part.masks]
    rows = []
    for done, index in enumerate(outlined, 1):
        area, overlaps = _overlaps(predictor, part, index, method)
        if area:
            rows.append((index, area, overlaps))
        if progress is not None:
            progress(done, len(outlined))
    if not rows:
        return None
    indices = [index for index, _, _ in rows]
    labels, groups = part.labels[indices], part.groups[indices]
    by_model: dict[str, LocatedByModel] = {}
    for role in ROLES:
        every = [overlaps[role] for _, _, overlaps in rows]
        right = np.asarray(predicted[role])[indices] == labels
        some = [one for one, is_right in zip(every, right, strict=True) if is_right]
        located = localization(some, labels[right], groups[right]) if some else Located(n=0)
        by_model[role] = LocatedByModel(**dict(located), all=localization(every, labels, groups))
    mean = float(np.mean([area for _, area, _ in rows]))
    return Localization(method=method, images=len(rows), area=mean, **by_model)


def _overlaps(predictor: Predictor, part: Dataset, index: int, method: str) -> tuple[float, dict[Role, Overlap]]:
    """How much of one image is outlined, and each model's map against it; no map where nothing is."""
    item = part.items[index]
    image = part.source.image(item.ref)
    outline = read_mask(part.masks[item.ref], image.shape)
    if not outline.any():
        return 0.0, {}
    maps = predictor.heat_maps(image, method, confirmed=True)
    values = {role: maps[role].values for role in ROLES}
    return float(outline.mean()), {r: overlap(heat, _resized(outline, heat.shape)) for r, heat in values.items()}


def _resized(outline: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An outline at the rows and columns of a map; a small one never vanishes: a pixel counts that it touches."""
    if outline.shape == shape:
        return outline
    picture = PIL.Image.fromarray(outline.astype(np.uint8) * 255)
    resized = np.asarray(picture.resize((shape[1], shape[0]), PIL.Image.Resampling.BOX))
    return np.asarray(resized > (127 if (resized > 127).any() else 0))
