import numpy as np
import pytest
from numpy.typing import NDArray

from cache.corpus.soundscape import BACKGROUNDS, Microphone, Site, draw_microphone, draw_site, move_away, record
from cache.corpus.soundscape import render_background as render

RATE = 32_000


def band_db(waveform: NDArray[np.float32], low: float, high: float) -> float:
    """Power between two frequencies, dB re full-scale square."""
    power = np.square(np.abs(np.fft.rfft(waveform))) * 2 / len(waveform) ** 2
    frequency = np.fft.rfftfreq(len(waveform), 1 / RATE)
    return float(10 * np.log10(power[(frequency >= low) & (frequency < high)].sum()))


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_background_has_the_site_s_level(kind: str) -> None:
    other = "rain" if kind != "rain" else "wind"
    background = render(Site(kind, other, -40.0, 5000.0, 10.0), 3 * RATE, RATE, np.random.default_rng(0))
    assert background.shape == (3 * RATE,)
    assert background.dtype == np.float32
    level_db = 20 * np.log10(np.sqrt(np.square(background).mean()))
    assert level_db == pytest.approx(-40 + 10 * np.log10(1 + 0.4**2), abs=0.3)  # powers of both kinds add


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("wind", 20, 500),
        ("rain", 2000, 16_000),
        ("stream", 200, 2500),
        ("insects", 4000, 6000),
        ("traffic", 30, 400),
    ],
)
def test_each_background_has_its_own_band(kind: str, low: float, high: float) -> None:
    other = "stream" if kind != "stream" else "traffic"
    background = render(Site(kind, other, 0.0, 5000.0, 10.0), 3 * RATE, RATE, np.random.default_rng(0))
    assert band_db(background, low, high) > -1.5  # of a total of 0.6 dB


def test_sites_have_two_different_backgrounds() -> None:
    rng = np.random.default_rng(0)
    assert all(site.main != site.other for site in (draw_site(-40.0, rng) for _ in range(50)))


def test_microphone_is_deaf_above_its_limit_and_adds_its_noise() -> None:
    microphone = Microphone((0.0,) * 22, 6000.0, -60.0, 0.0)
    white = 0.05 * np.random.default_rng(0).standard_normal(4 * RATE, np.float32)
    heard = record(white, microphone, RATE, np.random.default_rng(1))
    assert band_db(heard, 1000, 5000) == pytest.approx(band_db(white, 1000, 5000), abs=0.2)
    floor_db = -60 + 10 * np.log10(2000 / 16_000)  # white noise of -60 dB, the part in 13 to 15 kHz
    assert band_db(heard, 13_000, 15_000) == pytest.approx(floor_db, abs=0.6)


def test_gain_raises_the_level_but_never_clips() -> None:
    tone = (0.01 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)
    by_gain = [
        record(tone, Microphone((0.0,) * 22, 14_000.0, -90.0, gain_db), RATE, np.random.default_rng(0))
        for gain_db in (0.0, 12.0, 60.0)
    ]
    assert band_db(by_gain[1], 900, 1100) - band_db(by_gain[0], 900, 1100) == pytest.approx(12, abs=0.1)
    assert np.abs(by_gain[2]).max() == pytest.approx(0.97, abs=1e-3)


def test_recorders_differ_in_colour() -> None:
    rng = np.random.default_rng(0)
    responses = np.array([draw_microphone(-60.0, 0.0, rng).response_db for _ in range(100)])
    assert responses.std(axis=0).min() > 1.5


def test_distance_dulls_and_smears_but_keeps_the_peak() -> None:
    click = np.zeros(RATE, np.float32)
    click[RATE // 4] = 0.5
    close, far = (move_away(click, RATE, nearness, np.random.default_rng(0)) for nearness in (1.0, 0.0))
    for heard in (close, far):
        assert np.abs(heard).max() == pytest.approx(0.5, rel=1e-4)
    treble_loss = [band_db(one, 6000, 12_000) - band_db(one, 500, 2000) for one in (close, far)]
    assert treble_loss[1] < treble_loss[0] - 10
    late = RATE // 4 + round(0.1 * RATE)
    assert np.abs(far[late:]).max() > 10 * np.abs(close[late:]).max()


def test_silence_stays_silent_at_any_distance() -> None:
    assert not move_away(np.zeros(RATE, np.float32), RATE, 0.5, np.random.default_rng(0)).any()
