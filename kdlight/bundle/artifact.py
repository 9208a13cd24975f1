"""A folder with both models, their card and their proof. Loading checks every byte against SHA256SUMS.

card.json  teacher.safetensors  student.safetensors  student.onnx  golden/  SHA256SUMS
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from kdlight import storage
from kdlight.bundle.card import Card
from kdlight.contracts.reading import ROLES, Role
from kdlight.preprocessing import InputSpec

if TYPE_CHECKING:
    from kdlight.models import Classifier

FILES = ("card.json", "teacher.safetensors", "student.safetensors", "student.onnx")
LOOKS = "belonging.safetensors"
"""What the bundle's images look like to its student (`kdlight.trust.belonging`); older bundles have none."""
SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
"""See `kdlight.bundle.signature`; it cannot be listed in what it signs."""
KNOWN = re.compile(
    "|".join(map(re.escape, FILES))
    + r"|belonging\.safetensors|student\.int8\.onnx|compress\.json"
    + r"|golden/(case_\d{1,2}\.png|expected\.json|maps\.safetensors)"
)
"""Every file that a bundle may hold besides SHA256SUMS."""
COUNTERS = "num_batches_tracked"
"""Of batch norms; no answer depends on them, and they are not stored."""
MOST_BYTES = 4 * 2**30
"""Of a bundle's files together."""
MOST_FILES = 200
"""That are looked at in a bundle's folder; a bundle has about ten."""
MOST_SUMS = 64 * 2**10

Reason = Literal["no-bundle", "files", "changed", "unreadable", "card", "models", "golden", "signature"]
"""Why a bundle is refused: there is none; a file lacks, or is one that a bundle does not have; bytes are not those
listed; nothing can be made of it; the card, the models, the golden cases or the signature are not as they should be."""


class BundleError(ValueError):
    """A bundle that cannot be trusted or understood; the message says which file and what to do."""

    def __init__(self, message: str, reason: Reason = "unreadable") -> None:
        super().__init__(message.encode("utf-8", "replace").decode())
        self.reason = reason

    @property
    def reasons(self) -> tuple[Reason]:
        """As a message between processes holds it."""
        return (self.reason,)

    @classmethod
    def of(cls, path: Path, what: str, reason: Reason = "unreadable") -> BundleError:
        """For the bundle in a folder."""
        return cls(f"{path.name}: {what}. Get the bundle again.", reason)


class OverLimitError(ValueError):
    """A bundle's network failed while it ran, or asked for more memory than its process may take."""


@contextlib.contextmanager
def guarded(path: Path, reason: Reason = "unreadable", what: str = "it") -> Iterator[None]:
    """Whatever fails inside is a BundleError of the bundle at `path`: one bad bundle must not stop anything else."""
    try:
        yield
    except BundleError:
        raise
    except Exception as error:
        how = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise BundleError.of(path, f"{what} cannot be read ({how})", reason) from error


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
        """The network with its weights, float32, eval mode. Raises BundleError if they do not fit the card.

        What is stored is held against the network's shapes before either takes memory.
        """
        from safetensors.torch import load_file

        from kdlight.models import create_model, parameters

        network = self.card.network(role)
        with guarded(self.path, "models"):
            if _shapes(self.weights(role)) != _expected(network.architecture, len(self.classes)):
                what = f"the {role}'s weights do not fit {network.architecture}"
                raise BundleError.of(self.path, what, "models")
            model = create_model(network.architecture, len(self.classes))
            state = load_file(self.weights(role))
            if not all(bool(value.isfinite().all()) for value in state.values()):
                raise BundleError.of(self.path, f"the {role} has weights that are no finite numbers", "models")
            model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
            if parameters(model) != network.parameters:
                raise BundleError.of(self.path, f"the card says another number of parameters of the {role}", "card")
            return model.eval()


@functools.lru_cache(32)
def _expected(architecture: str, classes: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's weights by name; none of them takes memory."""
    import torch

    from kdlight.models import create_model

    with torch.device("meta"):
        state = create_model(architecture, classes).state_dict()
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith(COUNTERS)}


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    with safe_open(file, "pt") as stored:
        names = [name for name in stored.keys() if not name.endswith(COUNTERS)]  # noqa: SIM118
        return {name: tuple(stored.get_slice(name).get_shape()) for name in names}


def load(path: str | Path) -> Bundle:
    """Read a bundle. Raises BundleError if a file is missing, changed or not listed, or the card is not understood."""
    path = Path(path)
    with guarded(path):
        if not (path / SUMS).is_file():
            where = path.name or path
            expected = f"a folder with {SUMS} was expected. Give a bundle's folder."
            raise BundleError(f"{where} is no bundle: {expected}", "no-bundle")
        listed = _read_sums(path)
        _check_files(path, listed)
        for name, expected in listed.items():
            if digest(path / name) != expected:
                what = f"{name} was changed: its checksum is not the listed one"
                raise BundleError.of(path, what, "changed")
        card = read_card(path)
        sizes = (card.teacher.bytes, card.student.bytes, card.student.onnx_bytes)
        for file, size in zip(FILES[1:], sizes, strict=True):
            if size not in (None, (path / file).stat().st_size):
                raise BundleError.of(path, f"the card says another size of {file} than it has", "card")
        bundle = Bundle(path, card, digest(path / SUMS))
        if (path / SIGNATURE).exists():
            from kdlight.bundle.signature import signing_key

            signing_key(bundle)
        return bundle


def read_card(path: Path) -> Card:
    """The card of the bundle in a folder, whose checksums are not looked at. Raises BundleError."""
    with guarded(path, "card"):
        try:
            values = storage.read_json(path / "card.json")
            if not isinstance(values, dict) or "schema" not in values:
                raise ValueError("an object with a schema was expected")
            return Card.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            said = [".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")]
            what = f"card.json is not understood: {': '.join(filter(None, said))}"
            raise BundleError(f"{path.name}: {what}. Get the bundle again, or a newer kdlight.", "card") from error
        except ValueError as error:
            raise BundleError.of(path, f"card.json cannot be read ({error})", "card") from error


def write_weights(path: Path, teacher: Classifier, student: Classifier) -> None:
    """Write both models' weights in float16."""
    for role, model in zip(ROLES, (teacher, student), strict=True):
        state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
        kept = {k: v.contiguous().numpy() for k, v in state.items() if not k.endswith(COUNTERS)}
        storage.write_arrays(path / f"{role}.safetensors", kept)


def write_card(path: Path, card: Card) -> Card:
    """Write a card beside the weights and the ONNX file that lie at `path`, with their sizes; returns that card."""
    sizes = {name: (path / name).stat().st_size for name in FILES[1:]}
    teacher = card.teacher.replace(bytes=sizes["teacher.safetensors"])
    student = card.student.replace(bytes=sizes["student.safetensors"], onnx_bytes=sizes["student.onnx"])
    card = card.replace(teacher=teacher, student=student)
    storage.write_json(path / "card.json", card.to_json())
    return card


def seal(path: Path) -> None:
    """Write SHA256SUMS over every file of the bundle; a signature over what was there before goes."""
    (path / SIGNATURE).unlink(missing_ok=True)
    lines = [f"{digest(path / name)}  {name}" for name in files(path)]
    storage.write(path / SUMS, "\n".join(lines) + "\n")


def files(path: Path) -> list[str]:
    """Relative names of a bundle's files but SHA256SUMS and its signature; of very many, some.

    Raises BundleError on a link: it could lead outside.
    """
    inside = (p for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
    found = sorted(itertools.islice(inside, MOST_FILES))
    if any(p.is_symlink() for p in found):
        raise BundleError.of(path, "it holds a link; plain files were expected", "files")
    return [name for p in found if (name := p.relative_to(path).as_posix()) not in (SUMS, SIGNATURE)]


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


def _check_files(path: Path, listed: Mapping[str, str]) -> None:
    """Every listed file is there and none else, of the kinds and sizes that a bundle has. Raises BundleError."""
    present = files(path)
    odd = [name for name in (*listed, *present) if not KNOWN.fullmatch(name)]
    for names, what in (
        ([name for name in FILES if name not in listed], f"{SUMS} does not list {{}}"),
        ([name for name in present if name not in listed], f"{{}} is not listed in {SUMS}"),
        (odd, "{} is no part of a bundle"),
        ([name for name in listed if not (path / name).is_file()], "{} is missing"),
    ):
        if names:
            raise BundleError.of(path, what.format(names[0]), "files")
    if sum((path / name).stat().st_size for name in listed) > MOST_BYTES:
        raise BundleError.of(path, f"it is larger than {MOST_BYTES >> 30} GB", "files")


def _read_sums(path: Path) -> dict[str, str]:
    listed: dict[str, str] = {}
    with (path / SUMS).open("rb") as file:
        text = file.read(MOST_SUMS).decode("utf-8", "replace")
    for line in text.removesuffix("\n").split("\n"):
        expected, _, name = line.partition("  ")
        inside = name and not Path(name).is_absolute() and ".." not in Path(name).parts
        if not inside or not re.fullmatch(r"[0-9a-f]{64}", expected) or name in listed:
            raise BundleError.of(path, f"{SUMS} has a line that is no checksum and name, or one twice", "files")
        listed[name] = expected
    return listed
