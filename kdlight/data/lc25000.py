"""LC25000 (Borkowski et al., arXiv 1912.12142): histopathology tiles of lung and colon in five classes.

Fact: 25,000 tiles of 768 px, 5,000 a class, in `{lung,colon}_image_sets/<class>/`; about 250 originals a class were
multiplied by turning them up to 25 degrees and mirroring them; the set names neither the originals nor any splits.
So a split by image puts copies of one tile on both sides. Ours: tiles whose structure matches at some turn, enlargement
and mirroring, by phase correlation in log-polar coordinates (Reddy and Chatterji, IEEE TIP 1996), are one group. A
group is likely, not certain: of 1,172 lung tiles with known origins, 78 % of the pairs of one origin were linked, and
six others.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from kdlight.data.dataset import UNSPLIT, DataError
from kdlight.data.files import Labels, Layout, Row
from kdlight.data.walk import in_threads, visible_files
from kdlight.storage import ArrayCache

CLASSES = {"colon": ("colon_aca", "colon_n"), "lung": ("lung_aca", "lung_n", "lung_scc")}
"""By organ, as the folders are called."""
FOLDER = "lung_colon_image_set"

VERSION = 2
"""Raise it when a figure below changes."""
SIDE, LARGEST = 96, 2048 * 2048
"""Of a tile as it is compared, and the most pixels that it may have in its file; the set's have 768 x 768."""
COARSE = 8
"""Structure wider than this (standard deviation in pixels) tells no tile from another: light areas are alike."""
RADII, ANGLES, INNER, OUTER = 32, 64, 6.0, 46.0
"""The log-polar grid: numbers of radii and angles, the smallest and the largest radius in pixels."""
ROOM = 8
"""Radii by which enlarging can move a tile: a turn by 25 degrees is cut to 1/1.33, which is 4.4 of them."""
NEAREST = 40
"""Tiles with the most similar colors that each tile is compared with; they hold 99 % of its copies."""
ALIKE = 0.35
"""Correlation from which two tiles are of one origin."""

log = logging.getLogger(__name__)


def is_lc25000(root: Path) -> bool:
    """Whether the folder, or the archive's folder in it, holds an organ's folder of class folders."""
    return any((_part(root) / f"{organ}_image_sets").is_dir() for organ in CLASSES)


def read_lc25000(root: Path, task: str = "") -> Labels:
    """Five classes; with the task "lung" or "colon" those of one organ. Raises DataError where a class is missing."""
    labels = Labels()
    for organ in [task] if task else CLASSES:
        for name in CLASSES[organ]:
            folder = _part(root) / f"{organ}_image_sets" / name
            files = visible_files(folder)
            if not files:
                hint = "" if task else f" Or open one organ alone: {root}#lung or {root}#colon."
                raise DataError(f"{folder} holds no tiles; LC25000 has them there. Unpack the whole archive.{hint}")
            numbered = zip(files, origins(files), strict=True)
            for path, number in numbered:
                labels.rows.append(Row(path.relative_to(root).as_posix(), name, UNSPLIT, f"{name}-{number:04d}"))
    return labels


def _part(root: Path) -> Path:
    return root / FOLDER if (root / FOLDER).is_dir() else root


def origins(paths: Sequence[Path]) -> list[int]:
    """A number per tile, equal for those of one origin; cached on disk, since 5,000 files take minutes.

    Raises DataError that names the first file that cannot be read.
    """
    stamps = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in paths]
    key = hashlib.sha256(json.dumps([VERSION, stamps]).encode()).hexdigest()
    cache = ArrayCache("origins")
    cached = cache.get(key)
    if cached is None:
        log.info("Looking for the common origins of %d images.", len(paths))
        cached = {"numbers": link(np.stack(list(in_threads(_thumbnail, paths))))}
        cache.put(key, cached)
    return [int(number) for number in cached["numbers"]]


def link(tiles: NDArray[np.uint8]) -> NDArray[np.int32]:
    """RGB (N, SIDE, SIDE, 3) to a number per tile (N,), equal where a chain of matches leads from one to the other."""
    from scipy.sparse import coo_array  # type: ignore[import-untyped, unused-ignore]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped, unused-ignore]

    colors = np.stack([_colors(tile) for tile in tiles])
    spectra = np.stack([spectrum(tile) for tile in tiles])
    pairs = []
    for number in range(len(tiles)):
        nearest = np.argsort(-(colors @ colors[number]))[: NEAREST + 1]
        pairs += [(number, other) for other in nearest[likeness(spectra[number], spectra[nearest]) >= ALIKE]]
    rows, columns = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(tiles), len(tiles)))
    numbers: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return numbers


def spectrum(tile: NDArray[np.uint8]) -> NDArray[np.complex64]:
    """The Fourier transform (RADII + ROOM, ANGLES // 2 + 1) of a tile's fine structure on a log-polar grid.

    There a turn is a shift along the angles, an enlargement one along the radii, for which there is room at the end.
    Outer circles count more, as they hold more of the tile.
    """
    from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped, unused-ignore]
    from skimage.transform import warp_polar

    gray = tile.astype(np.float32).mean(axis=2)
    steps = round(RADII * np.log(OUTER) / np.log(OUTER / INNER))  # from radius 1, of which the outer ones are taken
    fine = gray - gaussian_filter(gray, COARSE)
    polar = warp_polar(fine, radius=OUTER, output_shape=(ANGLES, steps), scaling="log")[:, -RADII:].T  # (RADII, ANGLES)
    polar = polar * np.geomspace(INNER, OUTER, RADII)[:, None] ** 0.5
    polar -= polar.mean()
    padded = np.pad(polar / max(np.linalg.norm(polar), 1e-6), ((0, ROOM), (0, 0)))
    return np.asarray(np.fft.rfft2(padded), dtype=np.complex64)


def likeness(one: NDArray[np.complex64], others: NDArray[np.complex64]) -> NDArray[np.float32]:
    """The correlations (K,) of a tile's spectrum with others (K, ...) at the best turn, enlargement and mirroring."""
    mirrored = np.roll(one[::-1], 1, axis=0).conj()
    both = np.stack([one, mirrored])[:, None] * others.conj()
    correlations = np.fft.irfft2(both, s=(RADII + ROOM, ANGLES))  # (2, K, RADII + ROOM, ANGLES)
    return np.asarray(correlations.max(axis=(0, 2, 3)), dtype=np.float32)


def _colors(tile: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The roots of the shares of 512 colors in the largest circle inside, which turning does not change: length 1."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    red, green, blue = (tile[np.hypot(y, x) < OUTER] // 32).astype(int).T
    counts = np.bincount((red * 8 + green) * 8 + blue, minlength=512)
    return np.asarray(np.sqrt(counts / counts.sum()), dtype=np.float32)


def _thumbnail(path: Path) -> NDArray[np.uint8]:
    """RGB (SIDE, SIDE, 3); a JPEG is decoded at an eighth of its size, which is quick."""
    try:
        with PIL.Image.open(path, formats=("JPEG", "PNG")) as opened:
            if opened.width * opened.height > LARGEST:
                raise DataError(f"{path} is {opened.width} x {opened.height} pixels; a tile of 768 x 768 was expected.")
            opened.draft("RGB", (SIDE, SIDE))
            return np.asarray(opened.convert("RGB").resize((SIDE, SIDE), PIL.Image.Resampling.BOX))
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image. Replace it or remove it from the set.") from error


LAYOUT = Layout(
    "LC25000: lung and colon tiles, grouped by common origin",
    is_lc25000,
    read_lc25000,
    {"colon": "its two colon classes", "lung": "its three lung classes"},
)
