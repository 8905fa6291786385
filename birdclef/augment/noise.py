"""Noise that augmentation adds: log-mel of synthesised Gaussian noise in three colours."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from torch import Tensor

from cache.config.features import LogMelConfig
from cache.front_end.log_mel import compute_log_mel

_EXPONENTS = (0.0, 1.0, 2.0)
"""White, pink and brown: the power falls with the frequency to this power. White and pink noise come from microphones
and their amplifiers, brown noise is like wind and distant traffic."""
_SECONDS = 60.0
_FLAT_BELOW_HZ = 20.0  # so that the power of pink and brown noise stays finite
_FLOOR_DB = -200.0  # far below all noise, whatever the floor of the strips is


@lru_cache(maxsize=2)
def synthesise_noise(features: LogMelConfig) -> NDArray[np.float32]:
    """Returns the mel power of a minute of white, pink and brown noise, (colours, frames, n_mels); always the same one.

    The noise is synthesised as sound and passes through the front end. So its cells have the spread that noise has in
    each band, and the likeness between neighbouring bands and between overlapping frames: a low band holds one or two
    bins of the spectrum, a high band dozens, and frames share most of their samples.

    Args:
        features: Settings of the strips to which the noise is added.
    """
    wanted = features.count_frames(_SECONDS)
    margin = -(-features.n_fft // features.hop_length)  # frames that reach over the ends of the sound
    samples = next_fast_len((wanted + 2 * margin) * features.hop_length, real=True)
    spectrum = rfft(np.random.default_rng(0).standard_normal(samples))
    hertz = rfftfreq(samples, 1 / features.sample_rate).clip(min=_FLAT_BELOW_HZ)
    settings = features.model_copy(update={"floor_db": _FLOOR_DB})
    colours = []
    for exponent in _EXPONENTS:
        sound = irfft(spectrum * (hertz / _FLAT_BELOW_HZ) ** (-exponent / 2), samples)
        strip = compute_log_mel(sound.astype(np.float32), settings)[margin : margin + wanted]  # (wanted, n_mels)
        colours.append(10 ** (strip / 10))
    return np.stack(colours).astype(np.float32)


def draw_noise(noise: Tensor, batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """Returns crops of noise as power, (batch, 1, n_mels, frames); each has a random colour and a random place.

    Args:
        noise: Mel power of noise, (colours, all_frames, n_mels), on the device of the generator.
        batch: Number of crops.
        frames: Length of a crop.
        generator: Source of randomness.
    """
    device, (colours, length, n_mels) = generator.device, noise.shape
    colour = torch.randint(colours, (batch, 1), generator=generator, device=device)
    first = torch.randint(length, (batch, 1), generator=generator, device=device)
    places = colour * length + (first + torch.arange(frames, device=device)) % length  # (batch, frames)
    crops = noise.flatten(0, 1).index_select(0, places.flatten()).view(batch, frames, n_mels)
    return crops.transpose(1, 2).unsqueeze(1)  # (batch, 1, n_mels, frames)
