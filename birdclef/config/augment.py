"""Configuration of augmentation, for log-mel and for embeddings."""

from typing import Annotated, ClassVar

from pydantic import (
    Field,
)

from cache.config.section import (
    AmountFromZero,
    Ascending,
    ConfigSection,
    CountFromZero,
    Decibels,
    Frequency,
    MostDecibels,
    Probability,
)

_Rate = Annotated[float, Field(gt=0, le=100)]
"""Playback rate."""


class AugmentConfig(ConfigSection):
    """Augmentation of log-mel crops on the device. Each view draws its own values."""

    gain_probability: Probability = 0.0
    """Share of views whose level is changed by a random gain. It must be 0 with `model.normalisation=band_median`,
    because that removes every gain."""
    gain_db: MostDecibels = 6.0
    """Largest gain, dB. The gain is drawn uniformly between minus and plus this value."""
    filter_probability: Probability = 0.5
    """Share of views whose song passes a random filter, which is smooth over the bands. Song is the power above each
    band's median; the steady background stays, so every normalisation lets the filter through."""
    filter_db: MostDecibels = 6.0
    """Largest gain of the filter in a band, dB. Gains lie between minus and plus this value."""
    song_hz: Ascending[tuple[Frequency, Frequency]] = (1_000.0, 10_000.0)
    """Lowest and highest frequency of song, Hz. The ratios to background and noise, and the level in mixup, are taken
    over the mel bands that peak between them. If none does, other values than the default are refused, and the default
    means all bands. Lower the first for owls, doves or bitterns."""
    background_probability: Probability = 0.5
    """Share of views to which a background is added in power: quiet passages of the training recordings, or sounds of
    `data.background`."""
    background_folder_share: Probability = 0.5
    """Share of the backgrounds that come from `data.background`, if it is set; the others are quiet passages of the
    training recordings."""
    background_snr_db: Ascending[tuple[Decibels, Decibels]] = (3.0, 30.0)
    """Lowest and highest ratio of the view to the background over the bands of song, dB."""
    noise_probability: Probability = 0.2
    """Share of views that get Gaussian noise added in power: white, pink or brown, each as often."""
    noise_snr_db: Ascending[tuple[Decibels, Decibels]] = (3.0, 30.0)
    """Lowest and highest ratio of the view to the noise over the bands of song, dB."""
    stretch_probability: Probability = 0.2
    """Share of views that are played faster or slower."""
    stretch_rate: Ascending[tuple[_Rate, _Rate]] = (0.9, 1.1)
    """Lowest and highest playback rate; 1 is the original speed."""
    warp_probability: Probability = 0.3
    """Share of views in which one point is moved in time."""
    warp_frames: CountFromZero = 20
    """Largest shift of the moved point, frames."""
    mask_probability: Probability = 0.5
    """Share of views that get frequency masks. Time masks are drawn separately, with the same share. Masked cells are 0
    at the model's input."""
    frequency_masks: int = Field(default=2, ge=0, le=1000)
    """Number of masks over mel bands."""
    frequency_mask_share: Probability = 0.1
    """Largest share of the bands that all frequency masks of a view cover together."""
    time_masks: int = Field(default=2, ge=0, le=1000)
    """Number of masks over frames."""
    time_mask_share: Probability = 0.2
    """Largest share of the frames that all time masks of a view cover together."""
    mixup_alpha: AmountFromZero = 0.0
    """Parameter of mixup's Beta distribution; 0 switches mixup off. Both sounds are brought to the same level first.
    Mixup needs an objective with soft labels: set `objective.kind=ce` or `objective.contrast=soft`."""

    folder_fields: ClassVar[frozenset[str]] = frozenset({"background_folder_share"})
    """Fields that only a run with `data.background` reads."""

    @property
    def reads_folder(self) -> bool:
        """Whether training reads the sounds of `data.background`."""
        return self.background_probability > 0 and self.background_folder_share > 0


class EmbeddingAugmentConfig(ConfigSection):
    """Augmentation of crops of embeddings on the device. Each view draws its own values."""

    noise_share: AmountFromZero = 0.2
    """Standard deviation of Gaussian noise, as a share of the channel's standard deviation."""
    noise_probability: Probability = 0.5
    """Share of views that get noise."""
    channel_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the channels that are 0 at the model's input in all segments of a view."""
    background_probability: Probability = 0.5
    """Share of views that come from a noisy copy of their recording. Such copies exist if `data.background` is set."""
    mixup_alpha: AmountFromZero = 0.0
    """Parameter of mixup's Beta distribution; 0 switches mixup off. Mixup needs an objective with soft labels: set
    `objective.kind=ce` or `objective.contrast=soft`."""

    folder_fields: ClassVar[frozenset[str]] = frozenset({"background_probability"})
    """Fields that only a run with `data.background` reads."""

    @property
    def reads_folder(self) -> bool:
        """Whether training reads noisy copies, which are made with the sounds of `data.background`."""
        return self.background_probability > 0
