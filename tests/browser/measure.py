"""How long a person waits: for the first page, and from a dropped DICOM to both predictions and both Grad-CAMs.

python -m tests.browser.measure [uploads] prints seconds: the first page of a fresh server, from its being ready to the
place for a scan being on the screen; and of uploads, once warm, with the shipped bundles, p50 and p95.
Every upload is another file (one pixel differs), so nothing is answered from memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from playwright.sync_api import Page

from kdlight import images
from tests.browser.conftest import PATIENCE, browsing, serving

WARM_UPS = 3
DROP = "[data-testid=stFileUploaderDropzoneInput]"
THERE = """([sha, maps]) => {
  const root = [...document.querySelectorAll('*')].map(e => e.shadowRoot).find(r => r && r.querySelector('.viewer'));
  const viewer = root && root.querySelector('.viewer');
  return viewer && viewer.dataset.scan.startsWith(sha) && document.querySelectorAll('.kd-opinion').length === 2
    && (!maps || [...root.querySelectorAll('canvas[data-role]')].every(canvas => canvas.dataset.map));
}"""


def variant(number: int) -> bytes:
    """The brain phantom with one pixel changed: a DICOM that was never read before."""
    file = pydicom.dcmread(io.BytesIO(next(s for s in images.samples() if s.modality == "mri").data))
    file.decompress()
    pixels = file.pixel_array.copy()
    pixels[0, number] += 1
    file.PixelData = pixels.tobytes()
    written = io.BytesIO()
    file.save_as(written)
    return written.getvalue()


def upload(page: Page, folder: Path, number: int) -> tuple[float, float]:
    """Seconds from the drop until both predictions, and until both maps, are on the screen."""
    content = variant(number)
    path = folder / f"{number}.dcm"
    path.write_bytes(content)
    sha = hashlib.sha256(content).hexdigest()
    began = time.perf_counter()
    page.locator(DROP).first.set_input_files(path)
    page.wait_for_function(THERE, arg=[sha, False], timeout=PATIENCE)
    predicted = time.perf_counter() - began
    page.wait_for_function(THERE, arg=[sha, True], timeout=PATIENCE)
    return predicted, time.perf_counter() - began


def main(uploads: int) -> dict[str, object]:
    """Warm up, measure, report."""
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as address, browsing() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(PATIENCE)
        began = time.perf_counter()
        page.goto(address)
        page.locator(DROP).first.wait_for(state="attached")
        painted = time.perf_counter() - began
        page.locator(DROP).first.set_input_files(
            {"name": "first.dcm", "mimeType": "application/dicom", "buffer": variant(0)}
        )
        page.locator(".kd-opinion").nth(1).wait_for()
        page.get_by_test_id("stCheckbox").get_by_text("Heat map").click()
        for number in range(1, WARM_UPS + 1):
            upload(page, Path(name), number)
        taken = np.array([upload(page, Path(name), WARM_UPS + 1 + number) for number in range(uploads)])
    return {
        "measure": "the wait of a person at the screen, in seconds",
        "first_page_s": round(painted, 3),
        "uploads": uploads,
        "warmups": WARM_UPS,
        "two predictions": _percentiles(taken[:, 0]),
        "two Grad-CAMs": _percentiles(taken[:, 1]),
        "load_average": os.getloadavg()[0],
        "cores": os.cpu_count(),
    }


def _percentiles(seconds: np.ndarray) -> dict[str, float]:
    return {f"p{p}_s": round(float(np.percentile(seconds, p)), 3) for p in (50, 95)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)) + "\n")
