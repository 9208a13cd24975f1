"""What everything registered must keep: one contract per kind, asked of every member."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
import timm
import torch
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdlight import images
from kdlight.contracts.modality import MODALITIES
from kdlight.contracts.options import OptionError, checked, declared
from kdlight.contracts.recipe import read_recipe, shipped
from kdlight.data import open_dataset
from kdlight.distillers import METHODS, Batch, Distiller, create_distiller, hyperparameters
from kdlight.explain import EXPLAINERS, explain
from kdlight.explain.watch import watched
from kdlight.images import ImageError, sniff
from kdlight.models import MODELS, Classifier, create_model
from kdlight.models.fusion import Fusion
from kdlight.models.vgg import VGG19

CLASSES = 3
SIDE = 64

# --- models ---------------------------------------------------------------------------------------------------------


STAND_INS: dict[str, Callable[[], Classifier]] = {
    "vgg19": lambda: VGG19(CLASSES, mlp_ratio=0.05),
    "fusion_skin": lambda: Fusion(("resnetv2_18", "convnext_atto", "vit_tiny_patch16_224"), CLASSES),
    "dual_stream": lambda: Fusion(("swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"), CLASSES),
}
"""The same code with fewer parameters: whole, these take 0.6 to 3.7 GB and a minute here. tests/models asks the whole
ones for their sizes and shapes."""


@pytest.fixture(scope="module", params=[*MODELS, "timm:resnet10t", "timm:deit_tiny_patch16_224"])
def model(request: pytest.FixtureRequest) -> Classifier:
    torch.manual_seed(0)
    if request.param in STAND_INS:
        return STAND_INS[request.param]().eval()
    return create_model(request.param, CLASSES).eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_a_model_answers_with_logits_of_each_image_alone(model: Classifier, x: Tensor) -> None:
    with torch.no_grad():
        together = model(x)
        alone = torch.cat([model(one[None]) for one in x])
    assert together.shape == (len(x), CLASSES)
    scale = max(1.0, float(together.abs().max()))  # untrained answers may be large
    torch.testing.assert_close(together / scale, alone / scale, atol=1e-4, rtol=1e-3)


def test_its_features_come_with_the_same_logits_and_end_at_the_cam_layer(model: Classifier, x: Tensor) -> None:
    seen: list[Tensor] = []
    handle = model.cam_layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.clone()))
    with torch.no_grad():
        logits, features = model.forward_with_features(x)
        handle.remove()
        torch.testing.assert_close(logits, model(x))
    torch.testing.assert_close(features[-1], seen[0])
    sides = [maps.shape[-1] for maps in features]
    assert sides == sorted(sides, reverse=True)


def test_its_heat_map_layers_are_maps_of_the_input_that_get_coarser(model: Classifier, x: Tensor) -> None:
    layers = (*model.fine_layers, *model.cam_layers)
    with torch.no_grad(), watched(model, layers, x) as watch:
        model(x)
    for maps, lattice in zip(watch.maps, watch.lattices, strict=True):
        assert maps.shape[-2:] == (lattice.rows.count, lattice.columns.count)
        assert lattice.rows.step == pytest.approx(SIDE / lattice.rows.count, rel=0.5)
        assert 0 <= lattice.rows.first < lattice.rows.step
    cells = [lattice.cell for lattice in watch.lattices[: len(model.fine_layers) + 1]]
    assert cells == sorted(cells)


def test_every_parameter_learns(model: Classifier, x: Tensor) -> None:
    pupil = copy.deepcopy(model).train()
    with torch.no_grad():
        for parameter in pupil.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))  # some nets begin with branches that are multiplied by 0
    nn.functional.cross_entropy(pupil(x), torch.tensor([0, 1, 2, 0])).backward()
    assert [name for name, p in pupil.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_its_weights_come_back_from_safetensors(model: Classifier, x: Tensor, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    before = model(x).detach()
    spoiled = {k: torch.zeros_like(v) for k, v in model.state_dict().items()}
    model.load_state_dict(spoiled)
    model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(model(x).detach(), before)


# --- distillation methods -------------------------------------------------------------------------------------------


def pair(name: str) -> tuple[Classifier, Classifier]:
    """A student and a teacher with as many classes as the method is defined for."""
    classes = CLASSES if "multi-class" in METHODS[name].tasks else 2
    student, teacher = create_model("kdlight_nano", classes), create_model("mobilenetv2", classes)
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        teacher.train()(torch.randn(8, 3, SIDE, SIDE))  # or, untrained, it would say the same of every image
    return student, teacher


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Distiller:
    torch.manual_seed(0)
    return create_distiller(request.param, *pair(request.param))


@pytest.fixture
def batch(x: Tensor, method: Distiller) -> Batch:
    return Batch(x, torch.tensor([0, 1, 2, 0]) % method.student.num_classes, index=torch.arange(4))


def test_a_method_says_what_it_is(method: Distiller) -> None:
    assert METHODS[method.name] is type(method)
    assert method.paper
    assert set(method.tasks) & {"binary", "multi-class", "multi-label"}
    assert all(isinstance(value, int | float | str | bool) for value in hyperparameters(type(method)).values())


def test_total_is_what_the_method_keeps_of_the_task_and_its_own(method: Distiller, batch: Batch) -> None:
    losses = method(batch)
    assert set(losses) == {"task", "distill", "total"}
    expected = (1 - method.alpha) * losses["task"] + losses["distill"]
    torch.testing.assert_close(losses["total"], expected)
    assert torch.isfinite(losses["total"])


def test_a_step_teaches_the_student_and_leaves_the_teacher_as_it_is(method: Distiller, batch: Batch) -> None:
    assert method.teacher is not None
    frozen = {k: v.clone() for k, v in method.teacher.state_dict().items()}
    method.student.train()
    batch = method.choose(batch)  # once, so that a method that picks learns from the images it is asked about
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    before = method(batch)["total"].detach()
    for _ in range(5):
        optimizer.zero_grad()
        loss = method(batch)["total"]
        loss.backward()
        optimizer.step()
        method.after_step()
    assert method(batch)["total"].detach() < before
    assert not method.teacher.training
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(torch.equal(v, frozen[k]) for k, v in method.teacher.state_dict().items())
    assert not {id(p) for p in method.teacher.parameters()} & {id(p) for p in method.parameters()}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_each_option_does_and_holds_its_range(name: str) -> None:
    """Numbers have a lowest value; just beyond either end, and of another type, a value is refused by its name."""
    assert METHODS[name].summary.endswith(".")
    for option in declared(METHODS[name]):
        assert option.help.endswith(".")
        assert checked(METHODS[name], {})[option.name] == option.default
        ends: list[object] = [None, ["x"]]
        if option.kind in ("int", "float"):
            assert option.low is not None
            ends += [option.low if option.open_low else option.low - 1, "1", True, float("nan")]
            ends += [] if option.high is None else [option.high if option.open_high else option.high + 1]
        elif option.kind == "str":
            assert option.default in option.choices
            ends += ["", 1]
        for value in ends:
            with pytest.raises(OptionError, match=rf"^distill\.{option.name} is .*; .* was expected\. Change it\.$"):
                checked(METHODS[name], {option.name: value}, "distill")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_refuses_an_option_it_does_not_have(name: str) -> None:
    with pytest.raises(ValueError, match=r"distill\.magic is not known"):
        create_distiller(name, *pair(name), magic=1)


# --- heat maps ------------------------------------------------------------------------------------------------------


HEAT_MAPS = [name for name, method in EXPLAINERS.items() if method.available]


class Lamp(nn.Module):
    """Class 1 is the brightness that one of its feature maps sees, class 0 a constant: the truth is known."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
        with torch.no_grad():
            self.conv[0].weight.copy_(torch.tensor([[1.0, 1, 1], [-1, -1, -1]])[:, :, None, None])
            self.conv[0].bias.zero_()
        self.linear = nn.Linear(2, 2)
        self.linear.load_state_dict({"weight": torch.tensor([[0.0, 0], [40, 0]]), "bias": torch.zeros(2)})

    @property
    def cam_layer(self) -> nn.Module:
        return self.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).mean((2, 3)))


@pytest.fixture
def lit() -> Tensor:
    """Dark but for a square at rows 4 to 11, columns 20 to 27."""
    x = torch.zeros(1, 3, 32, 32)
    x[:, :, 4:12, 20:28] = 1
    return x


@pytest.mark.parametrize("name", HEAT_MAPS)
def test_a_map_is_where_the_answer_comes_from(name: str, lit: Tensor) -> None:
    heat = explain(Lamp(), lit, 1, name)
    assert heat.dtype == np.float32
    assert (float(heat.min()), float(heat.max())) == pytest.approx((0.0, 1.0))
    sharp = 0.95 if name != "occlusion" else 0.85  # its squares reach over the edge
    assert heat[4:12, 20:28].sum() / heat.sum() > sharp


@pytest.mark.parametrize("name", HEAT_MAPS)
def test_a_map_of_what_decides_nothing_is_flat(name: str, lit: Tensor) -> None:
    assert not explain(Lamp(), torch.zeros_like(lit), 1, name).any()


@pytest.mark.parametrize("name", HEAT_MAPS)
def test_a_map_leaves_the_model_as_it_was(name: str, x: Tensor) -> None:
    network = create_model("kdlight_nano", CLASSES).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    explain(network, x[:1], 0, name)
    hooks = [h for m in network.modules() for h in (*m._forward_hooks.values(), *m._backward_hooks.values())]
    assert hooks == []
    assert network.training
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


# --- image formats --------------------------------------------------------------------------------------------------

TRUTH = (np.add.outer(np.arange(40), np.arange(56)) * 2).astype(np.uint8)


def pictured(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(TRUTH).save(stream, format=kind, **options)
    return stream.getvalue()


def dicom() -> bytes:
    """A file as pydicom writes it: TRUTH, 8 bits, MONOCHROME2, of a patient with a name."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, "1.2.3.4"
    data.PatientName, data.PatientID, data.Modality = "Doe^Jane", "4711", "OT"
    data.Rows, data.Columns = TRUTH.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.PixelData = TRUTH.tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


FORMATS: dict[str, tuple[Callable[[], bytes], int]] = {
    "dicom": (dicom, 0),
    "png": (lambda: pictured("PNG"), 0),
    "jpeg": (lambda: pictured("JPEG", quality=95), 3),
    "tiff": (lambda: pictured("TIFF"), 0),
    "bmp": (lambda: pictured("BMP"), 0),
    "webp": (lambda: pictured("WEBP", lossless=True), 0),
}
"""How another library writes TRUTH, and by how much a pixel may differ."""


@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_gives_what_another_library_wrote(name: str, tmp_path: Path) -> None:
    write, tolerance = FORMATS[name]
    path = tmp_path / "no-ending-at-all"
    path.write_bytes(write())
    found = images.read(path)
    assert sniff(path.read_bytes()[:512]) == found.format == name
    gray = found.pixels.astype(np.float32).reshape(*TRUTH.shape, -1).mean(axis=2)
    assert np.abs(gray - TRUTH).max() <= tolerance


@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_refuses_half_a_file_in_one_sentence(name: str) -> None:
    content = FORMATS[name][0]()
    with pytest.raises(ImageError) as refusal:
        images.read(content[: len(content) // 2])
    assert str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert refusal.value.reason


@pytest.mark.parametrize("name", FORMATS)
def test_what_may_be_told_names_nobody(name: str) -> None:
    told = json.dumps(dataclasses.asdict(images.read(FORMATS[name][0]()).facts))
    assert not [word for word in ("Doe", "Jane", "4711", "1.2.3.4") if word in told]


# --- labelled sets and recipes --------------------------------------------------------------------------------------


def folder(root: Path) -> Path:
    for split, name in (("train", "cat"), ("train", "dog"), ("test", "dog")):
        (root / split / name).mkdir(parents=True)
        (root / split / name / "1.png").write_bytes(pictured("PNG"))
    return root


def csv(root: Path) -> Path:
    folder(root)
    rows = ["train/cat/1.png,cat,train", "train/dog/1.png,dog,train", "test/dog/1.png,dog,test"]
    (root / "list.csv").write_text("path,class,split\n" + "\n".join(rows) + "\n")
    return root / "list.csv"


def npz(root: Path) -> Path:
    square = np.tile(TRUTH[:28, :28], (2, 1, 1))
    parts = {"train": [[0], [1]], "val": [[0], [1]], "test": [[1], [1]]}
    arrays = {f"{split}_images": square for split in parts}
    arrays |= {f"{split}_labels": np.array(labels, dtype=np.uint8) for split, labels in parts.items()}
    np.savez(root / "set.npz", **arrays)
    return root / "set.npz"


@pytest.mark.parametrize("make", [folder, csv, npz])
def test_every_kind_of_set_names_classes_splits_and_pixels(make: Callable[[Path], Path], tmp_path: Path) -> None:
    from kdlight.preprocessing import InputSpec

    found = open_dataset(make(tmp_path), ("cat", "dog"))
    assert found.classes == ("cat", "dog")
    test = found.split("test")
    assert set(test.labels.tolist()) == {1}
    pixels = test.images(InputSpec(32), cache=False)
    assert pixels.shape == (len(test), 32, 32, 3)
    assert pixels[0, 0, 0, 0] < pixels[0, -1, -1, 0]  # TRUTH rises from one corner to the other
    assert set(found.split("train").items).isdisjoint(test.items)


@pytest.mark.parametrize("name", shipped())
def test_every_recipe_can_be_run_but_for_its_data(name: str) -> None:
    recipe = read_recipe(shipped()[name])
    assert recipe.data.modality in MODALITIES
    assert set(recipe.distill.options) <= set(hyperparameters(METHODS[recipe.distill.method]))
    for model in (recipe.student.name, recipe.teacher.name):
        assert model in MODELS or timm.is_model(model.removeprefix("timm:"))
    assert shipped()[name].read_text(encoding="utf-8").startswith("# ")
