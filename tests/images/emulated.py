"""As escapes, on a machine whose kernel sees the calls of another one. Run only inside the sandbox's children."""

from __future__ import annotations

import ctypes
import platform

from kdlight.processes import confine
from tests.images.escapes import attempt

__all__ = ["attempt"]
OTHER = {"x86_64": "aarch64"}.get(platform.machine(), "x86_64")
STEPS = ctypes.create_string_buffer(b"".join(confine.program(OTHER)))
confine._FILTER = confine._head(STEPS)
