from __future__ import annotations

import pytest
import torch

from vocseg.data.dataset import Sample
from vocseg.data.transforms.color import ColorJitter, adjust_colors


def jitter(strength: float, image: torch.Tensor, mask: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    changed = ColorJitter(strength)(Sample(image, mask, "name"), torch.Generator().manual_seed(seed))
    return changed.image, changed.mask


def moderate_colors(height: int = 12, width: int = 10) -> torch.Tensor:
    """Colors well inside the cube, so that nothing is cut."""
    return torch.randint(90, 160, (3, height, width), generator=torch.Generator().manual_seed(3)).to(torch.uint8)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3])
def test_colors_change_as_torchvisions_do(factor: float) -> None:
    from torchvision.transforms.v2 import functional as F

    image = moderate_colors()
    for ours, theirs in (
        (adjust_colors(image, factor, 1, 1, 0), F.adjust_brightness(image, factor)),
        (adjust_colors(image, 1, factor, 1, 0), F.adjust_contrast(image, factor)),
        (adjust_colors(image, 1, 1, factor, 0), F.adjust_saturation(image, factor)),
    ):
        # Theirs cut each result to whole numbers, and gray values before.
        assert (ours.int() - theirs.int()).abs().max() <= 2


def test_hue_turns_about_gray() -> None:
    image = moderate_colors()
    assert torch.equal(adjust_colors(image, 1, 1, 1, 0), image)
    assert (adjust_colors(image, 1, 1, 1, 1.0).int() - image.int()).abs().max() <= 1  # a full circle
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    turned = adjust_colors(image, 1, 1, 1, 0.2)
    assert ((turned * weights).sum(0) - (image * weights).sum(0)).abs().max() < 1.5  # brightness stays
    half = adjust_colors(torch.tensor([140, 120, 110], dtype=torch.uint8)[:, None, None], 1, 1, 1, 0.5)
    gray = 0.299 * 140 + 0.587 * 120 + 0.114 * 110
    assert half.flatten().tolist() == pytest.approx([2 * gray - 140, 2 * gray - 120, 2 * gray - 110], abs=1)  # the opposite color


def test_jitter_is_random_keeps_the_mask_and_bounds_its_factors() -> None:
    image, mask = moderate_colors(), torch.zeros(12, 10, dtype=torch.uint8)
    seen = []
    for seed in range(30):
        changed, kept = jitter(0.4, image, mask, seed)
        assert kept is mask
        assert (changed.shape, changed.dtype) == (image.shape, torch.uint8)
        seen.append(float(changed.float().mean() / image.float().mean()))
    assert 0.58 < min(seen) < 0.75 < 1.25 < max(seen) < 1.42
    assert torch.equal(jitter(0.0, image, mask, 1)[0], image)
