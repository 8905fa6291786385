"""Augmentation against physics (power added in numpy), against scipy's distributions, and for purity."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from birdclef.augment import log_mel as augment
from birdclef.augment.log_mel import draw_rates, draw_warp, mixup, random_gain, random_mask, to_decibels, to_power

FLOOR_DB = -100.0
SIGNIFICANCE = 1e-3

Transform = Callable[[Tensor, float, torch.Generator], Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_crops(batch: int, n_mels: int = 12, frames: int = 40, seed: int = 9) -> Tensor:
    """Returns crops between -80 and -20 dB, (batch, 1, n_mels, frames) float32."""
    return -80 + 60 * torch.rand(batch, 1, n_mels, frames, generator=seeded(seed))


def power(log_mel: Tensor) -> NDArray[np.float64]:
    return np.asarray(10 ** (log_mel.double().numpy() / 10))


def mix_at_snr(log_mel: Tensor, background: Tensor, snr_db: Tensor) -> Tensor:
    return to_decibels(augment.mix_at_snr(to_power(log_mel), to_power(background), snr_db))


def random_background(
    log_mel: Tensor,
    background: Tensor,
    snr_range_db: tuple[float, float],
    probability: float,
    generator: torch.Generator,
) -> Tensor:
    mixed = augment.random_background(to_power(log_mel), to_power(background), snr_range_db, probability, generator)
    return to_decibels(mixed)


def random_noise(
    log_mel: Tensor, snr_range_db: tuple[float, float], probability: float, generator: torch.Generator
) -> Tensor:
    return to_decibels(augment.random_noise(to_power(log_mel), snr_range_db, probability, generator))


TRANSFORMS: dict[str, Transform] = {
    "gain": lambda log_mel, probability, generator: random_gain(log_mel, 6.0, probability, FLOOR_DB, generator),
    "background": lambda log_mel, probability, generator: random_background(
        log_mel, log_mel.flip(0).flip(2), (3.0, 30.0), probability, generator
    ),
    "noise": lambda log_mel, probability, generator: random_noise(log_mel, (3.0, 30.0), probability, generator),
    "band mask": lambda log_mel, probability, generator: random_mask(log_mel, 2, 0.9, 3, probability, generator),
    "frame mask": lambda log_mel, probability, generator: random_mask(log_mel, 3, 0.9, 3, probability, generator),
    "mixup": lambda log_mel, _, generator: mixup(log_mel, torch.eye(len(log_mel)), 1.0, generator)[0],
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


@pytest.mark.parametrize("name", ["gain", "background", "noise"])
def test_probability_1_changes_every_crop(name: str) -> None:
    """The SNR is at most 30 dB, which lifts the power by 0.004 dB or more on average over a crop."""
    log_mel = random_crops(64)
    moved = (TRANSFORMS[name](log_mel, 1.0, seeded()) - log_mel).abs().amax(dim=(1, 2, 3))
    assert moved.min() > 4e-3


@each_optional
@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_share_of_changed_crops_follows_the_probability(transform: Transform, probability: float) -> None:
    """Three masks up to 0.9 of a 12- or 40-piece axis are all empty in at most 1/11 ** 3 of the crops."""
    log_mel = random_crops(2000)
    changed = (transform(log_mel, probability, seeded()) - log_mel).abs().amax(dim=(1, 2, 3)) > 1e-3
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


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 3.0, 17.5, 30.0])
def test_achieved_power_ratio_is_the_asked_one(snr_db: float) -> None:
    log_mel, background = random_crops(6).double(), random_crops(6, seed=10).double()
    mixed = mix_at_snr(log_mel, background, torch.full((6,), snr_db, dtype=torch.float64))
    added = power(mixed) - power(log_mel)
    achieved = 10 * np.log10(power(log_mel).mean(axis=(1, 2, 3)) / added.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(achieved, snr_db, atol=1e-9)


def test_added_power_has_the_shape_of_the_background() -> None:
    log_mel, background = random_crops(6).double(), random_crops(6, seed=10).double()
    added = power(mix_at_snr(log_mel, background, torch.zeros(6, dtype=torch.float64))) - power(log_mel)
    ratio = added / power(background)
    np.testing.assert_allclose(ratio, ratio[:, :, :1, :1].repeat(12, 2).repeat(40, 3), rtol=1e-6)


def test_each_crop_gets_its_own_ratio() -> None:
    log_mel, background = random_crops(3).double(), random_crops(3, seed=10).double()
    asked = torch.tensor([0.0, 10.0, -5.0], dtype=torch.float64)
    added = power(mix_at_snr(log_mel, background, asked)) - power(log_mel)
    achieved = 10 * np.log10(power(log_mel).mean(axis=(1, 2, 3)) / added.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(achieved, asked.numpy(), atol=1e-9)


def test_infinite_ratio_leaves_the_crop() -> None:
    log_mel = random_crops(4).double()
    mixed = mix_at_snr(log_mel, random_crops(4, seed=10).double(), torch.full((4,), torch.inf))
    torch.testing.assert_close(mixed, log_mel, atol=1e-11, rtol=0)


def test_level_of_the_background_does_not_matter() -> None:
    log_mel, background, snr_db = random_crops(4), random_crops(4, seed=10), torch.tensor([0.0, 5.0, 10.0, 20.0])
    quiet, loud = (mix_at_snr(log_mel, background + offset, snr_db) for offset in (-30.0, 40.0))
    torch.testing.assert_close(quiet, loud, atol=1e-4, rtol=0)


def test_ratios_of_background_are_uniform_over_their_range() -> None:
    log_mel, background = random_crops(3000, 2, 3).double(), random_crops(3000, 2, 3, seed=10).double()
    added = power(random_background(log_mel, background, (3.0, 30.0), 1.0, seeded())) - power(log_mel)
    achieved = 10 * np.log10(power(log_mel).mean(axis=(1, 2, 3)) / added.mean(axis=(1, 2, 3)))
    assert stats.kstest(achieved, stats.uniform(3, 27).cdf).pvalue > SIGNIFICANCE


def test_power_of_noise_is_exponentially_distributed_at_the_asked_ratio() -> None:
    log_mel = torch.full((1, 1, 64, 64), -40.0, dtype=torch.float64)
    added = (power(random_noise(log_mel, (10.0, 10.0), 1.0, seeded())) - 1e-4) / 1e-5  # 10 dB below -40 dB
    assert added.mean() == pytest.approx(1.0, abs=1e-6)
    assert stats.kstest(added.ravel(), "expon").pvalue > SIGNIFICANCE


def test_noise_differs_from_cell_to_cell_and_crop_to_crop() -> None:
    noisy = random_noise(torch.full((2, 1, 8, 8), -40.0), (0.0, 0.0), 1.0, seeded())
    assert len(torch.unique(noisy)) == 2 * 8 * 8


def covered_places(log_mel: Tensor, masked: Tensor, dim: int) -> NDArray[np.bool_]:
    """Returns which bands or frames of each crop hold its mean throughout, (batch, size); the rest is untouched."""
    mean = log_mel.double().mean(dim=(1, 2, 3), keepdim=True)
    filled = ((masked.double() - mean).abs() < 1e-4).numpy()  # (batch, 1, n_mels, frames)
    places = filled.all(axis=(1, 5 - dim))  # (batch, size)
    untouched = (masked == log_mel).numpy().all(axis=(1, 5 - dim))
    assert (places | untouched).all()
    return places


@pytest.mark.parametrize(("dim", "size"), [(2, 12), (3, 40)], ids=["bands", "frames"])
def test_one_mask_is_one_piece_of_any_width_up_to_the_share(dim: int, size: int) -> None:
    log_mel = random_crops(3000)
    covered = covered_places(log_mel, random_mask(log_mel, dim, 0.3, 1, 1.0, seeded()), dim)
    assert covered.shape == (3000, size)
    edges = np.diff(covered.astype(int), axis=1, prepend=0, append=0)
    assert ((edges == 1).sum(axis=1) <= 1).all()
    widths = covered.sum(axis=1)
    widest = int(0.3 * size)
    assert set(widths) == set(range(widest + 1))
    assert stats.chisquare(np.bincount(widths)).pvalue > SIGNIFICANCE


@pytest.mark.parametrize(("dim", "size"), [(2, 12), (3, 40)], ids=["bands", "frames"])
def test_widest_mask_lies_anywhere(dim: int, size: int) -> None:
    log_mel = random_crops(3000)
    covered = covered_places(log_mel, random_mask(log_mel, dim, 0.25, 1, 1.0, seeded()), dim)
    widest = covered[covered.sum(axis=1) == size // 4]
    firsts = widest.argmax(axis=1)
    assert stats.chisquare(np.bincount(firsts, minlength=size - size // 4 + 1)).pvalue > SIGNIFICANCE


def test_several_masks_make_at_most_as_many_pieces() -> None:
    log_mel = random_crops(500)
    covered = covered_places(log_mel, random_mask(log_mel, 3, 0.1, 3, 1.0, seeded()), 3)
    pieces = (np.diff(covered.astype(int), axis=1, prepend=0, append=0) == 1).sum(axis=1)
    assert pieces.max() == 3
    assert covered.sum(axis=1).max() <= 3 * 4


@pytest.mark.parametrize(("share", "count"), [(0.5, 0), (0.0, 2), (0.02, 2)], ids=["no mask", "no share", "below one"])
def test_mask_of_no_width_leaves_every_bit(share: float, count: int) -> None:
    log_mel = random_crops(50)
    assert torch.equal(random_mask(log_mel, 3, share, count, 1.0, seeded()), log_mel)


def test_full_share_can_mask_the_whole_crop() -> None:
    log_mel = random_crops(200, 3, 4)
    covered = covered_places(log_mel, random_mask(log_mel, 2, 1.0, 1, 1.0, seeded()), 2)
    assert covered.all(axis=1).any()


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


def test_mixup_mixes_power_and_targets_in_the_same_shares() -> None:
    """Targets that name each crop tell its share and partner; the powers are then mixed by hand."""
    log_mel = random_crops(64).double()
    mixed, targets, _ = mixup(log_mel, torch.eye(64, dtype=torch.float64), 0.4, seeded())
    shares = targets.numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert ((shares > 0).sum(axis=1) <= 2).all()
    expected = np.einsum("ij,jkmf->ikmf", shares, power(log_mel))
    np.testing.assert_allclose(10 * np.log10(expected), mixed.numpy(), atol=1e-4)


def test_partners_of_mixup_are_a_shuffle() -> None:
    _, targets, partner_of = mixup(random_crops(64, 2, 2), torch.eye(64), 5.0, seeded())
    partners = (targets - torch.diag(targets.diagonal())).argmax(dim=1)
    partners = torch.where(targets.diagonal() > 0.9999, torch.arange(64), partners)
    assert torch.equal(partners, partner_of)
    assert sorted(partners.tolist()) == list(range(64))
    assert partners.tolist() != list(range(64))


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0, 4.0])
def test_shares_of_mixup_are_beta_distributed(alpha: float) -> None:
    """A crop that meets itself shows no share; those few are left out."""
    _, targets, _ = mixup(random_crops(1000, 1, 1), torch.eye(1000), alpha, seeded())
    shares = targets.diagonal()[(targets > 0).sum(dim=1) == 2].double().numpy()
    assert len(shares) > 980
    beta = stats.beta(alpha, alpha)
    assert shares.mean() == pytest.approx(beta.mean(), abs=4 * beta.std() / np.sqrt(1000))
    assert shares.var() == pytest.approx(beta.var(), rel=0.15)
    inner = (shares > 1.1e-4) & (shares < 1 - 1.1e-4)  # the tails end at 1e-4, where a share still has a finite level
    low, high = beta.cdf([1.1e-4, 1 - 1.1e-4])
    assert stats.kstest((beta.cdf(shares[inner]) - low) / (high - low), "uniform").pvalue > SIGNIFICANCE


def test_mixup_leaves_the_targets_it_was_given() -> None:
    targets = torch.eye(8)
    _, mixed, _ = mixup(random_crops(8), targets, 1.0, seeded())
    assert torch.equal(targets, torch.eye(8))
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, targets)
