"""A file becomes pixels and facts, or is refused with its true reason; nothing that names a person leaves here."""

from kdlight.contracts.image import Image
from kdlight.contracts.modality import Window
from kdlight.images.errors import ImageError
from kdlight.images.reading import frames_of_set, guard, open_decoders, read, read_of_set, recall, warm
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
    "frames_of_set",
    "guard",
    "open_decoders",
    "read",
    "read_of_set",
    "recall",
    "samples",
    "sniff",
    "warm",
]
