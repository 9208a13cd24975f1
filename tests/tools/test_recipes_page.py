"""docs/recipes.md is what the declarations say, and says all of it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from kdlight.contracts.options import declared
from kdlight.contracts.recipe import Recipe, shipped
from kdlight.distillers import METHODS
from kdlight.models import MODELS
from kdlight.preprocessing.augment import AUGMENTATIONS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "recipes_page.py"))


def test_the_page_is_what_the_declarations_say(script: dict[str, Any]) -> None:
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), "run make docs"


def test_the_page_says_all_of_it(script: dict[str, Any]) -> None:
    text = script["page"]()
    recipe = Recipe(data={"path": "x", "modality": "ct"})
    options = [option for name in Recipe.model_fields for option in declared(type(getattr(recipe, name)))]
    options += [option for kind in METHODS.values() for option in declared(kind)]
    for option in options:
        assert f"| `{option.name}` | {option.expected} |" in text
        assert option.help in text
    for name in (*METHODS, *MODELS, *AUGMENTATIONS, *shipped()):
        assert name in text
    assert all(kind.paper in text for kind in METHODS.values())


@pytest.mark.parametrize("name", Recipe.model_fields)
def test_every_option_of_a_recipe_says_what_it_does_and_how_far_it_reaches(name: str) -> None:
    recipe = Recipe(data={"path": "x", "modality": "ct"})
    for option in declared(type(getattr(recipe, name))):
        assert option.help.endswith(".")
        assert option.kind not in ("int", "float") or option.low is not None
