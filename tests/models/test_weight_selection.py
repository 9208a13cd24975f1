"""Selecting weights must keep what the larger network computes wherever the smaller one can hold it."""

from typing import Any, get_args

import pytest
import timm
import torch
from torch import nn

from kdlight.contracts.recipe import Layers, Selection
from kdlight.models import Classifier, create_model
from kdlight.models.mobilenet import MobileNet, Shape
from kdlight.models.weight_selection import (
    positions,
    reestimate_batch_norm,
    resize_positions,
    select,
    select_weights,
)
from kdlight.models.zoo import TimmClassifier

HEADS = {f"{head}.{kind}" for head in ("net.head", "net.head.fc", "classifier") for kind in ("weight", "bias")}
"""What makes the logits, in each family."""


def test_positions_follow_the_paper() -> None:
    assert positions(8, 4).tolist() == [0, 2, 4, 6]
    assert positions(8, 4, offset=1).tolist() == [1, 3, 5, 7]
    assert positions(10, 4).tolist() == [0, 3, 6, 9]
    with pytest.raises(ValueError, match="larger"):
        positions(4, 8)


def test_the_other_ways_to_choose() -> None:
    assert positions(8, 3, how="consecutive").tolist() == [0, 1, 2]
    assert positions(8, 3, offset=1, how="consecutive").tolist() == [3, 4, 5]
    assert positions(8, 6, offset=1, how="consecutive").tolist() == [0, 1, 2, 3, 6, 7]  # what 0 left, then from 0
    drawn = torch.randperm(8, generator=torch.Generator().manual_seed(3 * 1_000_003 + 8)).tolist()
    assert positions(8, 4, how="random", seed=3).tolist() == sorted(drawn[:4])
    assert positions(8, 4, offset=1, how="random", seed=3).tolist() == sorted(drawn[4:])
    assert positions(800, 40, how="random", seed=3).tolist() != positions(800, 40, how="random", seed=4).tolist()


@pytest.mark.parametrize("how", get_args(Selection))
@pytest.mark.parametrize(("large", "small"), [(10, 4), (12, 6), (16, 12), (24, 16), (7, 7), (9, 1)])
def test_an_offset_of_1_takes_what_0_leaves(large: int, small: int, how: str) -> None:
    first, second = (positions(large, small, offset, how).tolist() for offset in (0, 1))
    assert first == sorted(set(first))
    assert second == sorted(set(second))
    assert len(first) == len(second) == small
    assert set(range(large)) >= set(first) | set(second)
    assert len(set(first) & set(second)) == max(0, 2 * small - large)


def test_uniform_offsets_where_the_stride_does_not_divide() -> None:
    assert positions(10, 4, offset=1).tolist() == [1, 4, 5, 8]  # of 1 2 4 5 7 8
    assert positions(6, 4).tolist() == [0, 2, 3, 5]
    assert positions(6, 4, offset=1).tolist() == [0, 1, 4, 5]  # 1 and 4, and the ends of 0 2 3 5


def test_select_takes_the_same_positions_in_every_dimension() -> None:
    large = torch.arange(16.0).view(4, 4)
    assert select(large, torch.Size([2, 2])).tolist() == [[0, 2], [8, 10]]


def small(width: int, num_classes: int = 3) -> Classifier:
    stages = ((1, width, 1), (6, width * 2, 2))
    return MobileNet(Shape(width * 2, stages, width * 8, strides=(1, 2)), num_classes).eval()


def test_a_network_whose_dropped_channels_are_silent_is_inherited_whole() -> None:
    """If every channel that is dropped carries zero, the selected network gives the same features."""
    torch.manual_seed(0)
    large, target = small(8), small(4)
    with torch.no_grad():
        for name, tensor in large.state_dict().items():
            if tensor.dim() == 0 or name.startswith("classifier"):
                continue
            silent = torch.arange(tensor.shape[0]) % 2 == 1
            if name.endswith(("weight", "bias", "running_mean")):
                tensor[silent] = 0
    select_weights(large, target)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        kept = large.forward_with_features(x)[1][-1][:, ::2]
        own = target.forward_with_features(x)[1][-1]
    assert kept.abs().max() > 0
    torch.testing.assert_close(own, kept, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["kdlight_nano", "kdlight_small", "kdlight_base"])
def test_every_student_inherits_every_tensor_but_the_classifier(name: str) -> None:
    student = create_model(name, 3)
    filled = select_weights(create_model("mobilenetv2", 3), student)
    left = {k for k in student.state_dict() if not k.endswith("num_batches_tracked")} - set(filled)
    assert left == {"classifier.weight", "classifier.bias"}


def vit(width: int, depth: int, side: int = 32) -> TimmClassifier:
    """Heads of 4 channels, whatever the width; patches of 8 px."""
    options = {"img_size": side, "patch_size": 8, "embed_dim": width, "depth": depth, "num_heads": width // 4}
    return TimmClassifier("vit_tiny_patch16_224", 3, **options).eval()


def convnext(width: int, depths: tuple[int, ...], conv_mlp: bool) -> TimmClassifier:
    dims = tuple(width * 2**i for i in range(len(depths)))
    return TimmClassifier("convnext_tiny", 3, depths=depths, dims=dims, conv_mlp=conv_mlp).eval()


def stirred(model: nn.Module, seed: int) -> nn.Module:
    """Every tensor drawn anew, since some begin as zeros or ones."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + 0.1)
    return model


@pytest.mark.parametrize("layers", get_args(Layers))
@pytest.mark.parametrize("how", get_args(Selection))
@pytest.mark.parametrize("build", [lambda: small(4), lambda: vit(8, 2), lambda: convnext(4, (1, 1, 2, 1), False)])
def test_a_network_selected_from_itself_is_itself_but_for_the_classifier(build: Any, how: str, layers: str) -> None:
    source, target = stirred(build(), 0), stirred(build(), 1)
    before = {k: v.clone() for k, v in target.state_dict().items() if not k.startswith("_tapped")}  # a second name
    filled = select_weights(source, target, how=how, layers=layers, seed=5)
    for name in before:
        expected = source.state_dict() if name in filled else before
        assert torch.equal(target.state_dict()[name], expected[name])
    counters = {name for name in before if name.endswith("num_batches_tracked")}
    assert set(before) - set(filled) - counters <= HEADS
    assert len(set(before) - set(filled) - counters) == 2


def blocks(*modules: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict({"blocks": nn.ModuleList(modules)})


def test_query_key_and_value_are_selected_apart() -> None:
    large, target = blocks(nn.ModuleDict({"qkv": nn.Linear(4, 12)})), blocks(nn.ModuleDict({"qkv": nn.Linear(2, 6)}))
    rows = {"uniform": [0, 2, 4, 6, 8, 10], "consecutive": [0, 1, 4, 5, 8, 9]}
    for how, kept in rows.items():
        select_weights(large, target, how=how)
        weight = large.state_dict()["blocks.0.qkv.weight"]
        columns = [k for k in kept if k < 4]
        assert torch.equal(target.state_dict()["blocks.0.qkv.weight"], weight[kept][:, columns])
        assert torch.equal(target.state_dict()["blocks.0.qkv.bias"], large.state_dict()["blocks.0.qkv.bias"][kept])


def test_random_keeps_one_choice_for_every_tensor() -> None:
    """Two layers in a row: the channels that the first one makes are those that the second one reads."""
    large, target = blocks(nn.Linear(3, 9), nn.Linear(9, 5)), blocks(nn.Linear(3, 4), nn.Linear(4, 5))
    select_weights(large, target, how="random", seed=2)
    kept = positions(9, 4, how="random", seed=2)
    state = large.state_dict()
    assert torch.equal(target.state_dict()["blocks.0.weight"], state["blocks.0.weight"][kept])
    assert torch.equal(target.state_dict()["blocks.1.weight"], state["blocks.1.weight"][:, kept])


@pytest.mark.parametrize(
    ("layers", "depths", "expected"),
    [
        ("first", (6, 3), [0, 1, 2]),
        ("even", (6, 3), [0, 2, 4]),
        ("even", (9, 6), [0, 2, 3, 5, 6, 8]),
        ("even", (4, 1), [0]),
    ],
)
def test_blocks_are_the_first_or_evenly_spaced(layers: str, depths: tuple[int, int], expected: list[int]) -> None:
    large, target = (blocks(*(nn.Linear(1, 1) for _ in range(depth))) for depth in depths)
    with torch.no_grad():
        for number, layer in enumerate(large["blocks"]):
            layer.weight.fill_(number)
    select_weights(large, target, layers=layers)
    assert [int(layer.weight) for layer in target["blocks"]] == expected


@pytest.mark.parametrize(
    "build", [lambda d: small_of(d), lambda d: convnext(4, (1, 1, d, 1), False), lambda d: vit(8, d)]
)
def test_evenly_spaced_blocks_are_found_in_every_family(build: Any) -> None:
    large, target = stirred(build(4), 0), stirred(build(2), 1)
    select_weights(large, target, layers="even")
    own, state = target.state_dict(), large.state_dict()
    stage = next(k for k in state if ".3." in k and k.replace(".3.", ".1.", 1) in own).partition(".3.")[0]
    for name in (k for k in own if k.startswith(f"{stage}.1.") and own[k].dim()):
        assert torch.equal(own[name], state[name.replace(f"{stage}.1.", f"{stage}.2.", 1)])


def small_of(depth: int) -> MobileNet:
    return MobileNet(Shape(8, ((1, 4, 1), (2, 8, depth)), 16, strides=(1, 2)), 3)


def widened(tensor: torch.Tensor, shape: torch.Size, name: str, consecutive: bool) -> torch.Tensor:
    """What a network of twice the width holds to compute the same twice: every channel doubled, one of both read."""
    tensor = tensor.reshape(*tensor.shape[:2], *shape[2:]) if tensor.dim() != len(shape) else tensor
    for dim in (d for d, size in enumerate(shape) if size != tensor.shape[d]):
        other = torch.zeros_like(tensor) if dim == 1 and len(shape) in (2, 4) else tensor
        if not consecutive:
            tensor = torch.stack([tensor, other], dim=dim + 1).flatten(dim, dim + 1)
        elif ".qkv." in name and dim == 0:
            tensor = torch.cat([torch.cat([part, part]) for part in tensor.chunk(3)])
        else:
            tensor = torch.cat([tensor, other], dim=dim)
    return tensor


@pytest.mark.parametrize(
    ("large", "target", "how"),
    [
        (lambda: vit(16, 2), lambda: vit(8, 2), "consecutive"),
        (lambda: convnext(8, (1, 1, 2, 1), False), lambda: convnext(4, (1, 1, 2, 1), True), "uniform"),
    ],
)
def test_a_transformer_and_a_convnext_inherit_what_the_larger_one_computes(large: Any, target: Any, how: str) -> None:
    """The larger network computes everything twice, so layer norms agree: its selected half is the smaller network."""
    torch.manual_seed(0)
    truth, source, heir = target(), large(), target()
    with torch.no_grad():
        for parameter in truth.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        own = truth.state_dict()
        for name, tensor in source.state_dict().items():
            if name not in HEADS:
                tensor.copy_(widened(own[name], tensor.shape, name, how == "consecutive"))
        select_weights(source, heir, how=how)
        x = torch.randn(2, 3, 32, 32)
        expected, found, wide = (m.forward_with_features(x)[1][-1] for m in (truth, heir, source))
    torch.testing.assert_close(found, expected)
    half = slice(0, wide.shape[1] // 2) if how == "consecutive" else slice(0, None, 2)
    torch.testing.assert_close(wide[:, half], expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.1


def test_position_embeddings_are_resized_as_timm_does() -> None:
    embedding = torch.randn(1, 17, 6, generator=torch.Generator().manual_seed(0))
    expected = timm.layers.resample_abs_pos_embed(embedding, [7, 7], num_prefix_tokens=1)
    torch.testing.assert_close(resize_positions(embedding, 50), expected)
    large, target = vit(16, 1), vit(8, 1, side=48)
    select_weights(large, target)
    expected = timm.layers.resample_abs_pos_embed(large.net.pos_embed, [6, 6], num_prefix_tokens=1)[..., ::2]
    torch.testing.assert_close(target.net.pos_embed, expected)
    with pytest.raises(ValueError, match="same prefix tokens"):
        resize_positions(embedding, 16)


@pytest.mark.parametrize(
    ("teacher", "student"),
    [("vit_small_patch16_224", "vit_tiny_patch16_224"), ("convnext_tiny", "convnext_femto")],
)
def test_the_papers_pairs_leave_the_head_alone_unfilled(teacher: str, student: str) -> None:
    """Names and shapes only: nothing is computed."""
    with torch.device("meta"):
        large, target = (timm.create_model(name, num_classes=3) for name in (teacher, student))
        filled = select_weights(large, target)
    assert set(target.state_dict()) - set(filled) in ({"head.weight", "head.bias"}, {"head.fc.weight", "head.fc.bias"})


def test_a_network_without_batch_norm_is_left_as_it_is() -> None:
    model = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reestimate_batch_norm(model, [torch.zeros(1, 5)])  # would not fit the layer
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_strangers_are_refused() -> None:
    with pytest.raises(ValueError, match="one family"):
        select_weights(torch.nn.Linear(4, 4), create_model("kdlight_nano", 2))


def test_batch_norm_is_reestimated_to_the_data() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3)).eval()
    x = torch.randn(64, 3, 8, 8) * 5 + 2
    reestimate_batch_norm(model, list(torch.split(x, 16)))
    torch.testing.assert_close(model[0].running_mean, x.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model[0].running_var, x.var(dim=(0, 2, 3)), atol=0.2, rtol=0.02)
    assert model[0].momentum == 0.1
    assert not model.training
