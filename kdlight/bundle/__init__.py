"""The artifact of a run: its card, its models, and how it is saved, loaded and checked."""

from kdlight.bundle.artifact import (
    FILES,
    KNOWN,
    LOOKS,
    SIGNATURE,
    SUMS,
    Bundle,
    BundleError,
    OverLimitError,
    digest,
    files,
    find,
    guarded,
    is_shipped,
    library_folder,
    load,
    read_card,
    seal,
    shipped_folder,
    write_card,
    write_weights,
)
from kdlight.bundle.card import Card
from kdlight.bundle.speed import Speed

__all__ = ["FILES", "KNOWN", "LOOKS", "SIGNATURE", "SUMS", "Bundle", "BundleError", "Card", "OverLimitError", "Speed"]
__all__ += ["digest", "files", "find", "guarded", "is_shipped", "library_folder", "load", "read_card", "seal"]
__all__ += ["shipped_folder", "write_card", "write_weights"]
