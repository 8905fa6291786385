"""Sections are frozen, documented, and refuse unknown keys and values out of range."""

import pytest
from pydantic import ValidationError

from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.config.section import ConfigSection
from cache.config.split import SplitConfig


@pytest.mark.parametrize(
    ("section", "values"),
    [(DataConfig, {"root": "data"}), (LogMelConfig, {}), (SplitConfig, {})],
    ids=["data", "features", "split"],
)
def test_unknown_key_is_refused(section: type[ConfigSection], values: dict[str, str]) -> None:
    section.model_validate(values)
    with pytest.raises(ValidationError, match=r"n_mel\n.*Extra inputs are not permitted"):
        section.model_validate({**values, "n_mel": 64})


def test_section_is_frozen() -> None:
    features = LogMelConfig()
    with pytest.raises(ValidationError, match="frozen"):
        features.n_mels = 64
    assert features.n_mels == 128


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (LogMelConfig, {"sample_rate": 0}),
        (LogMelConfig, {"n_mels": 0}),
        (LogMelConfig, {"hop_length": -1}),
        (LogMelConfig, {"fmin": -1.0}),
        (LogMelConfig, {"workers": 0}),
        (DataConfig, {"root": "data", "min_seconds": 0.0}),
        (DataConfig, {"root": "data", "max_quarantined_share": 1.1}),
        (DataConfig, {}),
        (SplitConfig, {"folds": 1}),
    ],
)
def test_value_out_of_range_is_refused(section: type[ConfigSection], values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        section.model_validate(values)


def test_each_field_is_documented() -> None:
    for section in (DataConfig, LogMelConfig, SplitConfig):
        assert all(field.description for field in section.model_fields.values())
