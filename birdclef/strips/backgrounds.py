"""Draws backgrounds: quiet passages of the training recordings, and crops of the user's own noise."""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from birdclef.config.augment import AugmentConfig
from birdclef.strips.crops import draw_offsets, gather_windows
from birdclef.strips.noise_bank import NoiseBank, build_noise_bank
from birdclef.strips.residency import Strips
from cache.config.features import FeatureConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderNoise:
    """Crops of the user's own noise, from anywhere; each file is drawn as often as the others.

    Attributes:
        strips: Strips of the noise.
        crop_frames: Length of a crop.
    """

    strips: Strips
    crop_frames: int

    def gather(self, batch: int, generator: torch.Generator) -> Tensor:
        """Returns random crops in dB, (batch, 1, n_mels, crop_frames)."""
        rows = torch.randint(len(self.strips), (batch,), generator=generator)
        firsts = draw_offsets(self.strips.lengths[rows], self.crop_frames, generator).long()
        return gather_windows(self.strips, rows, firsts, self.crop_frames)


@dataclass(frozen=True)
class Backgrounds:
    """One or two sources of backgrounds.

    Attributes:
        sources: Quiet passages of the training recordings, the user's own noise, or both in this order.
        folder_share: Share of the backgrounds that come from the second source, if there are two.
    """

    sources: tuple[NoiseBank | FolderNoise, ...]
    folder_share: float

    def gather(self, batch: int, generator: torch.Generator) -> Tensor:
        """Returns random backgrounds in dB, (batch, 1, n_mels, crop_frames).

        Args:
            batch: Number of backgrounds.
            generator: Source of randomness, on the CPU.
        """
        first, *others = (source.gather(batch, generator) for source in self.sources)
        if not others:
            return first
        from_folder = torch.rand(batch, generator=generator) < self.folder_share
        return torch.where(from_folder.view(-1, 1, 1, 1).to(first.device), others[0].to(first.device), first)


def build_backgrounds(
    settings: AugmentConfig, features: FeatureConfig, strips: Strips, folder: Strips | None, crop_frames: int
) -> Backgrounds | None:
    """Returns the sources of backgrounds; None if no background is wanted, or there is none.

    Args:
        settings: Share of the views with a background, and share of the backgrounds from the folder.
        features: Settings of the log-mel in the strips.
        strips: Strips of the training recordings.
        folder: Strips of the user's own noise; None: there are none.
        crop_frames: Length of a crop.
    """
    if not settings.background_probability:
        return None
    share = settings.background_folder_share
    own = () if folder is None or not share else (FolderNoise(folder, crop_frames),)
    if own and share == 1:
        return Backgrounds(own, share)
    bank = build_noise_bank(strips, features, crop_frames)
    logger.info("train: recordings with quiet passages that serve as background: %d of %d", len(bank), len(strips))
    if len(bank):
        return Backgrounds((bank, *own), share)
    if not own:
        logger.warning(
            "train: no recording has a passage that is quiet enough to serve as background, so no view gets a "
            "background. Set data.background to a folder with wind, rain or traffic."
        )
        return None
    return Backgrounds(own, share)
