"""Turns crops into augmented views. This is the only part of training that differs for log-mel and embeddings."""

from typing import Protocol

import torch
from torch import Tensor

from birdclef.augment.embeddings import augment_embeddings, mix_embeddings
from birdclef.augment.log_mel import (
    draw_rates,
    draw_warp,
    mix_power,
    random_background,
    random_gain,
    random_mask,
    random_noise,
    to_decibels,
    to_power,
)
from birdclef.config.augment import AugmentConfig, EmbeddingAugmentConfig
from birdclef.strips.backgrounds import Backgrounds, build_backgrounds
from birdclef.strips.input_statistics import channel_statistics
from birdclef.strips.residency import Strips
from cache.config.features import FeatureConfig


class Augmentation(Protocol):
    """Augmentation of crops of strips; all random values come from the generator."""

    def draw_time_map(self, batch: int, generator: torch.Generator) -> Tensor:
        """Returns the source position of each frame of each crop, relative to the crop's start, (batch, frames)."""
        ...

    def gather_others(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Returns further crops of the strips that `augment` needs, (batch, 1, channels, frames) each."""
        ...

    def augment(self, crops: Tensor, *others: Tensor, generator: torch.Generator) -> Tensor:
        """Returns augmented crops, (batch, 1, channels, frames), on their device."""
        ...

    def mix(self, crops: Tensor, share: Tensor, partner: Tensor) -> Tensor:
        """Returns crops mixed with other crops of the batch.

        Args:
            crops: (batch, 1, channels, frames).
            share: Share of each crop in its mixture, (batch, 1, 1, 1).
            partner: Index of the other crop in each mixture, (batch,).
        """
        ...


class LogMelAugmentation:
    """Augmentation of log-mel: time warp and stretch, gain, background, noise and masks.

    Attributes:
        backgrounds: Sources of the backgrounds; None: no view gets a background.
    """

    def __init__(
        self, settings: AugmentConfig, backgrounds: Backgrounds | None, crop_frames: int, floor_db: float
    ) -> None:
        self._settings = settings
        self._crop_frames = crop_frames
        self._floor_db = floor_db
        self.backgrounds = backgrounds

    def draw_time_map(self, batch: int, generator: torch.Generator) -> Tensor:
        """Returns warped and stretched positions, (batch, frames)."""
        settings = self._settings
        rates = draw_rates(batch, settings.stretch_rate, settings.stretch_probability, generator)  # (batch,)
        warped = draw_warp(batch, self._crop_frames, settings.warp_frames, settings.warp_probability, generator)
        return warped * rates.unsqueeze(1)  # (batch, frames)

    def gather_others(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Returns backgrounds in dB, (batch, 1, n_mels, frames), if there are any."""
        return (self.backgrounds.gather(batch, generator),) if self.backgrounds else ()

    def augment(self, crops: Tensor, *others: Tensor, generator: torch.Generator) -> Tensor:
        """Returns crops with gain, background, noise and masks, (batch, 1, n_mels, frames) in dB."""
        return augment_log_mel(crops, next(iter(others), None), self._settings, self._floor_db, generator)

    def mix(self, crops: Tensor, share: Tensor, partner: Tensor) -> Tensor:
        """Returns crops mixed in power, (batch, 1, n_mels, frames) in dB."""
        return mix_power(crops, share, partner)


class EmbeddingAugmentation:
    """Augmentation of embeddings: noise, and channels set to 0."""

    def __init__(
        self, settings: EmbeddingAugmentConfig, crop_frames: int, deviation: Tensor, device: torch.device
    ) -> None:
        self._settings = settings
        self._crop_frames = crop_frames
        self._deviation = deviation.to(device)

    def draw_time_map(self, batch: int, generator: torch.Generator) -> Tensor:
        """Returns the positions of consecutive windows, (batch, windows)."""
        return torch.arange(self._crop_frames, dtype=torch.float32, device=generator.device).expand(batch, -1)

    def gather_others(self, batch: int, generator: torch.Generator) -> tuple[()]:  # noqa: ARG002 - of the protocol
        """Returns no further crops, because embeddings get no background."""
        return ()

    def augment(self, crops: Tensor, *others: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Returns crops with noise and some channels set to 0, (batch, 1, channels, windows)."""
        return augment_embeddings(crops, self._settings, self._deviation, generator)

    def mix(self, crops: Tensor, share: Tensor, partner: Tensor) -> Tensor:
        """Returns crops mixed linearly, (batch, 1, channels, windows)."""
        return mix_embeddings(crops, share, partner)


def build_augmentation(
    settings: AugmentConfig | EmbeddingAugmentConfig,
    features: FeatureConfig,
    strips: Strips,
    crop_frames: int,
    device: torch.device,
    background: Strips | None = None,
) -> Augmentation:
    """Returns the augmentation for a kind of features.

    Args:
        settings: Augmentation settings for the kind of `features` (`feature_kind.check_member`).
        features: Settings of the features in the strips.
        strips: Strips of the training recordings.
        crop_frames: Length of a crop, frames.
        device: Device on which crops are augmented.
        background: Strips of the user's own noise; None: there are none. Embeddings are mixed with it in the store.
    """
    if isinstance(settings, EmbeddingAugmentConfig):
        return EmbeddingAugmentation(settings, crop_frames, channel_statistics(strips)[1], device)
    backgrounds = build_backgrounds(settings, features, strips, background, crop_frames)
    return LogMelAugmentation(settings, backgrounds, crop_frames, features.compared_log_mel.floor_db)


def augment_log_mel(
    log_mel: Tensor, background: Tensor | None, settings: AugmentConfig, floor_db: float, generator: torch.Generator
) -> Tensor:
    """Returns crops with gain, background (if there is one), noise and masks, (batch, 1, n_mels, frames) in dB."""
    log_mel = random_gain(log_mel, settings.gain_db, settings.gain_probability, floor_db, generator)
    power = to_power(log_mel)
    if background is not None:
        share = settings.background_probability
        power = random_background(power, to_power(background), settings.background_snr_db, share, generator)
    power = random_noise(power, settings.noise_snr_db, settings.noise_probability, generator)
    log_mel = to_decibels(power)
    for dim, share, count in (
        (2, settings.frequency_mask_share, settings.frequency_masks),
        (3, settings.time_mask_share, settings.time_masks),
    ):
        log_mel = random_mask(log_mel, dim, share, count, settings.mask_probability, generator)
    return log_mel
