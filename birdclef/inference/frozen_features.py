"""Features of recordings from a pretrained backbone that has not been trained on birds."""

import numpy as np
import torch
from numpy.typing import NDArray

from birdclef.inference.views import window_batches
from birdclef.model.network import SpeciesModel
from birdclef.strips.crops import gather_windows
from birdclef.strips.residency import Strips
from birdclef.strips.windows import plan_windows


@torch.inference_mode()
def pool_features(model: SpeciesModel, strips: Strips, frames: int, batch_windows: int) -> NDArray[np.float32]:
    """Returns the mean of the pooled backbone features over each recording's windows, (recordings, width).

    Args:
        model: Model in eval mode.
        strips: Strips of the recordings.
        frames: Length of a window; it is also the stride.
        batch_windows: Windows per forward pass.
    """
    rows, firsts = plan_windows(strips.lengths, frames, frames)
    device = model.mean_db.device
    features = torch.cat(
        [
            model.encode(gather_windows(strips, *batch, frames).to(device)).float().cpu()
            for batch in window_batches(rows, firsts, batch_windows)
        ]
    )  # (windows, width)
    counts = torch.bincount(rows, minlength=len(strips)).tolist()
    return torch.stack([windows.mean(dim=0) for windows in features.split(counts)]).numpy()
