"""A recipe says what is wrong with it before anything is trained."""

from pathlib import Path

import pytest

from kdlight.config import Recipe, RecipeError, read_recipe, shipped
from kdlight.modality import MODALITIES

MINIMAL = '[data]\npath = "x"\nmodality = "mri"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_overrides_reach_every_section(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    recipe = read_recipe(path, ["train.epochs=2", "data.path=../my set", "distill.alpha=0.3", "train.alone=false"])
    assert recipe.train.epochs == 2
    assert recipe.data.path == "../my set"
    assert recipe.distill.options == {"alpha": 0.3}
    assert recipe.train.alone is False


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINIMAL + "[train]\nepoch = 3\n", "Unknown key train.epoch"),
        (MINIMAL + "[trian]\nepochs = 3\n", r"Unknown section \[trian\]"),
        (MINIMAL + "[train]\nepochs = 0\n", "train.epochs is 0; 1 to 10000"),
        (MINIMAL + "[train]\nepochs = 2.5\n", "type int"),
        (MINIMAL + '[train]\nprecision = "half"\n', "train.precision is 'half'; one of 32-true"),
        (MINIMAL + '[student]\ninit = "magic"\n', "student.init"),
        ('[data]\npath = "x"\n', "data.modality is missing"),
        ("[train]\nepochs = 3\n", r"\[data\] is missing"),
        ("[data\n", "not valid TOML"),
        (MINIMAL + "classes = 3\n", "data.classes is 3; a section was expected"),
        ("data = 3\n", "data is 3; a section was expected"),
        (MINIMAL + 'name = "My set"\n', "data.name is 'My set'; the bundle goes by it"),
        (MINIMAL + 'body_parts = ["thorax"]\n', "data.body_parts is 'thorax'; one of head, .* chest, .* was expected"),
        (MINIMAL + 'views = ["front"]\n', "data.views is 'front'; one of AP, PA, .* was expected"),
        (MINIMAL + 'limits = "One sentence."\n', "data.limits is 'One sentence.'; a list of texts"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        read_recipe(write(tmp_path, text))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/ham7", "ham7"),
        ("/x/My Set", "my_set"),
        ("HAM10000#binary", "ham10000_binary"),
        ("x.csv", "x"),
        ("é", "set"),
    ],
)
def test_a_set_without_a_name_goes_by_its_path_s(path: str, name: str) -> None:
    assert Recipe.from_mapping({"data": {"path": path, "modality": "mri"}}).name == name


@pytest.mark.parametrize("override", ["epochs=2", "train.epochs", "=3", "data.path.deep=1"])
def test_a_malformed_override_is_named(tmp_path: Path, override: str) -> None:
    with pytest.raises(RecipeError, match="override"):
        read_recipe(write(tmp_path, MINIMAL), [override])


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_are_whole_and_survive_writing(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(shipped()[name])
    assert recipe.data.modality in MODALITIES
    assert recipe.data.source
    assert recipe.data.limits
    assert read_recipe(write(tmp_path, recipe.to_toml())) == recipe


def test_hostile_class_names_survive_writing(tmp_path: Path) -> None:
    tables = {"data": {"path": "x", "modality": "mri", "classes": {'a"]\n[train': {"words": '\u2028 "q" \\'}}}}
    recipe = Recipe.from_mapping(tables)
    assert read_recipe(write(tmp_path, recipe.to_toml())) == recipe
