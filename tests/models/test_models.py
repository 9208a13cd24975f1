"""Networks are what their names promise: size, shape of the answer, weights from elsewhere."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file

from kdlight.models import (
    GENERAL,
    MODELS,
    SHIPPED,
    create_model,
    load_state,
    macs,
    parameters,
    published,
    start_from,
    start_student,
)
from kdlight.models.mobilenet import load_backbone
from kdlight.models.registry import published_networks

BUDGETS = {"kdlight_nano": 235_000, "kdlight_nano16": 235_000, "kdlight_small": 650_000, "kdlight_base": 1_950_000}


@pytest.mark.parametrize(("name", "most"), BUDGETS.items())
def test_students_keep_their_budget(name: str, most: int) -> None:
    assert parameters(create_model(name, 7)) <= most


def test_nano_is_shipped_in_less_than_the_published_469_77_kb(tmp_path: Path) -> None:
    state = {k: v.half() for k, v in create_model("kdlight_nano", 7).state_dict().items() if v.is_floating_point()}
    save_file(state, tmp_path / "nano.safetensors")
    assert (tmp_path / "nano.safetensors").stat().st_size <= 469_770


def test_mobilenetv2_computes_what_torchvision_computes() -> None:
    torch.manual_seed(0)
    reference = torchvision.models.mobilenet_v2(num_classes=5).eval()
    model = create_model("mobilenetv2", 5).eval()
    load_backbone(model, reference.state_dict())
    model.classifier.load_state_dict(reference.classifier[1].state_dict())
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(x), reference(x), atol=1e-5, rtol=1e-5)
    assert parameters(model) == sum(p.numel() for p in reference.parameters())


def test_mobilenetv2_takes_timm_weights() -> None:
    reference = timm.create_model("mobilenetv2_100", num_classes=5).eval()
    model = create_model("mobilenetv2", 5).eval()
    load_backbone(model, dict(sorted(reference.state_dict().items())))  # as a safetensors file lists them
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(
        model.forward_with_features(x)[1][-1], reference.forward_features(x), atol=1e-5, rtol=1e-4
    )


def test_macs_are_the_published_300_million_for_mobilenetv2() -> None:
    assert macs(create_model("mobilenetv2", 1000), 224) == pytest.approx(300e6, rel=0.01)


def test_macs_count_every_window_that_an_image_is_cut_into() -> None:
    """A linear layer over windows has them in its batch: 32 x 32 places in windows of 8 x 8, 16 of them."""

    class Windowed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.unfold(2, 8, 8).unfold(3, 8, 8).reshape(16, 3, 64).transpose(1, 2))  # type: ignore[no-any-return]

    assert macs(Windowed(), 32) == 32 * 32 * 3 * 5


@pytest.mark.parametrize("name", ["timm:resnet10t", "timm:vit_tiny_patch16_224", "timm:swin_s3_tiny_224"])
def test_timm_models_answer_as_timm_does(name: str) -> None:
    model = create_model(name, 3).eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(model(x), model.net(model.adapt(x)))
        maps = model.forward_with_features(x)[1][-1]
    assert maps.shape[0] == 1
    assert maps.shape[2] == maps.shape[3]


@pytest.mark.parametrize("name", ["nano", "timm:no_such_net"])
def test_unknown_names_are_answered_with_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"kdlight_nano|Known and near"):
        create_model(name, 2)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not those of this network"):
        start_from(create_model("mobilenetv2", 2), "mobilenetv2", str(tmp_path / "other.safetensors"))


def test_a_student_takes_all_of_its_own_weights_but_the_classifier(tmp_path: Path) -> None:
    before, model = create_model("kdlight_nano", 5), create_model("kdlight_nano", 2)
    last = model.state_dict()["classifier.weight"].clone()
    save_file(before.state_dict(), tmp_path / "mine.safetensors")
    start_student(model, "kdlight_nano", "general", str(tmp_path / "mine.safetensors"))
    found = model.state_dict()
    assert all(
        torch.equal(found[name], tensor)
        for name, tensor in before.state_dict().items()
        if not name.startswith("classifier") and not name.endswith("num_batches_tracked")
    )
    assert torch.equal(found["classifier.weight"], last)


def test_a_student_without_weights_of_its_own_is_told_so() -> None:
    with pytest.raises(ValueError, match="No general weights are shipped for kdlight_base"):
        start_student(create_model("kdlight_base", 2), "kdlight_base", "general", "")
    with pytest.raises(ValueError, match="No pretrained weights are published for kdlight_nano"):
        start_student(create_model("kdlight_nano", 2), "kdlight_nano", "published", "")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_that_holds_no_tensors_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="readable state dict"):
        load_state(path)


def test_a_pickled_object_is_never_built(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"model": pytest.raises}, path)
    with pytest.raises(ValueError, match="readable state dict"):
        load_state(path)


def test_without_network_the_teacher_says_that_it_starts_from_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr("kdlight.models.TimmClassifier", offline)
    model = create_model("mobilenetv2", 2)
    assert start_from(model, "mobilenetv2", "").kind == "random"


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[float]]:
    """An empty cache and a network that answers nothing: a name that is looked up for ever. Collects download tries."""
    downloads: list[float] = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(published, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(published, "get_hf_file_metadata", lambda *_, **__: time.sleep(20))
    monkeypatch.setattr("kdlight.models.TimmClassifier", lambda *_: downloads.append(1.0))
    published.lacking.cache_clear()
    yield downloads
    published.lacking.cache_clear()


def test_where_no_server_answers_it_is_known_within_3_seconds_and_nothing_is_tried(unreachable: list[float]) -> None:
    began = time.monotonic()
    found = start_from(create_model("mobilenetv2", 2), "mobilenetv2", "")
    assert time.monotonic() - began < 3
    assert found.kind == "random"
    assert found.words.startswith("random weights: its published weights are not on this machine, and the server")
    assert unreachable == []


def test_a_student_of_published_weights_is_refused_as_fast(unreachable: list[float]) -> None:
    student = create_model("timm:mobilenetv3_small_050", 2)
    began = time.monotonic()
    with pytest.raises(ValueError, match="cannot start from published weights: its published weights are not on"):
        start_student(student, "timm:mobilenetv3_small_050", "published", "")
    assert time.monotonic() - began < 3


def test_offline_mode_is_asked_before_the_network(unreachable: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    began = time.monotonic()
    assert "HF_HUB_OFFLINE" in (published.lacking("ensemble:mobilenetv2+timm:resnet18") or "")
    assert time.monotonic() - began < 0.5


def test_weights_in_the_cache_need_no_network(unreachable: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "try_to_load_from_cache", lambda *_, **__: "/cache/model.safetensors")
    assert published.lacking("fusion_skin") is None


@pytest.mark.parametrize("name", ["ofa595", "kdlight_nano", "timm:resnetv2_152"])
def test_a_network_without_published_weights_is_known(name: str) -> None:
    assert published.lacking(name) == f"no weights are published for {name}"


@pytest.mark.parametrize("name", MODELS)
def test_a_registered_network_says_what_it_is(name: str) -> None:
    network = MODELS[name]
    assert network.summary
    assert network.source
    assert all(timm.is_model(one) for one in network.weights)


def test_the_license_of_every_shipped_student_is_known() -> None:
    assert {file for file, _ in GENERAL.values()} == {path.name for path in SHIPPED.glob("*.safetensors")}


@pytest.mark.parametrize("name", GENERAL)
def test_general_weights_fill_all_of_their_students_but_the_classifier(name: str) -> None:
    model, shipped = create_model(name, 3), load_file(SHIPPED / GENERAL[name][0])
    start_student(model, name, "general", "")
    found = {key: tensor for key, tensor in model.state_dict().items() if key in shipped}
    whole = {key for key in model.state_dict() if not key.startswith("classifier") and not key.endswith("_tracked")}
    assert set(found) == set(shipped) == whole
    assert all(torch.equal(tensor, shipped[key].to(tensor.dtype)) for key, tensor in found.items())


def test_every_teacher_has_weights_or_says_that_it_has_none() -> None:
    teachers = {name for name, network in MODELS.items() if network.role == "teacher"}
    assert {name for name in teachers if not published_networks(name)} == set()
    assert published.licenses("mobilenetv2") == ("apache-2.0",)
    assert published.licenses("kdlight_nano") == ()
    assert published.commercial("mobilenetv2")
    assert not published.commercial("timm:convnextv2_large.fcmae_ft_in22k_in1k")
