"""What holds for every augmentation of log-mel; gain and time maps against scipy's distributions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from birdclef.augment.band_medians import band_medians
from birdclef.augment.log_mel import draw_rates, draw_warp, random_gain
from birdclef.augment.masks import cover, draw_cover
from birdclef.augment.mixing_at_ratio import mix_background, mix_levelled, to_decibels, to_power
from birdclef.augment.mixup import mixup
from birdclef.augment.song_filter import draw_filter, filter_song
from birdclef.augment.synthetic_noise import draw_noise

FLOOR_DB = -100.0
SIGNIFICANCE = 1e-3

Transform = Callable[[Tensor, float, torch.Generator], Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_crops(batch: int, n_mels: int = 12, frames: int = 40, seed: int = 9) -> Tensor:
    """Returns crops between -80 and -20 dB, (batch, 1, n_mels, frames) float32."""
    return -80 + 60 * torch.rand(batch, 1, n_mels, frames, generator=seeded(seed))


def add_background(log_mel: Tensor, background: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    power = to_power(log_mel)
    return to_decibels(mix_background(power, background, (3.0, 30.0), probability, generator, slice(2, 10)))


def add_noise(log_mel: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    bank = torch.rand(3, 100, log_mel.shape[2], dtype=log_mel.dtype, generator=seeded(4))
    noise = draw_noise(bank, len(log_mel), log_mel.shape[3], generator)
    return add_background(log_mel, noise, probability, generator)


def change_filter(log_mel: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    gain_db = draw_filter(len(log_mel), log_mel.shape[2], 6.0, probability, generator)
    floor = to_power(band_medians(log_mel, torch.ones(len(log_mel), dtype=torch.bool)))
    return to_decibels(filter_song(to_power(log_mel), floor, gain_db)).to(log_mel.dtype)


def add_mask(log_mel: Tensor, dim: int, probability: float, generator: torch.Generator) -> Tensor:
    covered = draw_cover(len(log_mel), log_mel.shape[dim], 0.9, 3, probability, generator)
    none = torch.zeros(len(log_mel), log_mel.shape[5 - dim], dtype=torch.bool)
    bands, frames = (covered, none) if dim == 2 else (none, covered)
    return cover(log_mel, bands, frames, log_mel.mean(dim=(1, 2, 3), keepdim=True))


def mix(log_mel: Tensor, share: Tensor, partner: Tensor) -> Tensor:
    return mix_levelled(log_mel, share, partner, slice(2, 10))


TRANSFORMS: dict[str, Transform] = {
    "gain": lambda log_mel, probability, generator: random_gain(log_mel, 6.0, probability, FLOOR_DB, generator),
    "filter": change_filter,
    "background": lambda log_mel, probability, generator: add_background(
        log_mel, to_power(log_mel.flip(0).flip(2)), probability, generator
    ),
    "noise": add_noise,
    "band mask": lambda log_mel, probability, generator: add_mask(log_mel, 2, probability, generator),
    "frame mask": lambda log_mel, probability, generator: add_mask(log_mel, 3, probability, generator),
    "mixup": lambda log_mel, _, generator: mixup(log_mel, torch.eye(len(log_mel)), 1.0, generator, mix)[0].to(
        log_mel.dtype
    ),
}
OPTIONAL = {name: transform for name, transform in TRANSFORMS.items() if name != "mixup"}

each_transform = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
each_optional = pytest.mark.parametrize("transform", OPTIONAL.values(), ids=OPTIONAL)


@each_transform
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_input_stays_and_output_is_alike(transform: Transform, dtype: torch.dtype) -> None:
    log_mel = random_crops(16).to(dtype)
    before = log_mel.clone()
    augmented = transform(log_mel, 1.0, seeded())
    assert torch.equal(log_mel, before)
    assert augmented.shape == log_mel.shape
    assert augmented.dtype == dtype
    assert augmented.device == log_mel.device
    assert torch.isfinite(augmented).all()
    assert not torch.equal(augmented, log_mel)


@each_transform
def test_randomness_comes_from_the_generator_alone(transform: Transform) -> None:
    log_mel = random_crops(16)
    torch.manual_seed(1)
    first = transform(log_mel, 0.5, seeded(5))
    torch.manual_seed(2)
    assert torch.equal(transform(log_mel, 0.5, seeded(5)), first)
    assert not torch.equal(transform(log_mel, 0.5, seeded(6)), first)


@each_transform
def test_global_random_state_is_left_alone(transform: Transform) -> None:
    before = torch.get_rng_state()
    transform(random_crops(4), 0.5, seeded())
    assert torch.equal(torch.get_rng_state(), before)


@each_optional
def test_probability_0_changes_no_crop(transform: Transform) -> None:
    """What is added in power goes through exp and log, so float32 leaves some 1e-5 dB of rounding."""
    log_mel = random_crops(64)
    torch.testing.assert_close(transform(log_mel, 0.0, seeded()), log_mel, atol=5e-5, rtol=0)


@pytest.mark.parametrize("name", ["gain", "band mask", "frame mask"])
def test_probability_0_leaves_every_bit(name: str) -> None:
    log_mel = random_crops(64)
    assert torch.equal(TRANSFORMS[name](log_mel, 0.0, seeded()), log_mel)


@pytest.mark.parametrize("name", ["gain", "filter", "background", "noise"])
def test_probability_1_changes_every_crop(name: str) -> None:
    """The SNR is at most 30 dB, which lifts the power by 0.004 dB or more on average over a crop."""
    log_mel = random_crops(64)
    moved = (TRANSFORMS[name](log_mel, 1.0, seeded()) - log_mel).abs().amax(dim=(1, 2, 3))
    assert moved.min() > 4e-3


@pytest.mark.parametrize("name", ["gain", "filter", "background", "noise"])
@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_share_of_changed_crops_follows_the_probability(name: str, probability: float) -> None:
    log_mel = random_crops(2000)
    changed = (TRANSFORMS[name](log_mel, probability, seeded()) - log_mel).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert stats.binomtest(int(changed.sum()), 2000, probability).pvalue > SIGNIFICANCE


@each_optional
def test_every_crop_of_a_batch_is_drawn_on_its_own(transform: Transform) -> None:
    """Only two masked crops can be alike by chance: both covered throughout, or in the same places."""
    same = random_crops(1, 100, 100).expand(32, -1, -1, -1)
    augmented = transform(same, 1.0, seeded())
    assert len(torch.unique(augmented.flatten(1), dim=0)) >= 30


def test_gain_is_one_uniform_offset_per_crop() -> None:
    log_mel = random_crops(4000, 2, 3)
    offsets = (random_gain(log_mel, 6.0, 1.0, FLOOR_DB, seeded()) - log_mel).flatten(1).double().numpy()  # (batch, 6)
    assert np.ptp(offsets, axis=1).max() < 2e-5
    assert np.abs(offsets).max() <= 6.00001
    assert stats.kstest(offsets.mean(axis=1), stats.uniform(-6, 12).cdf).pvalue > SIGNIFICANCE


def test_gain_stops_at_the_floor() -> None:
    log_mel = torch.linspace(-12, 0, 13).view(1, 1, 1, 13).expand(200, 1, 1, 13)
    shifted = random_gain(log_mel, 6.0, 1.0, -12.0, seeded())
    offsets = shifted[..., -1:]  # what was at 0 dB never reaches the floor
    torch.testing.assert_close(shifted, torch.maximum(log_mel + offsets, torch.tensor(-12.0)))
    assert (shifted == -12.0).sum() > 200


def draw_map(batch: int, frames: int, stretch: float = 0.0, warp: float = 0.0, seed: int = 0) -> NDArray[np.float64]:
    """Returns stretched and warped positions, (batch, frames)."""
    generator = seeded(seed)
    rates = draw_rates(batch, (0.9, 1.1), stretch, generator)
    time_map = draw_warp(batch, frames, 20, warp, generator) * rates.unsqueeze(1)
    assert rates.shape == (batch,)
    assert time_map.shape == (batch, frames)
    return time_map.double().numpy()


def test_time_map_without_stretch_and_warp_is_the_identity() -> None:
    np.testing.assert_allclose(draw_map(50, 157), np.tile(np.arange(157), (50, 1)), atol=5e-5)


def test_stretched_time_runs_at_one_rate_from_the_start() -> None:
    time_map = draw_map(2000, 157, stretch=1.0)
    rates = time_map[:, -1] / 156
    np.testing.assert_allclose(time_map, rates[:, None] * np.arange(157), atol=1e-4)
    assert stats.kstest(rates, stats.uniform(0.9, 0.2).cdf).pvalue > SIGNIFICANCE


def test_warped_time_keeps_its_ends_and_never_runs_back() -> None:
    time_map = draw_map(500, 157, warp=1.0)
    np.testing.assert_allclose(time_map[:, 0], 0, atol=1e-4)
    np.testing.assert_allclose(time_map[:, -1], 156, atol=1e-4)
    assert np.diff(time_map, axis=1).min() >= -1e-4


def test_warp_moves_one_point_by_up_to_its_reach() -> None:
    time_map = draw_map(2000, 157, warp=1.0)
    shift = np.abs(time_map - np.arange(157)).max(axis=1)
    assert shift.max() <= 20 + 1e-3
    assert shift.max() > 19
    bends = np.abs(np.diff(time_map, n=2, axis=1)) > 1e-3  # two straight pieces meet between two frames
    assert bends.sum(axis=1).max() <= 2
    assert (np.diff(np.sign(time_map[:, 78] - 78)) != 0).any()


@pytest.mark.parametrize("frames", [1, 2, 3, 10])
def test_warp_fits_into_a_crop_shorter_than_its_reach(frames: int) -> None:
    time_map = draw_map(200, frames, warp=1.0)
    assert time_map.min() >= -1e-4
    assert time_map.max() <= frames - 1 + 1e-4
    assert frames == 1 or np.diff(time_map, axis=1).min() >= -1e-4


@pytest.mark.parametrize("settings", [{"stretch": 0.3}, {"warp": 0.3}], ids=str)
def test_share_of_bent_time_maps_follows_the_probability(settings: dict[str, float]) -> None:
    bent = np.abs(draw_map(3000, 157, **settings) - np.arange(157)).max(axis=1) > 1e-3
    assert stats.binomtest(int(bent.sum()), 3000, 0.3).pvalue > SIGNIFICANCE


def test_time_maps_of_a_batch_differ_and_follow_the_generator() -> None:
    first = draw_map(30, 157, 1.0, 1.0)
    assert len(np.unique(first, axis=0)) == 30
    np.testing.assert_array_equal(draw_map(30, 157, 1.0, 1.0), first)
    assert not np.array_equal(draw_map(30, 157, 1.0, 1.0, seed=1), first)
