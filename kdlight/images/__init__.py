"""A file becomes pixels and facts, or is refused with its true reason; nothing that names a person leaves here."""

from kdlight.contracts.image import Image
from kdlight.contracts.modality import Window
from kdlight.images.errors import ImageError
from kdlight.images.reading import guard, open_decoders, read, warm
from kdlight.images.samples import Kind, Sample, samples
from kdlight.images.sandbox import Decoder
from kdlight.images.sniff import sniff

__all__ = [
    "Decoder",
    "Image",
    "ImageError",
    "Kind",
    "Sample",
    "Window",
    "guard",
    "open_decoders",
    "read",
    "samples",
    "sniff",
    "warm",
]
