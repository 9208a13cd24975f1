"""Teach a bundle what its images look like, without training: `python -m tools.fit_belonging BUNDLE DATA`.

DATA is the labeled set that it was trained on; the recipe in its card says which images were for training, validation
and test. Leaves belonging.safetensors and the card's figures in the bundle, binds both to the golden
cases and seals it.
"""

import sys
import tempfile
import tomllib
from pathlib import Path

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, Card
from kdlight.contracts.recipe import Recipe
from kdlight.inference import golden
from kdlight.inference.learn import learn
from kdlight.training.data import prepare


def fit(path: Path, data: Path) -> Card:
    """The bundle's new card. Raises ValueError for a damaged bundle or another set."""
    bundle = bundles.load(path)
    recipe = Recipe.model_validate(tomllib.loads(bundle.card.distillation.recipe))
    with tempfile.TemporaryDirectory() as folder:
        run = prepare(recipe.data.changed(path=str(data)), Path(folder))
    pixels = {name: split.pixels.numpy() for name, split in run.splits.items()}
    card = learn(bundle, pixels, {name: run.dataset.split(name).groups for name in pixels})
    golden.bind(Bundle(path, card, ""))
    bundles.seal(path)
    return card


if __name__ == "__main__":
    known = fit(Path(sys.argv[1]), Path(sys.argv[2])).belonging
    for one in known.kinds if known else ():
        sys.stdout.write(f"{one.kind}: {one.share:.3f}, n = {one.n}\n")
