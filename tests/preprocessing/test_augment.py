"""Augmentation, held to torchvision's own functions."""

import time

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from kdlight.contracts.modality import MODALITIES
from kdlight.preprocessing import augment
from kdlight.preprocessing.augment import AUGMENTATIONS, Colors, Policy, RandomView, augmentation

SIZE = 48


@pytest.fixture
def batch() -> torch.Tensor:
    """Smooth colorful pictures uint8 (6, 3, 48, 48), different everywhere, so that any flip shows."""
    coarse = torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 255
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear").round().byte()


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_policy_changes_each_image_by_itself_and_the_seed_decides(name: str, batch: torch.Tensor) -> None:
    view = augmentation(name, SIZE)
    same = batch[:1].expand(6, -1, -1, -1)
    one, again, other = view(same, seed(1)), view(same, seed(1)), view(same, seed(2))
    assert one.dtype == torch.uint8
    assert one.shape == same.shape
    assert torch.equal(one, again)
    if name == "none":
        assert torch.equal(one, same)
        return
    assert not torch.equal(one, other)
    assert len({bytes(image.numpy().tobytes()) for image in one}) == 6
    assert torch.nn.functional.l1_loss(one.float(), same.float()) > 1


def test_every_modality_has_a_policy_and_laterality_is_kept_where_it_matters() -> None:
    assert set(MODALITIES) <= set(AUGMENTATIONS)
    upright = {"none", "light", "standard", "strong", "xray", "ct", "mri", "ultrasound", "oct", "fundus"}
    for name, policy in AUGMENTATIONS.items():
        assert (policy.upside_down or policy.quarter_turns) == (name not in upright)
    for name in ("light", "standard", "strong", "xray", "ct"):
        assert not AUGMENTATIONS[name].mirror


@pytest.mark.parametrize("name", ["standard", "strong", "xray", "ct"])
def test_left_stays_left(name: str) -> None:
    """A bright left half stays on the left in every draw."""
    half = torch.zeros(64, 3, SIZE, SIZE, dtype=torch.uint8)
    half[..., : SIZE // 2] = 200
    seen = augmentation(name, SIZE)(half, seed(0)).float()
    assert bool((seen[..., : SIZE // 2].mean(dim=(1, 2, 3)) > 2 * seen[..., SIZE // 2 :].mean(dim=(1, 2, 3))).all())


def test_flips_and_quarter_turns_move_pixels_exactly(batch: torch.Tensor) -> None:
    seen = RandomView(Policy(mirror=True, upside_down=True, quarter_turns=True), SIZE)(
        batch[:1].repeat(80, 1, 1, 1), seed(0)
    )
    turned = [torch.rot90(batch[0], k, (1, 2)) for k in range(4)]
    allowed = [*turned, *[tv.horizontal_flip(t) for t in turned]]
    found = [next((n for n, t in enumerate(allowed) if torch.equal(t, image)), None) for image in seen]
    assert None not in found
    assert set(found) == set(range(8))


def test_mirror_alone_is_torchvisions_flip_half_of_the_time(batch: torch.Tensor) -> None:
    seen = RandomView(Policy(mirror=True), SIZE)(batch[:1].repeat(200, 1, 1, 1), seed(0))
    mirrored = tv.horizontal_flip(batch[0])
    flipped = torch.tensor([torch.equal(image, mirrored) for image in seen])
    kept = torch.tensor([torch.equal(image, batch[0]) for image in seen])
    assert bool((flipped ^ kept).all())
    assert 70 <= int(flipped.sum()) <= 130


def test_an_affine_view_is_torchvisions(batch: torch.Tensor) -> None:
    """20 degrees, 1.25 times, 3 px right and 5 px down, as torchvision turns float pictures."""
    view = RandomView(Policy(rotate=20), SIZE)
    angle, scale = np.deg2rad(20), 1.25
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    moved = np.array([3, 5]) * 2 / SIZE
    linear = np.array([[cos, sin], [-sin, cos]])
    matrix = np.concatenate([linear, -(linear @ moved)[:, None]], axis=1)
    found = view.move(batch.float(), torch.tensor(matrix, dtype=torch.float32).expand(6, 2, 3))
    expected = tv.affine(batch.float(), 20, [3, 5], scale, [0, 0], interpolation=v2.InterpolationMode.BILINEAR)
    inner = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    torch.testing.assert_close(found[inner], expected[inner], atol=0.05, rtol=0)


def test_geometry_stays_within_its_limits() -> None:
    policy = Policy(rotate=10, shift=0.1, zoom=0.25)
    matrix = augment.geometry(policy, 2000, seed(0))
    scale = torch.linalg.det(matrix[:, :, :2]).sqrt()
    angle = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert float(scale.min()) == pytest.approx(0.8, abs=0.01)
    assert float(scale.max()) == pytest.approx(1.25, abs=0.01)
    assert float(angle.abs().max()) == pytest.approx(10, abs=0.1)
    assert abs(float(angle.mean())) < 0.5
    assert float(matrix[:, :, 2].abs().max()) == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize(
    ("brightness", "contrast", "saturation", "function"),
    [
        (0.8, 1.0, 1.0, lambda x: tv.adjust_brightness(x, 0.8)),
        (1.0, 0.7, 1.0, lambda x: tv.adjust_contrast(x, 0.7)),
        (1.0, 1.0, 0.4, lambda x: tv.adjust_saturation(x, 0.4)),
        (0.8, 0.7, 0.4, lambda x: tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(x, 0.8), 0.7), 0.4)),
    ],
)
def test_light_is_torchvisions(
    brightness: float, contrast: float, saturation: float, function: object, batch: torch.Tensor
) -> None:
    ones = torch.ones(6)
    factors = Colors(brightness * ones, contrast * ones, saturation * ones, torch.ones(6, 3))
    found = augment.light(batch.float(), factors)
    torch.testing.assert_close(found / 255, function(batch.float() / 255), atol=0.002, rtol=0)  # type: ignore[operator]


def test_gray_stays_gray_without_a_tint() -> None:
    gray = torch.randint(0, 256, (4, 1, SIZE, SIZE), dtype=torch.uint8).expand(-1, 3, -1, -1)
    seen = augmentation("strong", SIZE)(gray, seed(0)).int()
    assert int((seen.amax(dim=1) - seen.amin(dim=1)).max()) <= 1


def test_batches_of_another_kind_are_refused(batch: torch.Tensor) -> None:
    for wrong in (batch.float(), batch[:, :1], batch[..., 1:]):
        with pytest.raises(ValueError, match=r"uint8 \(B, 3, 48, 48\) was expected"):
            augmentation("light", SIZE)(wrong)
    with pytest.raises(ValueError, match="one of none, light"):
        augmentation("wild", SIZE)


def test_channels_last_batches_are_taken_as_they_are(batch: torch.Tensor) -> None:
    last = batch.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    view = augmentation("dermatoscopy", SIZE)
    assert torch.equal(view(last, seed(3)), view(batch, seed(3)))


def test_a_batch_is_quick() -> None:
    """About 8 ms on an idle core for 32 images of 128 px; image by image torchvision takes 30."""
    view, x = augmentation("standard", 128), torch.randint(0, 256, (32, 3, 128, 128), dtype=torch.uint8)
    times = []
    for _ in range(6):
        start = time.process_time()
        view(x)
        times.append(time.process_time() - start)
    assert min(times) < 0.08
