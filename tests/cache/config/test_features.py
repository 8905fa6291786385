"""Front-end settings: what is refused, and what makes other features."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from cache.config.features import EmbeddingConfig, LogMelConfig
from cache.workspace.keys import content_key


@pytest.mark.parametrize(
    "values",
    [
        {"sample_rate": 32_000, "fmax": 16_000.1},
        {"sample_rate": 22_050},  # the default fmax of 16 kHz lies above 11 025 Hz
        {"fmin": 500.0, "fmax": 500.0},
        {"fmin": 600.0, "fmax": 500.0},
    ],
)
def test_band_outside_the_spectrum_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="must satisfy fmin < fmax <= sample_rate / 2"):
        LogMelConfig.model_validate(values)


def test_band_up_to_half_the_sample_rate_is_accepted() -> None:
    assert LogMelConfig(sample_rate=22_050, fmax=11_025.0).fmax == 11_025.0


def test_frames_per_second_is_the_rate_over_the_hop() -> None:
    assert LogMelConfig().frames_per_second == 62.5  # 32 000 / 512


def test_workers_stay_out_of_the_identity_of_features() -> None:
    assert LogMelConfig(workers=1).identity() == LogMelConfig(workers=7).identity() == LogMelConfig().identity()
    assert "workers" not in LogMelConfig(workers=1).identity()


@pytest.mark.parametrize(
    "changed",
    [
        LogMelConfig(sample_rate=48_000),
        LogMelConfig(n_fft=1024),
        LogMelConfig(hop_length=320),
        LogMelConfig(n_mels=64),
        LogMelConfig(fmin=50.0),
        LogMelConfig(fmax=14_000.0),
        LogMelConfig(floor_db=-80.0),
    ],
)
def test_each_front_end_setting_changes_the_identity(changed: LogMelConfig) -> None:
    assert changed.identity() != LogMelConfig().identity()


def test_whole_number_and_fraction_of_the_same_value_have_one_key() -> None:
    whole = LogMelConfig.model_validate({"fmin": 20, "fmax": 16_000})
    assert content_key(whole.identity()) == content_key(LogMelConfig(fmin=20.0, fmax=16_000.0).identity())


def test_odd_fft_length_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"n_fft=2047 is odd, .* Set n_fft=2048"):
        LogMelConfig(n_fft=2047)


def test_seconds_are_counted_in_whole_frames_and_never_in_none(tiny_model: Path) -> None:
    log_mel = LogMelConfig()  # 62.5 frames per second
    assert [log_mel.count_frames(seconds) for seconds in (4.0, 0.1, 0.001)] == [250, 6, 1]
    embedding = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model), "stride_seconds": 0.25})
    assert [embedding.count_frames(seconds) for seconds in (3.0, 0.6, 0.1)] == [12, 2, 1]


def test_stride_that_makes_endless_windows_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ValidationError, match=r"stride_seconds\n.*greater than or equal to 0\.01"):
        EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model), "stride_seconds": 1e-9})
