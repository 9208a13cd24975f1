from kdlight.images.image import Image, Window

__all__ = ["Image", "Window"]
