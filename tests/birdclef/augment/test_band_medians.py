"""Medians against `torch.median`, which is what the model subtracts."""

import pytest
import torch

from birdclef.augment.band_medians import band_medians


@pytest.mark.parametrize("frames", [1, 2, 7, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_medians_are_those_that_the_model_subtracts(frames: int, dtype: torch.dtype) -> None:
    crops = torch.randn(5, 1, 3, frames, generator=torch.Generator().manual_seed(0)).to(dtype)
    medians = band_medians(crops, torch.ones(5, dtype=torch.bool))
    assert torch.equal(medians, crops.median(dim=3, keepdim=True).values)
    some = band_medians(
        crops.transpose(2, 3).contiguous().transpose(2, 3), torch.tensor([True, False, True, False, True])
    )
    assert torch.equal(some[::2], medians[::2])
    assert some.dtype == dtype


def test_no_crop_needs_a_median() -> None:
    assert torch.isfinite(band_medians(torch.ones(2, 1, 3, 4), torch.zeros(2, dtype=torch.bool))).all()


def test_median_stays_when_any_cells_are_set_to_it() -> None:
    generator = torch.Generator().manual_seed(0)
    crops = torch.randn(200, 1, 2, 9, generator=generator)
    medians = crops.median(dim=3, keepdim=True).values
    masked = torch.where(torch.rand(200, 1, 1, 9, generator=generator) < 0.5, medians, crops)
    assert torch.equal(masked.median(dim=3, keepdim=True).values, medians)
