"""A heat map over its scan, as a PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from kdlight.images import Image
from kdlight.reading import HeatMap

OPACITY = 0.45


def save_overlay(image: Image, heat: HeatMap, path: Path) -> None:
    """Write the scan at its own pixels with the map over it. A flat map colors nothing: the scan stays as it is."""
    import matplotlib

    shown = PIL.Image.fromarray(image.display()).convert("RGB")
    if not heat.flat:
        values = PIL.Image.fromarray(heat.values.astype(np.float32)).resize(shown.size, PIL.Image.Resampling.BILINEAR)
        colors = matplotlib.colormaps["inferno"](np.clip(np.asarray(values), 0, 1))[..., :3]
        shown = PIL.Image.blend(shown, PIL.Image.fromarray((colors * 255).astype(np.uint8)), OPACITY)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown.save(path, format="PNG")
