"""Sections are frozen, documented, and refuse unknown keys and values out of range."""

import numpy as np
import pytest
from pydantic import PositiveFloat, ValidationError
from sklearn.model_selection import StratifiedKFold

from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.config.section import Ascending, ConfigSection
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
        (DataConfig, {"root": ""}),
        (DataConfig, {"root": "data", "metadata": ""}),
        (LogMelConfig, {"floor_db": -1e5}),
        (SplitConfig, {"folds": 1}),
        (SplitConfig, {"seed": -1}),
        (SplitConfig, {"seed": 2**32}),
    ],
)
def test_value_out_of_range_is_refused(section: type[ConfigSection], values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        section.model_validate(values)


class Switched(ConfigSection):
    on: bool = False
    count: int = 1
    share: float | None = None


@pytest.mark.parametrize("given", [True, False])
def test_boolean_is_no_number(given: bool) -> None:
    for name in ("count", "share"):
        with pytest.raises(ValidationError, match=rf"{name}\n.*should be a number, not true or false"):
            Switched.model_validate({name: given})
    assert Switched.model_validate({"on": given}).on is given


class _Nested(ConfigSection):
    several: tuple[float, ...] = ()
    pairs: list[tuple[int, int]] | None = None
    shares: dict[str, float] | None = None
    lists: dict[str, tuple[float, ...]] | None = None
    switches: tuple[bool, ...] = ()


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("several", [True]),
        ("several", [0.5, False]),
        ("pairs", [[1, 2], [3, True]]),
        ("shares", {"a": 0.5, "b": True}),
        ("lists", {"a": [1.0], "b": [1.0, True]}),
    ],
)
def test_boolean_is_no_number_in_lists_and_mappings(field: str, given: object) -> None:
    with pytest.raises(ValidationError, match=rf"{field}\n.*should be a number, not true or false"):
        _Nested.model_validate({field: given})
    assert _Nested(switches=(True, False)).switches == (True, False)
    assert _Nested.model_validate({"pairs": [[1, 0]]}).pairs == [(1, 0)]


def test_each_field_is_documented() -> None:
    for section in (DataConfig, LogMelConfig, SplitConfig):
        assert all(field.description for field in section.model_fields.values())


class _Numbers(ConfigSection):
    plain: float = 0.0
    positive: PositiveFloat | None = None
    several: tuple[float, ...] = ()
    limits: Ascending[tuple[float, float]] = (0.0, 1.0)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), "nan", "inf"])
@pytest.mark.parametrize("field", ["plain", "positive", "several", "limits"])
def test_number_that_is_not_finite_is_refused(field: str, number: object) -> None:
    given = {"several": [number], "limits": [0.0, number]}.get(field, number)
    with pytest.raises(ValidationError, match=f"{field}(.|\n)*finite|greater than 0"):
        _Numbers.model_validate({field: given})


def test_range_starts_with_its_lowest_value() -> None:
    assert _Numbers(limits=(2.0, 2.0)).limits == (2.0, 2.0)
    with pytest.raises(ValidationError, match=r"must not be above the second: set \[3, 30\]"):
        _Numbers(limits=(30.0, 3.0))


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_each_seed_that_is_accepted_works_in_numpy_and_scikit_learn(seed: int) -> None:
    assert SplitConfig(seed=seed).seed == seed
    np.random.default_rng(seed)
    next(StratifiedKFold(2, shuffle=True, random_state=seed).split([[0]] * 4, [0, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"[Ss]eed"):
        next(StratifiedKFold(2, shuffle=True, random_state=2**32).split([[0]] * 4, [0, 0, 1, 1]))
