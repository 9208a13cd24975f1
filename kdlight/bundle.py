"""The artefact: a folder with both models, their card and their proof. Loading checks every byte against SHA256SUMS.

card.json  teacher.safetensors  student.safetensors  student.onnx  golden/  SHA256SUMS
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdlight.config import NAME
from kdlight.metrics import Report
from kdlight.preprocessing import InputSpec
from kdlight.reading import ROLES, Role
from kdlight.runs import origin
from kdlight.runs.origin import Origin

if TYPE_CHECKING:
    from kdlight.models import Classifier

SCHEMA = "kdlight.card/1"
FILES = ("card.json", "teacher.safetensors", "student.safetensors", "student.onnx")
SUMS = "SHA256SUMS"


class BundleError(ValueError):
    """A bundle that cannot be trusted or understood; the message says which file and what to do."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a bundle says of itself (schema kdlight.card/1). Numbers are as measured by the command that made it."""

    id: str
    name: str
    version: str
    created: str
    """ISO date, UTC."""
    licence: str
    """Licence of the trained weights, with what the data's licence asks."""
    modality: str
    classes: list[dict[str, Any]]
    """[{"name", "words", "must_not_miss"}] in the order of the logits."""
    input: dict[str, Any]
    """An InputSpec as JSON."""
    teacher: dict[str, Any]
    """architecture, parameters, macs (multiply-adds of one image at the input size), bytes (on disk), start; of the
    teacher also start_kind, see `kdlight.runs.origin`."""
    student: dict[str, Any]
    distillation: dict[str, Any]
    """method, its options, the student's first weights, the recipe as TOML."""
    data: dict[str, Any]
    """name, source, licence, counts per split and class, group key."""
    metrics: dict[str, Any]
    """split, n, and for teacher, student and alone each metric as {"value", "low", "high"}; seeds where several ran;
    at_chance: of teacher and student those that are no better than chance."""
    calibration: dict[str, Any]
    conformal: dict[str, Any]
    eligibility: dict[str, Any]
    """modalities, min_side (pixels), color (True, False or None for either); where it is known also body_parts (keys of
    `kdlight.anatomy.BODY_PARTS`) and views (values of `kdlight.anatomy.VIEWS`)."""
    intended_use: str
    limits: list[str]
    versions: dict[str, str]
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def at_chance(self) -> tuple[Role, ...]:
        """The models that are no better than chance on the test images: a pair with one of them has failed.

        A card from before this was kept is judged by its figures; see `kdlight.metrics.Report.beats_chance`.
        """
        kept = self.metrics.get("at_chance")
        if isinstance(kept, list):
            return tuple(role for role in ROLES if role in kept)
        reports = {role: Report.model_validate(self.metrics.get(role) or {}) for role in ROLES}
        return tuple(role for role in ROLES if reports[role].beats_chance is False)

    @property
    def origin(self) -> Origin | None:
        """Where the teacher's starting weights came from; None where the card does not say."""
        return origin.of(self.teacher)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Card:
        """Raises BundleError if the schema is another or a field is missing, unknown or of the wrong kind."""
        if values.get("schema") != SCHEMA:
            raise BundleError(
                f"card.json has schema {values.get('schema')!r}; {SCHEMA} was expected. Get a newer bundle."
            )
        names = {f.name: str(f.type) for f in dataclasses.fields(cls)}
        odd = sorted(set(values) ^ set(names))
        if odd:
            raise BundleError(f"card.json and {SCHEMA} differ in the field {odd[0]!r}. Get the bundle again.")
        kinds = {"s": str, "d": dict, "l": list}
        for name, kind in names.items():
            if not isinstance(values[name], kinds[kind[0]]):
                raise BundleError(f"card.json: {name} is no {kinds[kind[0]].__name__}. Get the bundle again.")
        if not NAME.fullmatch(values["id"]):
            raise BundleError("card.json: the id may hold a-z, 0-9, _ and - only, at most 64 of them.")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose checksums and card were found right."""

    path: Path
    card: Card
    sha256: str
    """Digest of SHA256SUMS, hence of every file."""

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(c["name"] for c in self.card.classes)

    @property
    def spec(self) -> InputSpec:
        return InputSpec.from_json(self.card.input)

    @property
    def onnx(self) -> Path:
        return self.path / "student.onnx"

    def weights(self, role: Role) -> Path:
        return self.path / f"{role}.safetensors"

    def words(self, name: str) -> str:
        """A class name in words for people."""
        return next(str(c["words"]) for c in self.card.classes if c["name"] == name)

    def model(self, role: Role) -> Classifier:
        """The network with its weights, float32, eval mode. Raises BundleError if they do not fit the card."""
        from safetensors.torch import load_file

        from kdlight.models import create_model

        model = create_model(getattr(self.card, role)["architecture"], len(self.classes))
        try:
            model.load_state_dict(
                {k: v.float() if v.is_floating_point() else v for k, v in load_file(self.weights(role)).items()}
            )
        except RuntimeError as error:
            raise BundleError(f"The {role}'s weights do not fit {getattr(self.card, role)['architecture']}.") from error
        return model.eval()


def load(path: str | Path) -> Bundle:
    """Read a bundle. Raises BundleError if a file is missing, changed or not listed, or the card is not understood."""
    path = Path(path)
    if not path.is_dir() or not (path / SUMS).is_file():
        raise BundleError(
            f"{path.name or path} is no bundle: a folder with {SUMS} was expected. Give a bundle's folder."
        )
    listed = _read_sums(path)
    missing = [name for name in FILES if name not in listed]
    if missing:
        raise BundleError(f"{path.name}: {SUMS} does not list {missing[0]}. Get the bundle again.")
    for name in files(path):
        if name not in listed:
            raise BundleError(f"{path.name}: {name} is not listed in {SUMS}. Remove it or get the bundle again.")
    for name, expected in listed.items():
        if not (path / name).is_file():
            raise BundleError(f"{path.name}: {name} is missing. Get the bundle again.")
        if digest(path / name) != expected:
            raise BundleError(
                f"{path.name}: {name} was changed: its checksum is not the listed one. Get the bundle again."
            )
    try:
        card = Card.from_json(json.loads((path / "card.json").read_text(encoding="utf-8")))
        InputSpec.from_json(card.input)
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise BundleError(f"{path.name}: card.json cannot be understood ({type(error).__name__}).") from error
    return Bundle(path, card, digest(path / SUMS))


def write(path: Path, card: Card, teacher: Classifier, student: Classifier) -> None:
    """Write the card and both models' weights in float16; `seal` closes the bundle once the rest is there."""
    from safetensors.torch import save_file

    path.mkdir(parents=True, exist_ok=True)
    for role, model in zip(ROLES, (teacher, student), strict=True):
        state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
        state = {k: v.contiguous() for k, v in state.items() if not k.endswith("num_batches_tracked")}
        save_file(state, path / f"{role}.safetensors")
    write_card(path, card)


def write_card(path: Path, card: Card) -> None:
    (path / "card.json").write_text(json.dumps(card.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def seal(path: Path) -> None:
    """Write SHA256SUMS over every file of the bundle."""
    lines = [f"{digest(path / name)}  {name}" for name in files(path)]
    beside = path / f"{SUMS}.part"
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(path / SUMS)


def files(path: Path) -> list[str]:
    """Relative names of a bundle's files, SHA256SUMS left out. Raises BundleError on a link: it could lead outside."""
    found = sorted(p for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
    if any(p.is_symlink() for p in found):
        raise BundleError(f"{path.name} holds a link; plain files were expected. Get the bundle again.")
    return [p.relative_to(path).as_posix() for p in found if p.name != SUMS]


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped_folder() -> Path:
    """The trained pairs that come with the repository."""
    return Path(__file__).resolve().parent.parent / "assets" / "bundles"


def library_folder() -> Path:
    """The user's own pairs: $KDLIGHT_LIBRARY, else ~/.kdlight/library."""
    return Path(os.environ.get("KDLIGHT_LIBRARY") or Path.home() / ".kdlight" / "library")


def find() -> list[Path]:
    """Folders of every shipped bundle and of the user's library, by name; they are not checked here."""
    roots = [r for r in (shipped_folder(), library_folder()) if r.is_dir()]
    return [p.parent for root in roots for p in sorted(root.glob(f"*/{SUMS}"))]


def _read_sums(path: Path) -> dict[str, str]:
    listed: dict[str, str] = {}
    for line in (path / SUMS).read_text(encoding="utf-8", errors="replace").splitlines():
        expected, _, name = line.partition("  ")
        inside = name and not Path(name).is_absolute() and ".." not in Path(name).parts
        if not inside or not re.fullmatch(r"[0-9a-f]{64}", expected):
            raise BundleError(f"{path.name}: {SUMS} has a line that is no checksum and name. Get the bundle again.")
        listed[name] = expected
    return listed
