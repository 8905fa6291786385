import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.store.encoding import FLOAT16, StripEncoding

LEVELS = np.linspace(-100, 27.5, 4001, dtype=np.float32)[:, np.newaxis]


def test_bytes_are_half_decibels_above_the_floor() -> None:
    encoding = StripEncoding.of("uint8", floor_db=-100.0)
    strip = np.float32([[-100.0, -99.5, -99.3, -0.1, 27.5]])
    np.testing.assert_array_equal(encoding.encode(strip), np.uint8([[0, 1, 1, 200, 255]]))
    np.testing.assert_array_equal(encoding.decode(encoding.encode(strip)), [[-100.0, -99.5, -99.5, 0.0, 27.5]])


def test_bytes_miss_by_a_quarter_of_a_decibel_at_most_and_float16_by_less() -> None:
    for encoding, largest in ((StripEncoding.of("uint8", -100.0), 0.25), (FLOAT16, 0.03125)):
        error = np.abs(encoding.decode(encoding.encode(LEVELS)).astype(np.float64) - LEVELS)
        assert 0.8 * largest < error.max() <= largest + 1e-6


def test_what_lies_beyond_the_bytes_is_cut_off() -> None:
    encoding = StripEncoding.of("uint8", floor_db=-80.0)
    strip = np.float32([[-90.0, 60.0]])
    np.testing.assert_array_equal(encoding.decode(encoding.encode(strip)), [[-80.0, 47.5]])


@given(steps=st.lists(st.integers(0, 255), min_size=1), floor_db=st.sampled_from([-100.0, -80.0, -63.5]))
def test_decoding_and_encoding_again_changes_nothing(steps: list[int], floor_db: float) -> None:
    encoding = StripEncoding.of("uint8", floor_db)
    stored = np.uint8([steps])
    np.testing.assert_array_equal(encoding.encode(encoding.decode(stored).astype(np.float32)), stored)


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_encoded_strip_has_the_type_that_was_asked_for(dtype: str) -> None:
    encoding = StripEncoding.of(dtype, -100.0)  # type: ignore[arg-type]
    assert encoding.encode(LEVELS).dtype == dtype
    assert encoding.decode(encoding.encode(LEVELS)).dtype == np.float16


def test_float16_is_rounded_as_numpy_rounds() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = np.sort(every[np.abs(every) < 60_000].astype(np.float32))
    between = (values[:-1] + values[1:]) / 2
    for strip in (values, between, np.nextafter(between, np.float32(np.inf))):
        np.testing.assert_array_equal(FLOAT16.encode(strip[:, np.newaxis]), strip[:, np.newaxis].astype(np.float16))
