"""Mixes channels to mono, except where they cancel each other."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SPAN_SECONDS = 60
"""Time over which channels are compared."""

_LEAST_SHARE = 0.1
"""Least power of the mix, as a share of what unrelated channels would have. Less means a correlation below -0.9."""


class MonoMix:
    """Mixes one recording. It gives the same samples for the whole recording as for pieces that begin with a span.

    The mix is the mean over the channels. Channels of opposite polarity (a microphone that is wired the other way)
    cancel in it. So the power of each span of a minute is compared: n unrelated channels have a mix with the sum of
    their powers / n**2. From the first span whose mix has less than a tenth of that, one channel is taken instead, up
    to the end of the recording: the first with at least half the power of the loudest.
    """

    def __init__(self) -> None:
        self._channels = 1
        self._kept: int | None = None

    def mix(self, channels: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """Returns the mono waveform of a piece, (samples,).

        Args:
            channels: (samples, channels). The first sample must begin a span.
            rate: Sample rate, Hz.
        """
        if channels.shape[1] != self._channels:
            self._channels, self._kept = channels.shape[1], None
        if self._channels == 1:
            return channels[:, 0]
        waveform = _mean_of(channels)  # (samples,)
        for first in range(0, len(channels), SPAN_SECONDS * rate):
            span = slice(first, first + SPAN_SECONDS * rate)
            if self._kept is None:
                self._kept = _kept_channel(channels[span], waveform[span])
            if self._kept is not None:
                waveform[first:] = channels[first:, self._kept]
                break
        return waveform


def cut_spans(blocks: Iterator[tuple[NDArray[np.float32], int]]) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yields the same samples, (samples, channels), and their rate in blocks that begin with a span.

    A block of one channel is yielded as it is. Where the number of channels changes, spans begin anew.
    """
    waiting: list[NDArray[np.float32]] = []
    held_rate = 0
    for block, rate in blocks:
        if waiting and waiting[0].shape[1] != block.shape[1]:
            yield np.concatenate(waiting), held_rate
            waiting = []
        if block.shape[1] == 1:
            yield block, rate
            continue
        span, held = SPAN_SECONDS * rate, sum(map(len, waiting))
        if held >= span:
            joined = np.concatenate(waiting)
            yield joined[: held - held % span], rate
            waiting = [joined[held - held % span :]] if held % span else []
        waiting.append(block)
        held_rate = rate
    if waiting:
        yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting), held_rate


def _mean_of(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the mean over the channels, (samples,).

    NumPy's own mean over a short axis takes 20 times as long.

    Args:
        channels: (samples, channels).
    """
    waveform = channels[:, 0]  # (samples,)
    if channels.shape[1] > 1:
        waveform = waveform + channels[:, 1]
        for channel in range(2, channels.shape[1]):
            waveform += channels[:, channel]
        waveform /= channels.shape[1]
    return waveform


def _kept_channel(channels: NDArray[np.float32], mix: NDArray[np.float32]) -> int | None:
    """Returns the channel to take instead of the mix, or None.

    Args:
        channels: (samples, channels).
        mix: (samples,).
    """
    count = channels.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.dot(mix, mix) < _LEAST_SHARE * _power(channels) / count**2:
            return None
        powers = [_power(channels[:, channel : channel + 1]) for channel in range(count)]
    return next(channel for channel, power in enumerate(powers) if power >= max(powers) / 2)


def _power(channels: NDArray[np.float32]) -> float:
    """Returns the sum of all squares."""
    if channels.flags.c_contiguous:
        return float(np.dot(channels.ravel(), channels.ravel()))  # a third of the time of the channels one by one
    return float(sum(np.dot(channel, channel) for channel in channels.T))
