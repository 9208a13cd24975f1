"""A decoding child that was taken over can do nothing but decode: whatever else it tries is refused."""

from __future__ import annotations

import errno
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from kdlight.images.limits import Limits
from kdlight.images.sandbox import Sandbox
from tests.images.escapes import NEW, PYTHON, X86

HERE = Path(__file__).parent
LINUX = sys.platform == "linux" and platform.machine() == "x86_64"
WITHOUT_FILTER = ("read_the_environment", "use_another_descriptor", "import_a_module", "map_a_file", "connect_home")
"""What limits alone refuse."""
WARM = """
import sys
from pathlib import Path
from kdlight.images import ImageError, decode, helper
helper.warm()
events, files = [], [path.read_bytes() for folder in sys.argv[1:] for path in Path(folder).iterdir() if path.is_file()]
watched = ("open", "import", "ctypes.dlopen", "socket.__new__", "subprocess.Popen", "_thread.start_new_thread")
sys.addaudithook(lambda event, arguments: events.append((event, arguments[0])) if event in watched else None)
for data in files:
    try:
        decode.decode(data, 0)
    except ImageError:
        pass
assert not events, events
print(len(files))
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE))
        patch.setenv("KDLIGHT_TEST_SECRET", "a password")
        box = Sandbox("escapes:attempt", Limits(seconds=5.0, memory=1024**3))
        assert box.guard == "seccomp"
        yield box
        box.close()


@pytest.mark.skipif(not LINUX, reason="The numbers of system calls are those of Linux on x86_64.")
@pytest.mark.parametrize("name", [*PYTHON, *X86])
def test_an_escape_is_refused(sandbox: Sandbox, name: str) -> None:
    assert sandbox.decode(name.encode()).pixels[0, 0] == errno.EPERM
    assert not Path(NEW.decode()).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="Reads /proc.")
def test_the_server_of_the_children_knows_no_secret_either(sandbox: Sandbox) -> None:
    environment = Path(f"/proc/{sandbox.pid}/environ").read_bytes()
    assert b"a password" not in environment
    assert b"PYTHONPATH" in environment


@pytest.mark.skipif(sys.platform != "linux", reason="Reads /proc.")
def test_a_child_holds_no_rights_and_is_no_ones_to_look_into(sandbox: Sandbox) -> None:
    child = sandbox.child()
    try:
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert "NoNewPrivs:\t1\n" in status
        assert "Seccomp:\t2\n" in status
        assert Path(f"/proc/{child.pid}/mem").stat().st_uid == 0  # not its user's: it is not dumpable
    finally:
        child.close()


@pytest.mark.parametrize("machine", ["unfiltered", "emulated"])
def test_without_a_filter_limits_hold_and_the_log_says_so_once(
    machine: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    box = Sandbox(f"{machine}:attempt", Limits(seconds=5.0, memory=1024**3))
    try:
        with caplog.at_level(logging.WARNING, "kdlight.images.sandbox"):
            codes = {name: box.decode(name.encode()).pixels[0, 0] for name in WITHOUT_FILTER}
    finally:
        box.close()
    assert box.guard == "limits"
    assert all(code in (errno.EPERM, errno.EMFILE) for code in codes.values()), codes
    assert [record.message for record in caplog.records if "no seccomp" in record.message] == caplog.messages[:1]


def test_decoding_needs_no_file_and_no_import(installed: Path, tmp_path: Path) -> None:
    pixels = np.add.outer(np.arange(32), np.arange(32))
    for compression in ("lzw", "packbits", "deflate", "lzma", "zstd", "jpeg2000", "jpegxl", "jpegxr", "lerc", "png"):
        tifffile.imwrite(tmp_path / f"{compression}.tif", pixels.astype(np.uint16), compression=compression)
    for compression in ("lzw", "deflate", "zstd"):
        path = tmp_path / f"{compression}-floats.tif"
        tifffile.imwrite(path, pixels.astype(np.float32), compression=compression, predictor=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WARM, installed, tmp_path],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    assert int(done.stdout) > 90
