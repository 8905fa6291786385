"""Configuration of the augmentation."""

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
)

from cache.config.section import ConfigSection, Probability


class AugmentConfig(ConfigSection):
    """Augmentation of cached log-mel crops on the device; each is drawn per view."""

    gain_probability: Probability = 0.5
    """Share of views that get a gain."""
    gain_db: NonNegativeFloat = 6.0
    """Gain drawn from ± this, dB."""
    background_probability: Probability = 0.5
    """Share of views that get a background crop added in power."""
    background_snr_db: tuple[float, float] = (3.0, 30.0)
    """Range of the signal-to-background ratio, dB."""
    noise_probability: Probability = 0.2
    """Share of views that get Gaussian noise added in power."""
    noise_snr_db: tuple[float, float] = (3.0, 30.0)
    """Range of the signal-to-noise ratio, dB."""
    stretch_probability: Probability = 0.2
    """Share of views that are stretched in time."""
    stretch_rate: tuple[PositiveFloat, PositiveFloat] = (0.9, 1.1)
    """Range of the playback rate."""
    warp_probability: Probability = 0.3
    """Share of views that are warped in time."""
    warp_frames: NonNegativeInt = 20
    """Largest shift of the warped point, frames."""
    mask_probability: Probability = 0.5
    """Share of views that get each of the masks below."""
    frequency_masks: NonNegativeInt = 2
    """Masks over bands."""
    frequency_mask_share: Probability = 0.1
    """Largest share of the bands under one mask."""
    time_masks: NonNegativeInt = 2
    """Masks over frames."""
    time_mask_share: Probability = 0.2
    """Largest share of the frames under one mask."""
    mixup_alpha: NonNegativeFloat = 0.0
    """Beta parameter of mixup; 0: off. Needs an objective that carries soft labels: `ce`, or contrast `soft`."""


class EmbeddingAugmentConfig(ConfigSection):
    """Augmentation of crops of embeddings on the device; each is drawn per view."""

    noise_share: NonNegativeFloat = 0.2
    """Deviation of Gaussian noise, in deviations of the channel."""
    noise_probability: Probability = 0.5
    """Share of views that get it."""
    channel_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the channels that are 0 in all windows of a view."""
    mixup_alpha: NonNegativeFloat = 0.0
    """Beta parameter of mixup; 0: off. Needs an objective that carries soft labels: `ce`, or contrast `soft`."""
