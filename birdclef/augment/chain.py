"""Turns crops into augmented views. This is the only part of training that differs for log-mel and embeddings."""

import copy
from typing import Protocol, Self

import torch
from torch import Tensor

from birdclef.augment.band_medians import band_medians
from birdclef.augment.embeddings import drop_channels, mix_embeddings, random_noise
from birdclef.augment.log_mel import draw_rates, draw_warp, random_gain
from birdclef.augment.masks import cover, draw_cover
from birdclef.augment.mixing_at_ratio import mix_background, mix_levelled, to_decibels, to_power
from birdclef.augment.song_filter import draw_filter, filter_song
from birdclef.augment.synthetic_noise import draw_noise, synthesise_noise
from birdclef.config.augment import AugmentConfig, EmbeddingAugmentConfig
from birdclef.config.train import TrainConfig
from birdclef.strips.backgrounds import Backgrounds, build_backgrounds
from birdclef.strips.input_statistics import channel_statistics
from birdclef.strips.residency import Strips
from cache.config.features import FeatureConfig, LogMelConfig
from cache.front_end.mel_scale import bands_between

_FLOOR_STRIDE = 4
"""The median level of a band is taken over every so many frames, which is faster. At a hop of a quarter of the FFT the
frames next to these share three quarters of their samples with them."""


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

    def mask(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        """Returns crops with random parts that the model's normalisation turns into 0, (batch, 1, channels, frames).

        Masks come last, because sound that is added later would show through them.
        """
        ...


class LogMelAugmentation:
    """Augmentation of log-mel: time warp and stretch, gain, filter, background, noise and masks.

    Attributes:
        backgrounds: Sources of the backgrounds; None: no view gets a background.
    """

    def __init__(
        self,
        settings: AugmentConfig,
        features: LogMelConfig,
        backgrounds: Backgrounds | None,
        crop_frames: int,
        mean_db: Tensor | None,
        device: torch.device,
    ) -> None:
        self._settings = settings
        self._crop_frames = crop_frames
        self._floor_db = features.floor_db
        song = bands_between(features, *settings.song_hz)
        self._song = (
            song if song.start < song.stop else slice(0, features.n_mels)
        )  # only by default, see `check_member`
        self._mean_db = mean_db
        self._noise = torch.from_numpy(synthesise_noise(features)).to(device)  # (colours, all_frames, n_mels)
        self.backgrounds = backgrounds

    def with_settings(self, settings: AugmentConfig) -> Self:
        """Returns this augmentation with other probabilities and numbers of masks; sources of sound stay the same."""
        other = copy.copy(self)
        other._settings = settings
        return other

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
        """Returns crops with gain, filter, background and noise, (batch, 1, n_mels, frames) in dB."""
        settings, (batch, _, _, frames) = self._settings, crops.shape
        if settings.gain_probability:
            crops = random_gain(crops, settings.gain_db, settings.gain_probability, self._floor_db, generator)
        power = self._filter(crops, generator)
        noise = draw_noise(self._noise, batch, frames, generator)
        for added, snr_db, probability in (
            *((to_power(one), settings.background_snr_db, settings.background_probability) for one in others),
            (noise, settings.noise_snr_db, settings.noise_probability),
        ):
            power = mix_background(power, added, snr_db, probability, generator, self._song)
        return to_decibels(power)

    def _filter(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the power of crops whose song is filtered, (batch, 1, n_mels, frames)."""
        settings, (batch, _, n_mels, _) = self._settings, crops.shape
        power = to_power(crops)
        if not settings.filter_probability:  # the floor takes time
            return power
        gain_db = draw_filter(batch, n_mels, settings.filter_db, settings.filter_probability, generator)
        floor = band_medians(crops[..., ::_FLOOR_STRIDE], gain_db.any(dim=1))
        return filter_song(power, to_power(floor), gain_db)

    def mix(self, crops: Tensor, share: Tensor, partner: Tensor) -> Tensor:
        """Returns crops mixed in power at the same level of song, (batch, 1, n_mels, frames) in dB."""
        return mix_levelled(crops, share, partner, self._song)

    def mask(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        """Returns crops with masked bands and frames, (batch, 1, n_mels, frames) in dB."""
        settings, (batch, _, n_mels, frames) = self._settings, crops.shape
        if not settings.mask_probability:  # the medians take time
            return crops
        bands, times = (
            draw_cover(batch, size, share, count, settings.mask_probability, generator)
            for size, share, count in (
                (n_mels, settings.frequency_mask_share, settings.frequency_masks),
                (frames, settings.time_mask_share, settings.time_masks),
            )
        )
        if self._mean_db is not None:
            return cover(crops, bands, times, self._mean_db)
        # A band that is masked in all frames is constant, so its median is any level that it is set to.
        return cover(crops, bands, times, band_medians(crops, times.any(dim=1)))


class EmbeddingAugmentation:
    """Augmentation of embeddings: noise, and channels that are 0 at the model's input."""

    def __init__(self, settings: EmbeddingAugmentConfig, crop_frames: int, mean: Tensor, deviation: Tensor) -> None:
        self._settings = settings
        self._crop_frames = crop_frames
        self._mean = mean
        self._deviation = deviation

    def draw_time_map(self, batch: int, generator: torch.Generator) -> Tensor:
        """Returns the positions of consecutive windows, (batch, windows)."""
        return torch.arange(self._crop_frames, dtype=torch.float32, device=generator.device).expand(batch, -1)

    def gather_others(self, batch: int, generator: torch.Generator) -> tuple[()]:  # noqa: ARG002 - of the protocol
        """Returns no further crops, because embeddings get no background."""
        return ()

    def augment(self, crops: Tensor, *others: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Returns crops with noise, (batch, 1, channels, windows)."""
        settings = self._settings
        return random_noise(crops, settings.noise_share * self._deviation, settings.noise_probability, generator)

    def mix(self, crops: Tensor, share: Tensor, partner: Tensor) -> Tensor:
        """Returns crops mixed linearly, (batch, 1, channels, windows)."""
        return mix_embeddings(crops, share, partner)

    def mask(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        """Returns crops without some channels, (batch, 1, channels, windows)."""
        return drop_channels(crops, self._settings.channel_dropout, self._mean, generator)


def build_augmentation(
    config: TrainConfig,
    features: FeatureConfig,
    strips: Strips,
    mean: Tensor | float,
    device: torch.device,
    background: Strips | None = None,
) -> Augmentation:
    """Returns the augmentation for a kind of features.

    Args:
        config: Settings of the member; its augmentation suits the kind of `features` (`feature_kind.check_member`).
        features: Settings of the features in the strips.
        strips: Strips of the training recordings.
        mean: Mean that the model subtracts from its input, of all values or of each channel, (channels, 1). A model
            that subtracts each band's median does not use it.
        device: Device on which crops are augmented.
        background: Strips of the user's own noise; None: there are none. Embeddings are mixed with it in the store.
    """
    crop_frames, mean = features.count_frames(config.clip_seconds), torch.as_tensor(mean, device=device)
    if isinstance(config.augment, EmbeddingAugmentConfig):
        deviation = channel_statistics(strips)[1].to(device)
        return EmbeddingAugmentation(config.augment, crop_frames, mean, deviation)
    steady = None if config.model.normalisation == "band_median" else mean
    log_mel = features.compared_log_mel  # for log-mel, these are the features themselves
    backgrounds = build_backgrounds(config.augment, features, strips, background, crop_frames)
    return LogMelAugmentation(config.augment, log_mel, backgrounds, crop_frames, steady, device)
