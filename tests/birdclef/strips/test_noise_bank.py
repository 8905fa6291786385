"""The noise bank against a plain loop, and on synthesised songs whose pauses are known."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from birdclef.strips.noise_bank import build_noise_bank
from birdclef.strips.residency import ResidentStrips
from cache.config.features import LogMelConfig

FEATURES = LogMelConfig(sample_rate=1600, n_fft=64, hop_length=80, n_mels=5, fmin=0, fmax=800)  # 20 frames/s
GUARD, LEAST = 2, 5  # frames in 0.1 s and 0.25 s
FRAMES = 12

LayOut = Callable[[Sequence[NDArray[np.float16]]], ResidentStrips]


def sing(pauses: Sequence[tuple[int, int]], frames: int, level: float = -20.0, seed: int = 0) -> NDArray[np.float16]:
    """Returns a strip at a level, with pauses 30 dB below it."""
    levels = np.full(frames, level)
    for first, end in pauses:
        levels[first:end] -= 30
    noise = np.random.default_rng(seed).normal(0, 1, (frames, 5))
    return (levels[:, None] + noise).astype(np.float16)


def find_quiet_frames(strip: NDArray[np.float16]) -> list[tuple[float, list[int]]]:
    """Returns mean level and frames of each quiet passage, frame by frame."""
    power = (10 ** (strip.astype(np.float64) / 10)).mean(axis=1)
    level = 10 * np.log10(power)
    limit = np.quantile(level, 0.95) - 15
    passages: list[list[int]] = [[]]
    for frame in range(len(level)):
        around = level[max(0, frame - GUARD) : frame + GUARD + 1]
        if max(around) <= limit:
            passages[-1].append(frame)
        elif passages[-1]:
            passages.append([])
    return [(float(level[frames].mean()), frames) for frames in passages if len(frames) >= LEAST]


def test_crop_is_the_quietest_passages_in_the_order_of_time(lay_out: LayOut) -> None:
    generator = np.random.default_rng(1)
    loudness = np.repeat(generator.choice([-15.0, -45.0, -50.0], 60), 12)
    strip = (loudness[:, None] + generator.normal(0, 2, (720, 5))).astype(np.float16)
    bank = build_noise_bank(lay_out([strip]), FEATURES, 50)
    wanted: list[list[int]] = []
    for _, frames in sorted(find_quiet_frames(strip)):
        wanted.append(frames[: 50 - sum(map(len, wanted))])
    assert len(find_quiet_frames(strip)) > len([frames for frames in wanted if frames]) > 1
    assert bank.frames[0].tolist() == sorted(frame for frames in wanted for frame in frames)


def test_song_is_never_background(lay_out: LayOut) -> None:
    """The pauses are a sixth of the recording, so a crop of twelve frames in one piece would hold song."""
    pauses = [(10, 20), (50, 60), (90, 100)]
    bank = build_noise_bank(lay_out([sing(pauses, 180)]), FEATURES, FRAMES)
    inside = {frame for first, end in pauses for frame in range(first + GUARD, end - GUARD)}
    assert len(bank.frames[0]) == FRAMES
    assert set(bank.frames[0].tolist()) <= inside


def test_only_recordings_with_pauses_have_an_entry(lay_out: LayOut) -> None:
    strips = [sing([], 100), sing([(40, 60)], 100), sing([(40, 46)], 100), sing([(0, 9)], 30)]
    bank = build_noise_bank(lay_out(strips), FEATURES, FRAMES)
    assert bank.rows.tolist() == [1, 3]  # the third pause is shorter than 0.25 s and what is left out around it


def test_short_pauses_are_repeated_to_a_crop(lay_out: LayOut) -> None:
    bank = build_noise_bank(lay_out([sing([(20, 29)], 60)]), FEATURES, FRAMES)
    assert bank.frames[0].tolist() == [22, 23, 24, 25, 26, 22, 23, 24, 25, 26, 22, 23]


@pytest.mark.parametrize("gain_db", [-40.0, 15.0])
def test_level_of_the_recording_does_not_matter(lay_out: LayOut, gain_db: float) -> None:
    pauses = [(10, 30)]
    banks = [
        build_noise_bank(lay_out([sing(pauses, 90, level)]), FEATURES, FRAMES).frames for level in (-20, -20 + gain_db)
    ]
    assert torch.equal(*banks)


def test_digital_silence_is_no_background(lay_out: LayOut) -> None:
    strip = sing([(40, 60)], 100)
    strip[:20] = -100
    frames = build_noise_bank(lay_out([strip]), FEATURES, FRAMES).frames
    assert frames.min() >= 42
    strip[40:60] = -100
    assert len(build_noise_bank(lay_out([strip]), FEATURES, FRAMES)) == 0


def test_drawn_crops_are_the_frames_of_the_bank(lay_out: LayOut) -> None:
    strips = [sing([(10, 30)], 60, seed=1), sing([(5, 12), (30, 37)], 60, seed=2)]
    bank = build_noise_bank(lay_out(strips), FEATURES, FRAMES)
    crops = bank.gather(20, torch.Generator().manual_seed(0))
    wanted = [strips[row][frames].T.astype(np.float32) for row, frames in zip(bank.rows, bank.frames, strict=True)]
    which = [[np.array_equal(crop[0], each) for each in wanted] for crop in crops.numpy()]
    assert crops.shape == (20, 1, 5, FRAMES)
    assert np.sum(which, axis=1).tolist() == [1] * 20
    assert np.all(np.sum(which, axis=0) > 0)
