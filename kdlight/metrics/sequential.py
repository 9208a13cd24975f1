"""A stop rule that may be looked at after every batch: evidence that a rate has fallen below its bar.

Each look multiplies a stake by the likelihood ratio of a lower rate to the bar: a bet whose expected gain is none while
the rate is at the bar or better (betting: Waudby-Smith & Ramdas, JRSS B 86, 2024, https://arxiv.org/abs/2010.09686).
A new stake is laid at every look, so that a late fall is not hidden by the good cases before it (as in e-detectors:
Shin, Ramdas & Rinaldo 2023, https://arxiv.org/abs/2203.03532). The stakes sum to 1, those not yet laid included, so by
Ville's inequality the evidence ever reaches 1 / error with chance `error` at most, however often and whenever one
looks. The lower rates and the stakes, 1 / (k (k + 1)) at look k, are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DROPS = (0.03, 0.06, 0.12, 0.24)
"""How far below the bar the rates lie that are bet on, each with a quarter of the stake."""


def look(logs: Sequence[float], looks: int, right: int, n: int, bar: float) -> tuple[float, ...]:
    """The logs of the stakes on each of DROPS after a look at n new cases, of which so many were right.

    logs: as the look before left them, empty at first; looks: how many there were before.
    """
    lower = np.maximum(bar - np.array(DROPS), bar / 10)
    laid = -np.log((looks + 1) * (looks + 2) * len(DROPS))
    before = np.logaddexp(np.array(logs), laid) if logs else np.full(len(DROPS), laid)
    gain = right * np.log(lower / bar) + (n - right) * np.log((1 - lower) / (1 - bar))
    return tuple((before + gain).tolist())


def evidence(logs: Sequence[float], looks: int) -> float:
    """All stakes together, those not yet laid included: 1 at the start."""
    laid = float(np.exp(np.minimum(logs, 700.0)).sum()) if logs else 0.0
    return min(laid + 1 / (looks + 1), 1e300)
