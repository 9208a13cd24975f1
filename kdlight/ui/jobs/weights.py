"""Whether a network's published weights can be had now: asked in a child, since it needs torch and the network."""

from __future__ import annotations

from typing import Any

from kdlight.ui.catalog import Published
from kdlight.ui.jobs.work import Say


def weights(say: Say, network: str) -> dict[str, Any]:
    """See `kdlight.ui.catalog.Published`."""
    say(0.3, "Looking for the network's published weights")
    from kdlight.models import published

    found = Published(
        lacking=published.lacking(network),
        licenses=published.licenses(network),
        commercial=published.commercial(network),
    )
    return found.model_dump(mode="json")
