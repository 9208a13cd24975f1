"""Which maps are paired, on networks whose stages are known."""

import torch
from torch import Tensor, nn

from kdlight.distillers.matching import ends, pairs
from kdlight.models import Classifier, create_model


class Staged(Classifier):
    """A map per stride in its list, with that many channels; reads images of `size` only, where it is given."""

    def __init__(self, *strides: int, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.strides, self.size, self.num_classes = strides, size, 2
        self.one = nn.Parameter(torch.ones(1))

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            raise ValueError(f"{self.size} was expected.")
        maps = [x.new_zeros(len(x), stride, x.shape[2] // stride, x.shape[3] // stride) for stride in self.strides]
        return x.new_zeros(len(x), 2), maps

    @property
    def cam_layer(self) -> nn.Module:
        return self


def strides(student: Classifier, teacher: Classifier) -> list[tuple[float, float]]:
    return [(a.stride, b.stride) for a, b in pairs(student, teacher)]


def test_the_last_map_of_each_resolution_stands_for_its_stage() -> None:
    found = [(stage.index, stage.stride) for stage in ends(create_model("kdlight_small", 2))]
    assert found == [(0, 2), (1, 4), (2, 8), (4, 16), (7, 32)]
    assert ends(create_model("mobilenetv2", 2))[-1].channels == 1280


def test_stages_are_paired_by_resolution_and_the_deepest_with_each_other() -> None:
    assert strides(Staged(2, 4, 8, 16, 32), Staged(4, 8, 16, 32)) == [(4, 4), (8, 8), (16, 16), (32, 32)]
    assert strides(Staged(4, 16), Staged(2, 4, 8, 32)) == [(4, 4), (16, 32)]


def test_a_network_of_one_map_is_paired_by_its_depth_not_its_resolution() -> None:
    assert strides(Staged(2, 4, 8, 16, 32), Staged(16)) == [(32, 16)]
    assert strides(Staged(16), Staged(2, 4, 32)) == [(16, 32)]


def test_a_network_of_fixed_input_gets_it() -> None:
    model = Staged(4, 8, size=(96, 96)).train()
    assert [stage.stride for stage in ends(model)] == [4, 8]
    assert model.training
