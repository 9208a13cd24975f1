"""A recipe says what is wrong with it before anything is trained."""

from pathlib import Path

import pytest

from kdlight.contracts.modality import MODALITIES
from kdlight.contracts.recipe import Recipe, RecipeError, default_recipe, read_recipe, shipped

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
        (MINIMAL + "[train]\nepoch = 3\n", "^train.epoch is not known; one of epochs, .* Did you mean epochs?"),
        (MINIMAL + "[trian]\nepochs = 3\n", "^trian is not known; one of data, .* Did you mean train?"),
        (MINIMAL + "[train]\nepochs = 0\n", "^train.epochs is 0; a whole number from 1 to 10000 was expected"),
        (MINIMAL + "[train]\nepochs = 2.5\n", "^train.epochs is 2.5; a whole number"),
        (MINIMAL + '[train]\nprecision = "half"\n', "train.precision is 'half'; one of 32-true"),
        (MINIMAL + '[student]\ninit = "magic"\n', "student.init"),
        ('[data]\npath = "x"\n', "^data.modality is missing; one of xray, ct"),
        ("[train]\nepochs = 3\n", "^data is missing; a section of keys was expected"),
        ("[data\n", "not valid TOML"),
        (MINIMAL + "classes = 3\n", "^data.classes is 3; a section of keys was expected"),
        ("data = 3\n", "^data is 3; a section of keys was expected"),
        (MINIMAL + 'name = "My set"\n', "data.name is 'My set'; the bundle goes by it"),
        (MINIMAL + 'body_parts = ["thorax"]\n', "data.body_parts is 'thorax'; one of head, .* chest, .* was expected"),
        (MINIMAL + 'views = ["front"]\n', "data.views is 'front'; one of AP, PA, .* was expected"),
        (MINIMAL.replace("mri", "mr"), "^data.modality is 'mr'; one of xray, ct, mri"),
        (MINIMAL + "[data.classes.a]\nword = 1\n", "^data.classes.a.word is not known; .* Did you mean words?"),
        (MINIMAL.replace('"x"', '""'), "^data.path is empty"),
        (MINIMAL + "[train]\nlr = nan\n", "^train.lr is nan; a number from"),
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
    assert Recipe(**{"data": {"path": path, "modality": "mri"}}).name == name


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
    recipe = Recipe(**tables)
    assert read_recipe(write(tmp_path, recipe.to_toml())) == recipe


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_folder_and_a_modality_are_a_recipe(modality: str, tmp_path: Path) -> None:
    """Free weights: neither general ones, which carry a data set's license on, nor a file of one's own."""
    recipe = default_recipe(tmp_path / "My set", modality)
    assert (recipe.data.path, recipe.data.modality, recipe.name) == (str(tmp_path / "My set"), modality, "my_set")
    assert (recipe.student.init, recipe.teacher.weights) == ("selection", "")
    assert read_recipe(write(tmp_path, recipe.to_toml())) == recipe


def test_a_changed_recipe_is_checked_again() -> None:
    recipe = default_recipe("x", "mri")
    assert recipe.changed(train=recipe.train.changed(epochs=2)).train.epochs == 2
    with pytest.raises(RecipeError, match=r"^epochs is 0; a whole number"):
        recipe.train.changed(epochs=0)


def test_a_recipe_that_a_run_kept_before_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """As kdlight 0.1 wrote it: every key, lists in one line, whole numbers as floats."""
    kept = (
        '[data]\npath = "d"\nmodality = "mri"\nsize = 64\nbody_parts = ["head"]\nviews = []\nlimits = ["a", "b"]\n'
        'licence = "CC0"\nval = 0.15\n\n[data.classes."no tumor"]\nwords = "No tumor"\nmust_not_miss = false\n\n'
        '[distill]\nmethod = "feature"\nalpha = 0.7\ngamma = 5.0\n\n[train]\nlr = 0.002\nwarmup = 0\n'
    )
    recipe = read_recipe(write(tmp_path, kept))
    assert recipe.data.limits == ("a", "b")
    assert recipe.data.classes["no tumor"].words == "No tumor"
    assert (recipe.distill.method, recipe.distill.options) == ("feature", {"alpha": 0.7, "gamma": 5.0})
    assert recipe.train.warmup == 0.0
