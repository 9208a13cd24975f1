"""Two models asked again by every probe for shortcuts: `kdlight evaluate --shortcuts`, Compare, and the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kdlight.contracts.reading import Role
from kdlight.inference.robustness import Ask
from kdlight.metrics import report
from kdlight.metrics.shortcuts import ALONE, Probe, ProbeKind, Shortcuts, probe, sources
from kdlight.trust.shortcuts import alone, cropped, donors, marked, without_corners

COLUMNS = ("source", "scanner")
"""Those of `kdlight.trust.columns.SUBGROUPS` that say where an image is from."""


def shortcuts(
    ask: Mapping[Role, Ask],
    whole: Mapping[Role, np.ndarray],
    pixels: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray,
    columns: Mapping[str, np.ndarray],
    progress: Callable[[float, str], None] = lambda *_: None,
) -> Shortcuts:
    """Each model is asked three times and twice for every class. Both see the same composites.

    whole: both models' probabilities (N, K) of the pixels uint8 (N, S, S, 3) as they are; labels, groups (N,); columns:
    of the manifest, by what they are (SUBGROUPS), a value (N,) for each image.
    """
    partners = donors(labels, groups)
    changes: dict[ProbeKind, Callable[[], np.ndarray]] = {
        "corners": lambda: without_corners(pixels, labels),
        "cropped": lambda: cropped(pixels),
        "marker": lambda: marked(pixels),
    }
    kinds: tuple[ProbeKind, ...] = (*(() if partners is None else ALONE), *changes)
    probes: list[Probe] = []
    for done, kind in enumerate(kinds):
        progress(done / len(kinds), f"Probe {done + 1} of {len(kinds)} for shortcuts")
        seen = [changes[kind]()] if partners is None or kind in changes else alone(kind, pixels, partners)
        asked = [{role: model(images) for role, model in ask.items()} for images in seen]
        shown = {role: np.mean([one[role] for one in asked], axis=0) for role in ask}
        probes.append(probe(kind, whole, shown, labels, classes, groups))
    scores = {role: report(whole[role], labels, classes, groups).balanced_accuracy for role in ask}
    known = {name: columns[name] for name in COLUMNS if name in columns}
    found = [sources(name, values, whole, labels, classes, groups) for name, values in known.items()]
    return Shortcuts(
        n=len(labels),
        chance=1 / len(np.unique(labels)),
        teacher=scores["teacher"],
        student=scores["student"],
        probes=tuple(probes),
        sources=tuple(one for one in found if one is not None),
    )
