"""A folder with both models, their card and their proof. Loading checks every byte against SHA256SUMS.

card.json  teacher.safetensors  student.safetensors  student.onnx  golden/  SHA256SUMS
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from kdlight import storage
from kdlight.bundle.card import Card
from kdlight.contracts.reading import ROLES, Role
from kdlight.preprocessing import InputSpec

if TYPE_CHECKING:
    from kdlight.models import Classifier

FILES = ("card.json", "teacher.safetensors", "student.safetensors", "student.onnx")
SUMS = "SHA256SUMS"


class BundleError(ValueError):
    """A bundle that cannot be trusted or understood; the message says which file and what to do."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose checksums and card were found right."""

    path: Path
    card: Card
    sha256: str
    """Digest of SHA256SUMS, hence of every file."""

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.card.classes)

    @property
    def spec(self) -> InputSpec:
        return self.card.input

    @property
    def onnx(self) -> Path:
        return self.path / "student.onnx"

    def weights(self, role: Role) -> Path:
        return self.path / f"{role}.safetensors"

    def words(self, name: str) -> str:
        """A class name in words for people."""
        return next(entry.words for entry in self.card.classes if entry.name == name)

    def model(self, role: Role) -> Classifier:
        """The network with its weights, float32, eval mode. Raises BundleError if they do not fit the card."""
        from safetensors.torch import load_file

        from kdlight.models import create_model

        architecture = self.card.network(role).architecture
        model = create_model(architecture, len(self.classes))
        state = load_file(self.weights(role))
        try:
            model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        except RuntimeError as error:
            raise BundleError(f"The {role}'s weights do not fit {architecture}. Get the bundle again.") from error
        return model.eval()


def load(path: str | Path) -> Bundle:
    """Read a bundle. Raises BundleError if a file is missing, changed or not listed, or the card is not understood."""
    path = Path(path)
    if not (path / SUMS).is_file():
        raise BundleError(
            f"{path.name or path} is no bundle: a folder with {SUMS} was expected. Give a bundle's folder."
        )
    listed = _read_sums(path)
    if missing := [name for name in FILES if name not in listed]:
        raise BundleError(f"{path.name}: {SUMS} does not list {missing[0]}. Get the bundle again.")
    if extra := [name for name in files(path) if name not in listed]:
        raise BundleError(f"{path.name}: {extra[0]} is not listed in {SUMS}. Remove it or get the bundle again.")
    for name, expected in listed.items():
        if not (path / name).is_file():
            raise BundleError(f"{path.name}: {name} is missing. Get the bundle again.")
        if digest(path / name) != expected:
            raise BundleError(
                f"{path.name}: {name} was changed: its checksum is not the listed one. Get the bundle again."
            )
    return Bundle(path, read_card(path), digest(path / SUMS))


def read_card(path: Path) -> Card:
    """The card of the bundle in a folder, whose checksums are not looked at. Raises BundleError, OSError."""
    try:
        values = json.loads((path / "card.json").read_bytes())
        if not isinstance(values, dict) or "schema" not in values:
            raise ValueError("an object with a schema was expected")
        return Card.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")]))
        raise BundleError(
            f"{path.name}: card.json is not understood: {what}. Get the bundle again, or a newer kdlight."
        ) from error
    except ValueError as error:
        raise BundleError(f"{path.name}: card.json cannot be read ({error}). Get the bundle again.") from error


def write_weights(path: Path, teacher: Classifier, student: Classifier) -> None:
    """Write both models' weights in float16."""
    from safetensors.torch import save_file

    path.mkdir(parents=True, exist_ok=True)
    for role, model in zip(ROLES, (teacher, student), strict=True):
        state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
        state = {k: v.contiguous() for k, v in state.items() if not k.endswith("num_batches_tracked")}
        save_file(state, path / f"{role}.safetensors")


def write_card(path: Path, card: Card) -> Card:
    """Write a card beside the weights and the ONNX file that lie at `path`, with their sizes; returns that card."""
    sizes = {name: (path / name).stat().st_size for name in FILES[1:]}
    teacher = card.teacher.replace(bytes=sizes["teacher.safetensors"])
    student = card.student.replace(bytes=sizes["student.safetensors"], onnx_bytes=sizes["student.onnx"])
    card = card.replace(teacher=teacher, student=student)
    storage.write_json(path / "card.json", card.to_json())
    return card


def seal(path: Path) -> None:
    """Write SHA256SUMS over every file of the bundle."""
    lines = [f"{digest(path / name)}  {name}" for name in files(path)]
    storage.write(path / SUMS, "\n".join(lines) + "\n")


def files(path: Path) -> list[str]:
    """Relative names of a bundle's files, SHA256SUMS left out. Raises BundleError on a link: it could lead outside."""
    inside = sorted(p for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
    if any(p.is_symlink() for p in inside):
        raise BundleError(f"{path.name} holds a link; plain files were expected. Get the bundle again.")
    return [p.relative_to(path).as_posix() for p in inside if p.name != SUMS]


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped_folder() -> Path:
    """The trained pairs that come with the repository."""
    return Path(__file__).resolve().parents[2] / "assets" / "bundles"


def is_shipped(path: Path) -> bool:
    """Whether a bundle's folder is one of those."""
    return path.parent == shipped_folder()


def library_folder() -> Path:
    """The user's own pairs: $KDLIGHT_LIBRARY, else ~/.kdlight/library."""
    return Path(os.environ.get("KDLIGHT_LIBRARY") or Path.home() / ".kdlight" / "library")


def find() -> list[Path]:
    """Folders of every shipped bundle and of the user's library, by name; they are not checked here."""
    return [p.parent for root in (shipped_folder(), library_folder()) for p in sorted(root.glob(f"*/{SUMS}"))]


def _read_sums(path: Path) -> dict[str, str]:
    listed: dict[str, str] = {}
    for line in (path / SUMS).read_text(encoding="utf-8", errors="replace").splitlines():
        expected, _, name = line.partition("  ")
        inside = name and not Path(name).is_absolute() and ".." not in Path(name).parts
        if not inside or not re.fullmatch(r"[0-9a-f]{64}", expected):
            raise BundleError(f"{path.name}: {SUMS} has a line that is no checksum and name. Get the bundle again.")
        listed[name] = expected
    return listed
