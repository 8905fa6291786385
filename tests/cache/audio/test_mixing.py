"""Mono waveforms of channels that agree, differ or cancel; what must come out is computed by NumPy."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cache.audio.mixing import SPAN_SECONDS, MonoMix, cut_spans

RATE = 100
SPAN = SPAN_SECONDS * RATE
Waveform = NDArray[np.float32]


def noise(seed: int, samples: int = SPAN) -> Waveform:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def mix(channels: Sequence[Waveform]) -> Waveform:
    return MonoMix().mix(np.stack(channels, axis=1), RATE)


def mix_in_pieces(channels: NDArray[np.float32], size: int) -> Waveform:
    mono = MonoMix()
    pieces = ((channels[first : first + size], RATE) for first in range(0, len(channels), size))
    return np.concatenate([mono.mix(block, rate) for block, rate in cut_spans(pieces)])


@pytest.mark.parametrize("count", [2, 3, 4, 16])
def test_unrelated_channels_are_mixed(count: int) -> None:
    channels = [noise(seed) for seed in range(count)]
    np.testing.assert_allclose(mix(channels), np.mean(channels, axis=0), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("correlation", "kept"), [(1.0, False), (-0.85, False), (-0.95, True), (-1.0, True)])
def test_channel_is_kept_below_a_correlation_of_minus_nine_tenths(correlation: float, kept: bool) -> None:
    left, other = noise(1), noise(2)
    other -= left * np.float32(np.dot(left, other) / np.dot(left, left))
    other *= np.float32(np.sqrt(np.dot(left, left) / np.dot(other, other)))
    right = np.float32(correlation) * left + np.float32(np.sqrt(1 - correlation**2)) * other
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(correlation, abs=1e-4)
    np.testing.assert_allclose(mix([left, right]), left if kept else (left + right) / 2, rtol=0, atol=1e-7)


def test_much_louder_channel_is_kept() -> None:
    left = noise(1)
    np.testing.assert_array_equal(mix([-0.69 * left, left]), left)  # less than half of its power
    np.testing.assert_array_equal(mix([-0.72 * left, left]), np.float32(-0.72) * left)


def test_dead_channel_and_silence_are_mixed() -> None:
    left, dead = noise(1), np.zeros(SPAN, np.float32)
    np.testing.assert_array_equal(mix([left, dead]), left / 2)
    np.testing.assert_array_equal(mix([dead, dead]), dead)


def test_two_of_four_channels_cancel() -> None:
    left, soft = noise(1), 0.1 * noise(2)
    np.testing.assert_array_equal(mix([left, -left, soft, -soft]), left)


def test_channel_is_kept_from_the_first_minute_that_cancels_to_the_end() -> None:
    silence, left, other, end = np.zeros(SPAN, np.float32), noise(1), noise(2), noise(3)
    waveform = mix([np.concatenate([silence, left, other, end]), np.concatenate([silence, -left, other, other])])
    np.testing.assert_array_equal(waveform, np.concatenate([silence, left, other, end]))


@pytest.mark.parametrize("size", [101, 777, SPAN - 1, SPAN, SPAN + 1, 5 * SPAN])
@pytest.mark.parametrize("opposite_from", [0, SPAN // 2, SPAN + SPAN // 4, 3 * SPAN])
def test_pieces_of_any_size_give_the_mix_of_the_whole(size: int, opposite_from: int) -> None:
    left, right = noise(1, 3 * SPAN + 50), noise(2, 3 * SPAN + 50)
    right[opposite_from:] = -left[opposite_from:]
    channels = np.stack([left, right], axis=1)
    whole = MonoMix().mix(channels, RATE)
    np.testing.assert_array_equal(mix_in_pieces(channels, size), whole)
    from_planes = MonoMix().mix(np.stack([left, right]).T, RATE)
    np.testing.assert_array_equal(from_planes, whole)


def test_one_channel_passes_through_as_it_comes() -> None:
    blocks = [(noise(seed, 10)[:, np.newaxis], RATE) for seed in range(3)]
    for (block, _), (given, _) in zip(cut_spans(iter(blocks)), blocks, strict=True):
        assert block is given


def test_turn_from_stereo_to_mono_and_back_begins_anew() -> None:
    left = noise(1, 50)
    opposite, mono, stereo = np.stack([left, -left], 1), left[:, np.newaxis], np.stack([left, noise(2, 50)], 1)
    mix_of = MonoMix()
    blocks = cut_spans((block, RATE) for block in (opposite, mono, stereo, opposite))
    waveforms = [mix_of.mix(block, rate) for block, rate in blocks]
    assert [len(waveform) for waveform in waveforms] == [50, 50, 100]
    np.testing.assert_array_equal(waveforms[0], left)
    np.testing.assert_array_equal(waveforms[2][:50], (left + noise(2, 50)) / 2)
