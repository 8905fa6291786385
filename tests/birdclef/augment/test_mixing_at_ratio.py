"""Mixtures against physics: powers added in numpy, and levels that are constructed."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from birdclef.augment import mixing_at_ratio as augment
from birdclef.augment.mixing_at_ratio import mix_levelled, to_decibels, to_power
from birdclef.augment.mixup import mixup

SIGNIFICANCE = 1e-3
SONG = slice(3, 9)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_crops(batch: int, n_mels: int = 12, frames: int = 40, seed: int = 9) -> Tensor:
    """Returns crops between -80 and -20 dB, (batch, 1, n_mels, frames) float32."""
    return -80 + 60 * torch.rand(batch, 1, n_mels, frames, generator=seeded(seed))


def power(log_mel: Tensor) -> NDArray[np.float64]:
    return np.asarray(10 ** (log_mel.double().numpy() / 10))


def mix_at_snr(log_mel: Tensor, background: Tensor, snr_db: Tensor) -> Tensor:
    return to_decibels(augment.mix_at_snr(to_power(log_mel), to_power(background), snr_db, SONG))


def song_ratio_db(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the ratio of the mean powers in the bands of song, dB, (batch,)."""
    levels = (each[:, :, SONG].mean(axis=(1, 2, 3)) for each in (first, second))
    return np.asarray(10 * np.log10(np.divide(*levels)))


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 3.0, 17.5, 30.0])
def test_achieved_power_ratio_is_the_asked_one(snr_db: float) -> None:
    log_mel, background = random_crops(6).double(), random_crops(6, seed=10).double()
    mixed = mix_at_snr(log_mel, background, torch.full((6,), snr_db, dtype=torch.float64))
    added = power(mixed) - power(log_mel)
    achieved = song_ratio_db(power(log_mel), added)
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
    achieved = song_ratio_db(power(log_mel), added)
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
    log_mel, background = random_crops(3000, 4, 3).double(), random_crops(3000, 4, 3, seed=10).double()
    mixed = augment.mix_background(to_power(log_mel), to_power(background), (3.0, 30.0), 1.0, seeded(), slice(3, 4))
    achieved = song_ratio_db(power(log_mel), mixed.numpy() - power(log_mel))
    assert stats.kstest(achieved, stats.uniform(3, 27).cdf).pvalue > SIGNIFICANCE


def test_rumble_does_not_hide_the_song_in_a_ratio() -> None:
    """Song at -40 dB over a rumble at 0 dB: a background at 10 dB below the song is at -50 dB where the song is."""
    log_mel, background = torch.full((1, 1, 12, 5), -40.0), torch.full((1, 1, 12, 5), -70.0)
    log_mel[:, :, :3], background[:, :, :3] = 0.0, -20.0
    mixed = mix_at_snr(log_mel, background, torch.tensor([10.0]))
    added = 10 * np.log10(power(mixed) - power(log_mel))
    np.testing.assert_allclose(added[:, :, 3:], -50.0, atol=1e-3)
    np.testing.assert_allclose(added[:, :, :3], 0.0, atol=1e-3)


def test_mixup_mixes_levelled_power_and_targets_in_the_same_shares() -> None:
    """Targets that name each crop tell its share and partner; the powers are then levelled and mixed by hand."""
    log_mel = random_crops(64).double() + torch.linspace(-30, 0, 64).view(64, 1, 1, 1)
    mixed, targets, _ = mixup(
        log_mel, torch.eye(64, dtype=torch.float64), 0.4, seeded(), lambda *mixed: mix_levelled(*mixed, SONG)
    )
    shares, powers = targets.numpy(), power(log_mel)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert ((shares > 0).sum(axis=1) <= 2).all()
    levels = powers[:, :, SONG].mean(axis=(1, 2, 3))  # (64,)
    expected = np.einsum("ij,jkmf->ikmf", shares / levels, powers) * levels[:, None, None, None]
    np.testing.assert_allclose(10 * np.log10(expected), mixed.numpy(), atol=1e-4)


def test_larger_label_belongs_to_the_louder_sound_whatever_the_levels_were() -> None:
    """Each crop sings in one frame of its own, at levels 30 dB apart; one has a rumble. The rest is at -90 dB."""
    log_mel = torch.full((2, 1, 12, 2), -90.0, dtype=torch.float64)
    log_mel[0, :, 3:9, 0], log_mel[1, :, 3:9, 1] = -60.0, -30.0
    log_mel[0, :, :3] = 0.0
    for share in (0.1, 0.45, 0.55, 0.9):
        shares = torch.tensor([share, 1 - share], dtype=torch.float64).view(2, 1, 1, 1)
        heard = power(mix_levelled(log_mel, shares, torch.tensor([1, 0]), SONG))[:, 0, 4]  # (crops, frames)
        np.testing.assert_allclose(heard[0] / heard[0].sum(), [share, 1 - share], atol=1e-3)
        np.testing.assert_allclose(heard[1] / heard[1].sum(), [share, 1 - share], atol=1e-3)


def test_mixture_keeps_the_level_of_its_crop() -> None:
    log_mel = random_crops(6).double() + torch.linspace(-30, 0, 6).view(6, 1, 1, 1)
    mixed = mix_levelled(log_mel, torch.full((6, 1, 1, 1), 0.3), torch.arange(6).flip(0), SONG)
    np.testing.assert_allclose(song_ratio_db(power(mixed), power(log_mel)), 0, atol=1e-5)
