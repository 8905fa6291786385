"""Replaces crops of embeddings by the same crops of noisy copies of the recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from birdclef.strips.crops import gather_crops
from birdclef.strips.residency import Residency, Strips, load_strips
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory


@dataclass(frozen=True)
class NoisyCopies:
    """Strips of noisy copies of the training recordings. A copy has as many frames as its recording.

    Attributes:
        strips: Strips of each copy.
        rows: Index of each recording's strip in each copy, or -1 if the copy lacks it, (copies, recordings).
        probability: Share of the crops that are replaced.
    """

    strips: tuple[Strips, ...]
    rows: Tensor
    probability: float

    @classmethod
    def load(
        cls,
        copies: Sequence[FeatureDirectory],
        sha256s: Sequence[str],
        probability: float,
        device: torch.device,
        residency: Residency,
    ) -> Self:
        """Returns the copies of some recordings, in the order of the recordings.

        Args:
            copies: Feature directory of each copy.
            sha256s: sha256 of each recording.
            probability: Share of the crops that are replaced.
            device: As in `load_strips`.
            residency: As in `load_strips`.
        """
        strips, rows = [], []
        for copy in copies:
            store = StripStore(copy)
            present = [sha256 for sha256 in sha256s if sha256 in store.strips]
            place = {sha256: row for row, sha256 in enumerate(present)}
            if present:
                strips.append(load_strips(store, present, device, residency))
                rows.append(torch.tensor([place.get(sha256, -1) for sha256 in sha256s]))
        return cls(tuple(strips), torch.stack(rows) if rows else torch.empty(0, len(sha256s)), probability)

    def replace_crops(self, crops: Tensor, rows: Tensor, positions: Tensor, generator: torch.Generator) -> Tensor:
        """Returns crops of which a share comes from a random copy, (batch, 1, channels, frames).

        Args:
            crops: (batch, 1, channels, frames).
            rows: Index of each crop's recording, (batch,) on the CPU.
            positions: Position in the strip of each frame of a crop, (batch, frames) on the CPU.
            generator: Source of randomness, on the CPU.
        """
        if not self.strips:
            return crops
        chosen = torch.rand(len(rows), generator=generator) < self.probability
        which = torch.randint(len(self.strips), (len(rows),), generator=generator)
        for number, strips in enumerate(self.strips):
            own = self.rows[number][rows]  # (batch,)
            taken = (chosen & (which == number) & (own >= 0)).nonzero().flatten()
            if len(taken):
                noisy = gather_crops(strips, own[taken], positions[taken])
                crops = crops.index_copy(0, taken.to(crops.device), noisy.to(crops.device))
        return crops
