from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cache.corpus.song import Grammar, Phrase, Syllable, compose_song, render_syllable, sing, vary_grammar

FLAT = Syllable((0.0, 0.0), 0.5, (0.0, -20.0))
FALLING = Syllable((0.5, -0.5), 0.5, (0.0,))
GRAMMAR = Grammar(
    centre_hz=2000.0,
    inventory=(FLAT, FALLING),
    phrases=(Phrase((0,), 1, 2), Phrase((1, 0), 2, 3)),
    gap_seconds=0.1,
    pause_seconds=1.0,
)


def power_spectrum(waveform: NDArray[np.float32], sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    spectrum = np.square(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))))
    return np.fft.rfftfreq(len(waveform), 1 / sample_rate).astype(np.float64), spectrum.astype(np.float64)


def loudest_hz(waveform: NDArray[np.float32], sample_rate: int) -> float:
    frequency, power = power_spectrum(waveform, sample_rate)
    return float(frequency[np.argmax(power)])


def test_flat_syllable_sounds_at_its_centre_with_its_overtone_20_db_below() -> None:
    waveform = render_syllable(FLAT, 2000.0, 0.5, 32_000)
    frequency, power = power_spectrum(waveform, 32_000)
    assert waveform.shape == (16_000,)
    assert waveform.dtype == np.float32
    assert loudest_hz(waveform, 32_000) == pytest.approx(2000, abs=4)
    near = {hertz: power[np.abs(frequency - hertz) < 20].sum() for hertz in (2000, 4000)}
    assert 10 * np.log10(near[2000] / near[4000]) == pytest.approx(20, abs=0.5)


def test_contour_moves_the_pitch_by_its_octaves() -> None:
    waveform = render_syllable(FALLING, 2000.0, 0.5, 32_000)
    start, end = loudest_hz(waveform[:1600], 32_000), loudest_hz(waveform[-1600:], 32_000)
    assert start == pytest.approx(2000 * 2**0.45, rel=0.03)  # the first tenth is centred on +0.45 octaves
    assert end == pytest.approx(2000 * 2**-0.45, rel=0.03)


def test_partials_above_the_nyquist_frequency_are_left_out() -> None:
    waveform = render_syllable(FLAT, 9000.0, 0.5, 32_000)  # 18 kHz would alias to 14 kHz
    frequency, power = power_spectrum(waveform, 32_000)
    assert power[frequency > 12_000].sum() < 1e-6 * power.sum()


def test_buzz_adds_sidebands_at_its_rate() -> None:
    waveform = render_syllable(replace(FLAT, buzz_hz=100.0, partials_db=(0.0,)), 2000.0, 0.5, 32_000)
    frequency, power = power_spectrum(waveform, 32_000)
    sideband = power[np.abs(frequency - 2100) < 10].sum()
    assert 10 * np.log10(power[np.abs(frequency - 2000) < 10].sum() / sideband) == pytest.approx(6.02, abs=0.5)


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.4])
def test_syllables_begin_and_end_silent_and_stay_below_full_scale(seconds: float) -> None:
    waveform = render_syllable(replace(FLAT, warble_octaves=0.1, warble_hz=30), 3000.0, seconds, 22_050)
    assert abs(waveform[0]) < 1e-3
    assert abs(waveform[-1]) < 1e-3
    assert 0.2 < np.abs(waveform).max() <= 1.0


def test_songs_keep_to_the_grammar_s_repeats() -> None:
    rng = np.random.default_rng(0)
    songs = [compose_song(GRAMMAR, rng) for _ in range(300)]
    assert 40 < songs.count([0, 1, 0, 1, 0]) < 80  # 0.92^3 unslipped songs, a quarter of these with this many repeats
    assert max(song.count(1) for song in songs) == 3
    assert any(song[0] == 1 for song in songs)  # now and then a phrase comes too early, or one is missing
    assert all(songs)


def test_recording_holds_songs_and_silence() -> None:
    waveform = sing(GRAMMAR, 10.0, 22_050, np.random.default_rng(1))
    assert waveform.shape == (220_500,)
    assert waveform.dtype == np.float32
    silent = float((waveform == 0).mean())
    assert 0.1 < silent < 0.8
    assert np.abs(waveform).max() <= 1.0


def test_song_depends_on_its_generator_alone() -> None:
    first, again, other = (sing(GRAMMAR, 3.0, 22_050, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_drift_lowers_the_song_from_note_to_note() -> None:
    steady = replace(GRAMMAR, inventory=(FLAT,), phrases=(Phrase((0,), 4, 4),), pause_seconds=50.0, drift_octaves=-1.0)
    waveform = sing(steady, 4.0, 22_050, np.random.default_rng(2))
    sounding = np.flatnonzero(waveform)
    first = waveform[sounding[0] : sounding[0] + 8000]
    last = waveform[sounding[-1] - 8000 : sounding[-1]]
    assert np.log2(loudest_hz(last, 22_050) / loudest_hz(first, 22_050)) == pytest.approx(-1.0, abs=0.1)


def test_no_spread_leaves_the_song_as_it_is() -> None:
    assert vary_grammar(GRAMMAR, 0.0, np.random.default_rng(0)) == GRAMMAR


def test_individuals_differ_but_little() -> None:
    rng = np.random.default_rng(0)
    individuals = [vary_grammar(GRAMMAR, 1.0, rng) for _ in range(200)]
    octaves = np.log2([one.centre_hz / GRAMMAR.centre_hz for one in individuals])
    assert 0.02 < octaves.std() < 0.15
    assert all(phrase.fewest <= phrase.most for one in individuals for phrase in one.phrases)
