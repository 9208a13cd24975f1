"""Weight selection: first weights of a small network taken from a larger one of the same family.

Xu et al., Initializing Models with Larger Ones, ICLR 2024, https://arxiv.org/abs/2311.18823: in every dimension of a
tensor keep Ws of Wt elements, evenly spaced; the first blocks of each stage; the classifier is left out. The paper
gives stride Wt / Ws where it divides and evenly spaced rounded positions elsewhere. Selecting every dimension of every
tensor by the same rule keeps channels consistent: the channel that a layer's output keeps is the one the next reads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def positions(large: int, small: int, offset: int = 0) -> Tensor:
    """Indices (small,) of the kept elements of a dimension of `large`. Raises ValueError if small > large.

    `offset` shifts the selection where the stride leaves room (0 <= offset < stride), for complementary students.
    """
    if not 0 < small <= large:
        raise ValueError(f"Cannot select {small} of {large} elements; the source must be the larger network.")
    if large % small == 0:
        stride = large // small
        return torch.arange(0, large, stride) + offset % stride
    return torch.linspace(0, large - 1, small).round().long()


def select(tensor: Tensor, shape: torch.Size, offset: int = 0) -> Tensor:
    """A tensor of `shape` selected from a larger one of the same rank."""
    for dim, small in enumerate(shape):
        if tensor.shape[dim] != small:
            tensor = tensor.index_select(dim, positions(tensor.shape[dim], small, offset))
    return tensor


def select_weights(source: nn.Module, target: nn.Module, offset: int = 0) -> list[str]:
    """Fill `target` from the larger `source` of its family; tensors are paired by name, the classifier is left out.

    Returns the names that were filled. Tensors of `target` that have no namesake of the same rank keep their values.
    Raises ValueError if nothing could be paired or a namesake is smaller.
    """
    large = source.state_dict()
    filled = []
    with torch.no_grad():
        for name, tensor in target.state_dict().items():
            origin = large.get(name)
            if name.startswith("classifier") or origin is None or origin.dim() != tensor.dim() or tensor.dim() == 0:
                continue
            tensor.copy_(select(origin, tensor.shape, offset))
            filled.append(name)
    if not filled:
        raise ValueError("No tensor of the student has a namesake in the teacher; both must be of one family.")
    return filled


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: list[Tensor]) -> None:
    """Set batch-norm statistics to their averages over batches (B, 3, H, W): selected channels shift every mean."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    was_training = model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    model.train()
    for batch in batches:
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)
