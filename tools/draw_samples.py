"""Draw the sample scans of the app: `python tools/draw_samples.py` writes them into the package.

Synthetic phantoms, drawn by arithmetic, the same on every machine, of no patient. Each function gives a file's bytes.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, JPEGLSLossless, MRImageStorage

FOLDER = Path(__file__).resolve().parents[1] / "kdlight" / "images" / "phantoms"
Field = np.ndarray
"""float64 (side, side)."""


def brain_mri() -> bytes:
    """A head in the manner of Shepp and Logan (1974), T1-like, with a bright rim lesion: DICOM MR, 12 bits."""
    rng, side = np.random.default_rng(1), 320
    folds = _noise(rng, side, 4.0)
    warp = 0.035 * _noise(rng, side, 12.0)
    head, brain = _ellipse(side, 0, 0, 0.92, 0.74), _ellipse(side, 0.02, 0, 0.79, 0.61) + warp
    picture = 0.75 * _inside(head) - 0.6 * _inside(head + 0.1) - 0.1 * _inside(brain)
    picture += _inside(brain) * (0.42 + 0.26 * _smooth(0.72 + 0.13 * folds - brain, 0.04))
    picture -= 0.3 * _inside(brain) * _smooth(folds - 1.0, 0.2) * _smooth(brain - 0.6, 0.08)
    for column, angle in ((-0.11, 14), (0.11, -14)):
        picture -= 0.45 * _smooth(1 - _ellipse(side, -0.06, column, 0.25, 0.075, angle), 0.15)
    picture -= 0.3 * _smooth(1 - _ellipse(side, 0.02, 0, 0.62, 0.012), 0.5) * _inside(brain)
    lesion = _ellipse(side, 0.22, -0.3, 0.14, 0.12) + 0.1 * folds
    picture += 0.5 * (_smooth(1 - lesion, 0.1) - 0.8 * _smooth(0.62 - lesion, 0.1))
    shaded = np.clip(picture, 0.01, 1) * (1 + 0.08 * _noise(rng, side, 90.0))
    noisy = np.hypot(_blur(shaded, 0.7) + 0.018 * rng.normal(size=shaded.shape), 0.018 * rng.normal(size=shaded.shape))
    return _dicom(np.rint(1500 * noisy), "MR", 900, 1400, spacing=0.75)


def chest_xray() -> bytes:
    """A frontal chest: lungs, ribs, heart, spine: DICOM DX, 12 bits, MONOCHROME1 as detectors often write."""
    rng, side = np.random.default_rng(2), 512
    y, x = _grid(side)
    absorbed = 1.15 * _smooth(1 - np.abs(x) / (0.80 + 0.12 * y), 0.12) + 0.25 * _smooth(1 - np.abs(x) / 0.3, 0.4)
    absorbed *= 1 - 0.5 * _smooth(-0.72 - y - 0.25 * np.abs(x), 0.1) * _smooth(np.abs(x) - 0.25, 0.05)
    for column, lift in ((-0.37, 0.0), (0.39, 0.04)):
        lung = np.maximum(
            _ellipse(side, -0.08, column, 0.66, 0.29), 1 + 4 * (y - 0.46 - lift + 1.2 * (x - column) ** 2)
        )
        absorbed -= 0.78 * _smooth(1 - lung, 0.10) * (1 - 0.16 * np.maximum(0, _noise(rng, side, 5.0)))
    for number in range(9):
        center, drop = -0.68 + 0.135 * number, 0.30 + 0.018 * number
        arc = y - center - drop * (np.abs(x) / 0.7) ** 1.7 + 0.05
        shell = _smooth(0.021 - np.abs(arc), 0.008) * _smooth(0.74 - np.abs(x), 0.03) * _smooth(np.abs(x) - 0.07, 0.03)
        absorbed += 0.14 * shell
    for sign in (-1, 1):
        clavicle = y + 0.70 - 0.28 * (sign * x - 0.1) ** 2 + 0.12 * sign * x
        absorbed += 0.22 * _smooth(0.026 - np.abs(clavicle), 0.008) * _smooth(0.3 - np.abs(sign * x - 0.38), 0.03)
    vertebrae = 0.75 + 0.25 * np.cos(2 * np.pi * y / 0.13)
    absorbed += 0.22 * _smooth(0.085 - np.abs(x), 0.02) * vertebrae
    absorbed += 0.5 * _smooth(1 - _ellipse(side, 0.22, 0.13, 0.33, 0.25, -28), 0.10)
    absorbed += 0.03 * _noise(rng, side, 3.0) + 0.02 * rng.normal(size=x.shape)
    return _dicom(np.rint(4000 * np.exp(-0.9 * _blur(absorbed, 1.0))), "DX", 2000, 3600, inverted=True, spacing=0.7)


def chest_ct() -> bytes:
    """An axial slice through the lungs in HU, with vessels and a hazy patch: DICOM CT, 16 bits signed."""
    rng, side = np.random.default_rng(3), 512
    y, _ = _grid(side)
    body = _ellipse(side, 0, 0, 0.66, 0.92)
    slice_ = np.full((side, side), -1000.0)
    slice_ = _paint(slice_, body, -95)
    slice_ = _paint(slice_, _ellipse(side, 0, 0, 0.585, 0.845) + 0.02 * _noise(rng, side, 15.0), 48)
    vessels = np.clip(_noise(rng, side, 3.5) - 1.55, 0, 1) * 700
    for column in (-0.43, 0.43):
        lung = _ellipse(side, -0.03, column, 0.46, 0.30, 6 * np.sign(column)) + 0.02 * _noise(rng, side, 20.0)
        inside = _smooth(1 - lung, 0.02)
        texture = -860 + 60 * (y + 0.4) + vessels * _smooth(0.94 - lung, 0.05) + 12 * _noise(rng, side, 2.0)
        slice_ = slice_ * (1 - inside) + texture * inside
        patch = _smooth(0.9 - _ellipse(side, 0.18, 0.52, 0.16, 0.13), 0.3) * inside * (column > 0)
        slice_ += 330 * patch * (1 + 0.25 * _noise(rng, side, 4.0))
    slice_ = _paint(slice_, _ellipse(side, -0.06, 0.07, 0.26, 0.21, 20), 42)
    slice_ = _paint(slice_, _ellipse(side, 0.27, 0.13, 0.065, 0.065), 46)
    for ring, value in ((0.13, 420), (0.10, 190)):
        slice_ = _paint(slice_, _ellipse(side, 0.36, 0, ring, ring * 1.15), value)
    slice_ = _paint(slice_, _ellipse(side, 0.49, 0, 0.07, 0.035), 350)
    slice_ = _paint(slice_, _ellipse(side, -0.20, -0.04, 0.035, 0.045), -950)
    for turn in np.linspace(0.18, 2 * np.pi + 0.18, 22, endpoint=False):
        row, column = 0.55 * np.sin(turn), 0.80 * np.cos(turn)
        slice_ = _paint(
            slice_, _ellipse(side, row, column, 0.022, 0.06, np.degrees(np.arctan2(column, -row * 1.4))), 560
        )
    blurred = _blur(slice_, 0.8) + 11 * _blur(rng.normal(size=slice_.shape), 0.8) * 2
    return _dicom(np.rint(np.clip(blurred, -1024, 3000)), "CT", -600, 1500, spacing=0.72)


def breast_ultrasound() -> bytes:
    """Layered tissue in speckle with a dark oval lesion and a brighter band behind it: PNG, 8 bits."""
    rng, side = np.random.default_rng(4), 384
    y, x = _grid(side)
    layers = 0.50 + 0.05 * _noise(rng, side, (4.0, 30.0)) + 0.20 * _smooth(-0.80 - y, 0.03)
    layers += 0.16 * _smooth(0.03 - np.abs(y + 0.42 + 0.05 * np.sin(4 * x)), 0.02)
    layers += 0.25 * _smooth(0.03 - np.abs(y - 0.62 - 0.04 * np.sin(3 * x + 1)), 0.02) - 0.2 * _smooth(y - 0.70, 0.05)
    lesion = _ellipse(side, 0.02, 0.08, 0.24, 0.36, 6) + 0.07 * _noise(rng, side, 14.0)
    layers -= 0.36 * _smooth(1 - lesion, 0.08)
    layers += 0.14 * _smooth(0.30 - np.abs(x - 0.08), 0.08) * _smooth(y - 0.22, 0.08) * _smooth(0.62 - y, 0.05)
    speckle = np.hypot(_speckle(rng, side), _speckle(rng, side))
    echo = np.clip(layers, 0.03, 1) * (1 - 0.25 * (y + 1) / 2) * speckle
    return _png(255 * np.clip(0.36 * np.log10(1 + 60 * echo**1.6) - 0.06, 0, 1))


def skin_lesion() -> bytes:
    """A pigmented spot with uneven color, a network and a few hairs on skin: PNG in color."""
    rng, side = np.random.default_rng(5), 384
    y, x = _grid(side)
    skin = np.array([226.0, 178, 158]) + 5 * _noise(rng, side, 2.0)[..., None] + 9 * _noise(rng, side, 60.0)[..., None]
    edge = _ellipse(side, 0.02, -0.03, 0.50, 0.58, 20) + 0.13 * _noise(rng, side, 28.0)
    spot = _smooth(1 - edge, 0.10)[..., None]
    dark = (0.55 + 0.28 * _noise(rng, side, 22.0) + 0.10 * np.abs(_noise(rng, side, 3.5))).clip(0, 1)[..., None]
    color = np.array([164.0, 104, 74]) * (1 - dark) + np.array([74.0, 42, 36]) * dark
    picture = skin * (1 - spot) + color * spot
    for _ in range(7):
        slope, start, bend = rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.9), rng.uniform(-0.4, 0.4)
        hair = _smooth(0.007 - np.abs(y - start - slope * x - bend * x * x) / np.hypot(1, slope), 0.004)
        picture *= (1 - 0.75 * hair)[..., None]
    light = 1.04 - 0.22 * (x * x + y * y)
    return _png(picture * light[..., None])


def histology() -> bytes:
    """Glands with a ring of nuclei in pink stroma, in the colors of hematoxylin and eosin: PNG in color."""
    rng, side = np.random.default_rng(6), 384
    stroma = 0.38 + 0.13 * _noise(rng, side, (3.0, 14.0))
    nuclei, lumen = np.zeros((side, side)), np.zeros((side, side))
    for row, column, size in ((-0.45, -0.42, 0.36), (0.42, -0.32, 0.40), (-0.22, 0.48, 0.42), (0.66, 0.58, 0.30)):
        gland = _ellipse(side, row, column, size, size * 0.85, 30 * column) + 0.06 * _noise(rng, side, 18.0)
        lumen = np.maximum(lumen, _smooth(0.42 - gland, 0.05))
        stroma = stroma + 0.18 * _smooth(1 - gland, 0.05) * (1 - lumen)
        for turn in np.arange(0, 2 * np.pi, 0.07 / size):
            reach = size * rng.uniform(0.78, 0.98)
            place = row + reach * np.sin(turn), column + 0.85 * reach * np.cos(turn)
            nuclei = np.maximum(nuclei, _nucleus(rng, side, *place, np.degrees(turn)))
    for _ in range(170):
        row, column, turn = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0, 180)
        nuclei = np.maximum(nuclei, _nucleus(rng, side, row, column, turn))
    nuclei *= 1 - lumen
    eosin, hematoxylin = np.clip(stroma * (1 - lumen), 0.02, 1), nuclei * (0.85 + 0.15 * _noise(rng, side, 1.5))
    density = eosin[..., None] * np.array([0.10, 0.95, 0.42]) + hematoxylin[..., None] * np.array([0.95, 1.05, 0.45])
    return _png(246 * np.exp(-density))


def brick_crack() -> bytes:
    """A rough fired surface with a branching crack: PNG in color."""
    rng, side = np.random.default_rng(7), 320
    y, x = _grid(side)
    grain = _noise(rng, side, 1.2) + 0.8 * _noise(rng, side, 4.0) + 0.7 * _noise(rng, side, 30.0)
    pits = _smooth(_noise(rng, side, 2.5) - 2.1, 0.2)
    path = 0.10 * np.sin(3.1 * y + 0.5) + 0.05 * np.sin(11 * y) + 0.05 * _noise(rng, side, 9.0)
    crack = _smooth(0.020 + 0.012 * _noise(rng, side, 8.0) - np.abs(x - 0.3 * y - path), 0.008)
    branch = _smooth(0.011 - np.abs(x + 0.62 * y - 0.25 - path), 0.007) * _smooth(y - 0.12, 0.03)
    surface = np.array([172.0, 100, 76]) + grain[..., None] * np.array([13.0, 10, 9])
    return _png(surface * (1 - 0.72 * np.maximum(crack, branch) - 0.35 * pits)[..., None])


def _grid(side: int) -> tuple[Field, Field]:
    """Rows and columns from -1 to 1."""
    line = np.linspace(-1, 1, side)
    return np.meshgrid(line, line, indexing="ij")[0], np.meshgrid(line, line, indexing="ij")[1]


def _ellipse(side: int, row: float, column: float, tall: float, wide: float, degrees: float = 0.0) -> Field:
    """0 in the center, 1 on the edge of an ellipse with half axes `tall` and `wide`, more outside."""
    y, x = _grid(side)
    y, x, turn = y - row, x - column, np.radians(degrees)
    along, across = y * np.cos(turn) - x * np.sin(turn), y * np.sin(turn) + x * np.cos(turn)
    return np.asarray(np.hypot(along / tall, across / wide))


def _smooth(field: Field, width: float) -> Field:
    """A soft step: 0 where the field is well below 0, 1 where it is well above."""
    return np.asarray(1 / (1 + np.exp(-np.clip(4 * field / width, -60, 60))))


def _inside(ellipse: Field) -> Field:
    return _smooth(1 - ellipse, 0.02)


def _paint(picture: Field, ellipse: Field, value: float) -> Field:
    inside = _smooth(1 - ellipse, 0.02)
    return np.asarray(picture * (1 - inside) + value * inside)


def _blur(field: Field, sigma: float | tuple[float, float]) -> Field:
    """A Gaussian of `sigma` pixels, by the Fourier transform."""
    rows, columns = np.broadcast_to(sigma, 2)
    fy, fx = np.fft.fftfreq(field.shape[0])[:, None], np.fft.rfftfreq(field.shape[1])[None]
    kernel = np.exp(-2 * np.pi**2 * ((rows * fy) ** 2 + (columns * fx) ** 2))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(field) * kernel, s=field.shape))


def _noise(rng: np.random.Generator, side: int, sigma: float | tuple[float, float]) -> Field:
    """Smooth noise of mean 0 and standard deviation 1."""
    field = _blur(rng.normal(size=(side, side)), sigma)
    return np.asarray((field - field.mean()) / field.std())


def _speckle(rng: np.random.Generator, side: int) -> Field:
    return np.asarray(_noise(rng, side, (0.9, 1.6)) / np.sqrt(2))


def _nucleus(rng: np.random.Generator, side: int, row: float, column: float, degrees: float) -> Field:
    """One nucleus in its own small window of the field."""
    field = np.zeros((side, side))
    i, j, reach = int((row + 1) / 2 * side), int((column + 1) / 2 * side), 12
    top, left = max(0, i - reach), max(0, j - reach)
    rows, columns = np.mgrid[top : min(side, i + reach), left : min(side, j + reach)]
    turn, tall, wide = np.radians(degrees), rng.uniform(4.5, 6.5), rng.uniform(2.8, 4.2)
    along = (rows - i) * np.cos(turn) - (columns - j) * np.sin(turn)
    across = (rows - i) * np.sin(turn) + (columns - j) * np.cos(turn)
    field[top : i + reach, left : j + reach] = rng.uniform(0.7, 1) * _smooth(
        1 - np.hypot(along / wide, across / tall), 0.4
    )
    return field


def _png(values: np.ndarray) -> bytes:
    buffer = BytesIO()
    PIL.Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _dicom(
    values: Field, code: str, center: float, width: float, inverted: bool = False, spacing: float = 1.0
) -> bytes:
    """Whole numbers in modality units as JPEG-LS lossless DICOM of 12 bits; CT is stored from -1024 up."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = _CLASSES[code], f"2.25.{sum(code.encode())}", code
    ds.PatientName = "Phantom^Synthetic"
    if code != "DX":
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME1" if inverted else "MONOCHROME2"
    ds.Rows, ds.Columns = values.shape
    ds.PixelSpacing = [spacing, spacing]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.BurnedInAnnotation = "NO"
    ds.WindowCenter, ds.WindowWidth = center, width
    if code == "CT":
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    stored = np.clip(values + (1024 if code == "CT" else 0), 0, 4095).astype("<u2")
    ds.compress(JPEGLSLossless, stored, generate_instance_uid=False)
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage, "DX": DigitalXRayImageStorageForPresentation}


if __name__ == "__main__":
    for draw in (chest_xray, chest_ct, breast_ultrasound, skin_lesion, histology, brick_crack, brain_mri):
        content = draw()
        suffix = "png" if content.startswith(b"\x89PNG") else "dcm"
        path = FOLDER / f"{draw.__name__}.{suffix}"
        path.write_bytes(content)
        sys.stdout.write(f"{path.name}: {len(content) // 1000} kB\n")
