"""Whether a network's published weights can be had now: asked in a child, since it needs torch and the network."""

from __future__ import annotations

from typing import Any

from kdlight.ui.jobs.work import Say


def weights(say: Say, network: str) -> dict[str, Any]:
    """`lacking`: why they cannot be had, None where they can; `licenses`: those under which they are published."""
    say(0.3, "Looking for the network's published weights")
    from kdlight.models import published

    return {"lacking": published.lacking(network), "licenses": list(published.licenses(network))}
