"""Write docs/recipes.md: every option of a recipe as it is declared, every method, model and shipped recipe.

python tools/recipes_page.py [--write]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from kdlight.cli.inspect import LISTS, Kind
from kdlight.contracts.options import Declared, declared
from kdlight.contracts.recipe import ClassWords, Recipe
from kdlight.distillers import METHODS
from kdlight.models import MODELS
from kdlight.preprocessing import STAGES
from kdlight.preprocessing.augment import AUGMENTATIONS, Policy

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recipes.md"
HEAD = """\
# Recipes

A recipe is a TOML file that says what to train, on what, by which method. `kdlight train RECIPE` runs it, and
`-o section.key=value` changes one value. A mistake is named with its key and what was expected. In Python:
`kdlight.read_recipe(path)`, and `Recipe.to_toml()` back.

This page is written from the declarations by `make docs`; do not edit it by hand."""
EXAMPLE = """\
```toml
[data]
path = "data/lungs"
modality = "ct"
classes.nodule = { words = "Nodule", must_not_miss = true }

[teacher]
name = "mobilenetv2"

[student]
name = "kdlight_nano"
init = "teacher"

[distill]
method = "kd"
alpha = 0.7

[train]
epochs = 40
```"""


def page() -> str:
    """The whole of docs/recipes.md."""
    sections = [f"## [{option.name}]\n\n{option.help}\n\n{_section(option.name)}" for option in declared(Recipe)]
    classes = f"## [data.classes.NAME]\n\nWhat a class means to people.\n\n{_options(declared(ClassWords))}"
    parts = [HEAD, EXAMPLE, *sections[:1], classes, *sections[1:], _methods(), _models(), _preprocessing(), _shipped()]
    return "\n\n".join(parts) + "\n"


def _section(name: str) -> str:
    return _options(declared(type(getattr(Recipe(data={"path": "x", "modality": "ct"}), name))))


def _methods() -> str:
    head = "## Methods\n\nEach with its options, which stand in `[distill]` beside `method`."
    return "\n\n".join([head, *(_method(name) for name in METHODS)])


def _method(name: str) -> str:
    kind = METHODS[name]
    labels = "; images without a label are used" if kind.unlabeled else ""
    facts = f"{kind.summary} {kind.paper}. Tasks: {', '.join(kind.tasks)}{labels}. From the teacher: {kind.needs}."
    return f"### {name}\n\n{facts}" + (f"\n\n{_options(declared(kind))}" if declared(kind) else "")


def _models() -> str:
    rows = [(f"`{name}`", m.role, m.summary, m.source, ", ".join(m.weights) or "none") for name, m in MODELS.items()]
    table = _table(("name", "role", "what it is", "source", "published weights (timm)"), rows)
    return f"## Models\n\nBesides these, `timm:NAME` is any network of timm.\n\n{table}"


def _preprocessing() -> str:
    names = [option.name for option in declared(Policy) if option.name != "summary"]
    rows = [(f"`{name}`", policy.summary, _changes(policy, names)) for name, policy in AUGMENTATIONS.items()]
    steps = _table(("`data.stages`", "what it does"), ((f"`{name}`", s.summary) for name, s in STAGES.items()))
    policies = _table(("`data.augmentation`", "what it does", "limits"), rows)
    limits = _options([option for option in declared(Policy) if option.name != "summary"])
    return f"## Preprocessing\n\n{steps}\n\n## Augmentation\n\n{policies}\n\n### Limits of a policy\n\n{limits}"


def _changes(policy: Policy, names: Sequence[str]) -> str:
    plain = Policy()
    changed = {name: getattr(policy, name) for name in names if getattr(policy, name) != getattr(plain, name)}
    words = (name if value is True else f"{name} {value:g}" for name, value in changed.items() if name != "outside")
    return ", ".join([*words, *([policy.outside] if "outside" in changed else [])]) or "none"


def _shipped() -> str:
    rows = ((f"`{row['name']}`", row["summary"]) for row in LISTS[Kind.recipes]())
    return f"## Shipped recipes\n\n{_table(('name', 'what it trains'), rows)}"


def _options(options: Sequence[Declared]) -> str:
    rows = ((f"`{o.name}`", o.expected, _default(o), o.help) for o in options)
    return _table(("key", "takes", "default", "what it does"), rows)


def _default(option: Declared) -> str:
    if option.required:
        return "must be given"
    if option.kind in ("table", "list"):
        return "none" if not option.default else f"`{option.default}`"
    shown = f"{option.default:g}" if option.kind == "float" else str(option.default)
    return f"`{shown.lower() if option.kind == 'bool' else shown}`" if shown else "empty"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page())  # noqa: T201
