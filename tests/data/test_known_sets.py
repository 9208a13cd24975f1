"""Published sets, known by their folders: small ones of the same layout, drawn here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kdlight.data import LAYOUTS, DataError, carve, lc25000, open_dataset
from kdlight.data.splits import straddling

Put = Callable[..., Path]
COVID = [
    f"{split}/{name}/{kind}/{split}-{name}-{number}.png"
    for split in ("Train", "Val", "Test")
    for name in ("COVID-19", "Non-COVID", "Normal")
    for kind in ("images", "lung masks")
    for number in range(2)
]


# --- COVID-QU-Ex ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "Lung Segmentation Data/", "Lung Segmentation Data/Lung Segmentation Data/"])
def test_covidquex_keeps_its_splits_and_reads_no_mask(put: Put, inside: str) -> None:
    found = open_dataset(put(*(inside + ref for ref in COVID)))
    assert found.classes == ("COVID-19", "Non-COVID", "Normal")
    assert found.splits == ("train", "val", "test")
    assert len(found) == 18
    assert not [item.ref for item in found.items if "mask" in item.ref]
    assert found.split("val").counts() == {"COVID-19": 2, "Non-COVID": 2, "Normal": 2}
    assert found.masks[f"{inside}Test/Normal/images/Test-Normal-1.png"][0].parent.name == "lung masks"
    assert [(row.reason, row.count) for row in found.left_out] == [("mask", 18)]
    item = found.split("test").items[-1]
    assert item.ref == f"{inside}Test/Normal/images/Test-Normal-1.png"
    assert found.source.image(item.ref).shape == (8, 6)


def test_covidquex_reads_each_image_once_though_the_infection_part_holds_it_again(put: Put) -> None:
    infection = [f"Infection Segmentation Data/{ref}" for ref in COVID]
    more = ["Infection Segmentation Data/Train/COVID-19/infection masks/Train-COVID-19-0.png"]
    root = put(*(f"Lung Segmentation Data/{ref}" for ref in COVID), *infection, *more)
    assert {item.ref.split("/")[0] for item in open_dataset(root).items} == {"Lung Segmentation Data"}
    part = open_dataset(root / "Infection Segmentation Data")
    first, other = (part.masks[f"Train/COVID-19/images/Train-COVID-19-{n}.png"][0].parent.name for n in (0, 1))
    assert (first, other) == ("infection masks", "lung masks")
    assert len(part) == 18
    assert not [item.ref for item in part.items if "mask" in item.ref]


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ([ref for ref in COVID if not ref.startswith("Val")], "has no folder Val"),
        ([ref for ref in COVID if "Test/Normal/images" not in ref], "Test/Normal/images holds no images"),
        ([ref for ref in COVID if "Train/COVID-19" not in ref], "Train/COVID-19/images holds no images"),
        ([r for r in COVID if "images/Val-Normal-1" not in r], r"1 masks without their image \(Val-Normal-1 first"),
    ],
)
def test_half_of_covidquex_is_refused(put: Put, left: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(put(*left))


# --- HAM10000 -------------------------------------------------------------------------------------------------------

KINDS = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def ham(put: Put, rows: list[str] | None = None, names: int = 14) -> Path:
    """Two images of each kind in the two parts; the first two nevi are of one lesion."""
    images = [f"HAM10000_images_part_{1 + n % 2}/ISIC_{n:07d}.png" for n in range(names)]
    root = put(*images)
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    lines = [f"HAM_{n // 2 if n < 4 else n:04d},ISIC_{n:07d},{KINDS[n // 2]},histo,50,male,back" for n in range(14)]
    (root / "HAM10000_metadata.csv").write_text("\n".join([header, *(lines if rows is None else rows)]) + "\n")
    return root


def test_ham10000_takes_classes_and_lesions_from_its_metadata(put: Put) -> None:
    found = open_dataset(ham(put))
    assert found.classes == KINDS
    assert found.splits == ("all",)
    first = {item.ref: item for item in found.items}
    assert first["HAM10000_images_part_1/ISIC_0000000.png"].group == "HAM_0000"
    assert first["HAM10000_images_part_2/ISIC_0000001.png"].group == "HAM_0000"
    assert [found.classes[item.label] for item in sorted(found.items, key=lambda i: i.ref[-11:])] == [
        name for name in KINDS for _ in range(2)
    ]


def test_ham10000_can_be_asked_benign_or_malignant(put: Put) -> None:
    root = ham(put)
    found = open_dataset(f"{root}#binary")
    assert found.classes == ("benign", "malignant")
    seven = {item.ref: KINDS[item.label] for item in open_dataset(root).items}
    malignant = {seven[item.ref] for item in found.items if item.label == 1}
    assert malignant == {"akiec", "bcc", "mel"}
    assert found.counts() == {"benign": 8, "malignant": 6}
    assert open_dataset(root.with_name("set#binary"), ("malignant", "benign")).counts() == {"malignant": 6, "benign": 8}


def test_ham10000_counts_an_image_once_though_copies_spell_the_folder_in_two_ways(put: Put) -> None:
    root = ham(put)
    put("ham10000_images_part_1/ISIC_0000000.png")
    assert len(open_dataset(root)) == 14


def test_ham10000_has_its_outlines_as_ground_truth(put: Put) -> None:
    root = ham(put)
    put(*(f"HAM10000_segmentations_lesion_tschandl/ISIC_{n:07d}_segmentation.png" for n in range(10)))
    found = open_dataset(root)
    assert len(found) == 14
    assert len(found.masks) == 10
    (path,) = found.masks["HAM10000_images_part_2/ISIC_0000001.png"]
    assert path.name == "ISIC_0000001_segmentation.png"


@pytest.mark.parametrize(
    ("rows", "names", "words"),
    [
        (None, 13, r"line 15: its image is not in the set's folders"),
        (["HAM_1,ISIC_0000000,mole,,,,"], 14, "line 2: dx is none of akiec, bcc"),
        (["HAM_1,ISIC_0000000,nv,,,,"] * 2, 14, "line 3: its image is listed already"),
        ([",ISIC_0000000,nv,,,,"], 14, "line 2: lesion_id is empty"),
        ([], 14, "holds no labeled images"),
    ],
)
def test_half_of_ham10000_is_refused(put: Put, rows: list[str] | None, names: int, words: str) -> None:
    root = ham(put, rows, names)
    with pytest.raises(DataError, match=words):
        open_dataset(root)


def test_ham10000_without_its_metadata_is_refused(put: Put) -> None:
    root = ham(put)
    (root / "HAM10000_metadata.csv").unlink()
    with pytest.raises(DataError, match=r"no HAM10000_metadata.csv; it names their classes"):
        open_dataset(root)
    (root / "HAM10000_metadata.csv").write_text("image_id,dx\nISIC_0000000,nv\n")
    with pytest.raises(DataError, match="no column lesion_id"):
        open_dataset(root)


def test_a_manifest_goes_before_every_known_layout(put: Put) -> None:
    root = ham(put)
    (root / "manifest.csv").write_text("path,class\nHAM10000_images_part_1/ISIC_0000000.png,mole\n")
    assert open_dataset(root).classes == ("mole",)


@pytest.mark.parametrize("where", ["set#ternary", "set/manifest.csv#binary"])
def test_a_task_that_a_set_does_not_have_is_refused(put: Put, where: str) -> None:
    root = ham(put)
    if "manifest" in where:
        (root / "manifest.csv").write_text("path,class\n")
    with pytest.raises(DataError, match=r"has no task '(ternary|binary)'"):
        open_dataset(root.parent / where)
    with pytest.raises(DataError, match="none was expected"):
        open_dataset(f"{put('other/a/1.png', 'other/b/1.png') / 'other'}#binary")


def test_a_mark_in_the_name_of_a_folder_that_is_there_is_no_task(put: Put) -> None:
    assert open_dataset(put("c#/a/1.png", "c#/b/1.png") / "c#").classes == ("a", "b")


# --- LC25000 --------------------------------------------------------------------------------------------------------

TISSUES = {"colon": ("colon_aca", "colon_n"), "lung": ("lung_aca", "lung_n", "lung_scc")}


def tissue(seed: int) -> PIL.Image.Image:
    """Purple nuclei on pink, 160 px."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:160, :160]
    field = np.zeros((160, 160))
    for cy, cx, radius in zip(*rng.uniform(0, 160, (2, 110)), rng.uniform(2, 6, 110), strict=True):
        field = np.maximum(field, 1 / (1 + np.exp(np.hypot(y - cy, x - cx) - radius)))
    paper, nucleus = np.array([235, 190, 215]) - rng.uniform(0, 20, 3), np.array([120, 60, 140]) + rng.uniform(0, 20, 3)
    return PIL.Image.fromarray((paper * (1 - field[..., None]) + nucleus * field[..., None]).astype(np.uint8))


def multiplied(picture: PIL.Image.Image, rng: np.random.Generator) -> PIL.Image.Image:
    """Turned up to 25 degrees, the largest square inside cut out and enlarged, mirrored half of the time."""
    angle = rng.uniform(-25, 25)
    inner = 160 / (np.cos(np.radians(abs(angle))) + np.sin(np.radians(abs(angle)))) / 2
    turned = picture.rotate(angle, PIL.Image.Resampling.BICUBIC)
    cut = turned.crop((80 - inner, 80 - inner, 80 + inner, 80 + inner)).resize((160, 160))
    for flip in (PIL.Image.Transpose.FLIP_LEFT_RIGHT, PIL.Image.Transpose.FLIP_TOP_BOTTOM):
        cut = cut.transpose(flip) if rng.random() < 0.5 else cut
    return cut


def lc(root: Path, originals: int = 4, copies: int = 4) -> Path:
    rng = np.random.default_rng(7)
    for number, (organ, name) in enumerate((organ, name) for organ, names in TISSUES.items() for name in names):
        folder = root / "lung_colon_image_set" / f"{organ}_image_sets" / name
        folder.mkdir(parents=True)
        for original in range(originals):
            picture = tissue(100 * number + original)
            for copy in range(copies):
                multiplied(picture, rng).save(folder / f"{original}-{copy}.jpeg", quality=92)
    return root


@pytest.fixture(scope="module")
def tissues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five classes of 4 originals in 4 copies each. Do not change it."""
    return lc(tmp_path_factory.mktemp("lc"))


def test_lc25000_groups_are_the_common_origins(tissues: Path) -> None:
    found = open_dataset(tissues)
    assert found.classes == ("colon_aca", "colon_n", "lung_aca", "lung_n", "lung_scc")
    assert set(found.counts().values()) == {16}
    origin = {item.ref: (item.label, Path(item.ref).stem.split("-")[0]) for item in found.items}
    groups = {}
    for item in found.items:
        groups.setdefault(item.group, []).append(origin[item.ref])
    assert all(len(set(members)) == 1 for members in groups.values())
    assert Counter(len(members) for members in groups.values()) == {4: 20}
    carved = carve(found, {"val": 0.25, "test": 0.25}, seed=0)
    assert straddling(carved) == {}


def test_lc25000_of_one_organ(tissues: Path) -> None:
    assert open_dataset(f"{tissues}#lung").classes == ("lung_aca", "lung_n", "lung_scc")
    assert open_dataset(f"{tissues / 'lung_colon_image_set'}#colon").classes == ("colon_aca", "colon_n")


def test_half_of_lc25000_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "lung_image_sets" / "lung_aca"
    folder.mkdir(parents=True)
    tissue(0).save(folder / "lungaca1.jpeg")
    with pytest.raises(DataError, match=r"colon_aca holds no tiles; .*#lung"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"lung_n holds no tiles"):
        open_dataset(f"{tmp_path}#lung")
    (folder / "lungaca2.jpeg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"lungaca2.jpeg cannot be read"):
        open_dataset(f"{tmp_path}#lung")


def test_turns_and_mirror_images_are_the_same_and_other_pictures_are_not() -> None:
    one, other = (np.asarray(tissue(seed).resize((lc25000.SIDE, lc25000.SIDE))) for seed in (1, 2))
    spectrum = lc25000.spectrum(one)
    moved = (np.rot90(one), one[::-1], one[:, ::-1], np.rot90(one, 2))
    likeness = lc25000.likeness(spectrum, np.stack([lc25000.spectrum(picture) for picture in (*moved, other)]))
    np.testing.assert_allclose(likeness[:4], 1, atol=0.05)
    assert likeness[4] < lc25000.ALIKE


def test_origins_are_looked_for_once(tissues: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted((tissues / "lung_colon_image_set" / "lung_image_sets" / "lung_n").iterdir())
    first = lc25000.origins(files)
    assert sorted(set(first)) == list(range(4))
    monkeypatch.setattr(lc25000, "link", None)
    assert lc25000.origins(files) == first


def test_every_layout_is_listed_with_its_tasks() -> None:
    assert {name: set(layout.tasks) for name, layout in LAYOUTS.items()} == {
        "covidquex": set(),
        "ham10000": {"binary"},
        "lc25000": {"colon", "lung"},
    }
