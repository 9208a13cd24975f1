"""A file becomes pixels and facts, or is refused with its true reason; nothing that names a person leaves here."""

from kdlight.images.errors import ImageError
from kdlight.images.image import Image
from kdlight.images.reading import facts, lanes, read, report, warm
from kdlight.images.samples import Kind, Sample, samples
from kdlight.images.sandbox import Lane
from kdlight.images.sniff import sniff
from kdlight.modality import Window

__all__ = [
    "Image",
    "ImageError",
    "Kind",
    "Lane",
    "Sample",
    "Window",
    "facts",
    "lanes",
    "read",
    "report",
    "samples",
    "sniff",
    "warm",
]
