"""What decoding children run, forked by `python -m kdlight.images.helper SOCKET TARGET MEMORY SECONDS`."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import logging
import os
import socket
import sys
import warnings
from collections.abc import Callable

import PIL.Image
from pydicom.charset import python_encoding
from tifffile import TIFF

from kdlight.contracts.image import Image
from kdlight.images.decode import count
from kdlight.images.errors import CodecError, ImageError, TooBigError
from kdlight.images.tiff import COMPRESSIONS
from kdlight.processes import Channel, Failure, Message
from kdlight.processes.forks import Answer, serve


def main(control: str, target: str, memory: str, seconds: str) -> None:
    """target: module:function of (bytes, frame) that gives an Image. memory in bytes, see `kdlight.images.limits`."""
    module, _, name = target.partition(":")
    decode = getattr(importlib.import_module(module), name)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    warm()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    serve(socket.socket(fileno=int(control)), answering(decode, int(memory)), int(memory), float(seconds))


def warm() -> None:
    """Import what the libraries import on first use only: a child, which opens no file, has it or never gets it."""
    PIL.Image.init()
    importlib.import_module("numpy.ma")
    for encoding in {*python_encoding.values(), "cp1252", "utf_16", "utf_16_be", "utf_16_le"}:
        codecs.lookup(encoding)
    for compression in COMPRESSIONS:
        with contextlib.suppress(KeyError):  # one that tifffile does not read
            TIFF.DECOMPRESSORS[compression]


def answering(decode: Callable[[bytes, int], Image], memory: int) -> Answer:
    """Sends an image or a number of frames, or why there is none: never the words of a library's exception."""

    def answer(channel: Channel, message: Message) -> None:
        try:
            if message.name == "count":
                channel.send("result", {"frames": count(message.body["data"])})
            else:
                channel.send("result", decode(message.body["data"], message.body["frame"]))
            return
        except ImageError as error:
            refusal = type(error)("".join(c if c.isprintable() else "?" for c in str(error)))
        except MemoryError:
            gigabytes = f"{memory / 1024**3:.3g} GB"
            refusal = TooBigError(f"Decoding needs more than {gigabytes} of memory and was stopped.")
        except RecursionError:
            refusal = TooBigError("The file nests its content too deeply to be read.")
        except Exception as error:  # noqa: BLE001  what a decoder did not foresee is a refusal with its kind
            refusal = CodecError(f"The file could not be decoded: {type(error).__name__} in its content.")
        channel.send("error", Failure.of(refusal))

    return answer


if __name__ == "__main__":
    main(*sys.argv[1:])
