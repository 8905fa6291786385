import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from cache.store.fragment import DamagedPartError, Failure, Fragment
from cache.store.part_writer import CHUNK_FRAMES, PartWriter
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory

CHANNELS = 3


def random_strips(lengths: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        name: generator.uniform(-100, 40, (frames, CHANNELS)).astype(np.float32) for name, frames in lengths.items()
    }


def write_part(store: Path, strips: dict[str, np.ndarray]) -> str:
    writer = PartWriter(FeatureDirectory(store), CHANNELS)
    for sha256, strip in strips.items():
        writer.add_strip(sha256, strip)
    return writer.publish()


def read_all_bytes(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "lengths",
    [
        {"a": 1},
        {"a": 8},
        {"a": 3, "b": 4, "c": 1},
        {"a": 7, "b": 2, "c": 30, "d": 1, "e": 8, "f": 8},
        {"a": 100},
        {"a": 8, "b": 16, "c": 24},
    ],
)
def test_strips_round_trip_across_chunk_boundaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: dict[str, int]
) -> None:
    monkeypatch.setattr("cache.store.part_writer.CHUNK_FRAMES", 8)
    strips = random_strips(lengths)
    part = write_part(tmp_path, strips)
    store = StripStore(FeatureDirectory(tmp_path))
    for sha256, strip in strips.items():
        np.testing.assert_array_equal(store.read(sha256), strip.astype(np.float16))
    array = zarr.open_array(str(tmp_path / "parts" / part), mode="r")
    assert array.shape == (sum(lengths.values()), CHANNELS)
    assert array.chunks == (8, CHANNELS)
    assert array.dtype == np.float16


def test_strip_longer_than_a_chunk_round_trips(tmp_path: Path) -> None:
    strips = random_strips({"a": CHUNK_FRAMES - 1, "b": CHUNK_FRAMES + 2, "c": 5})
    write_part(tmp_path, strips)
    for sha256, strip in strips.items():
        np.testing.assert_array_equal(StripStore(FeatureDirectory(tmp_path)).read(sha256), strip.astype(np.float16))


def test_stored_value_is_within_half_a_step_of_float16(tmp_path: Path) -> None:
    strips = random_strips({"a": 2000})
    write_part(tmp_path, strips)
    error = np.abs(StripStore(FeatureDirectory(tmp_path)).read("a").astype(np.float64) - strips["a"])
    step = 2.0 ** (np.floor(np.log2(np.abs(strips["a"]))) - 10)  # float16 has ten bits of mantissa
    assert (error <= step / 2).all()
    assert error.max() <= 0.03125  # 64 ... 128 dB: the step is 1 / 16
    assert error.max() > 0.02


def test_strip_is_described_by_place_and_loudness(tmp_path: Path) -> None:
    first = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, -9.0]], np.float32)
    second = np.full((3, CHANNELS), -7.12345, np.float32)
    part = write_part(tmp_path, {"a": first, "b": second})
    strips = StripStore(FeatureDirectory(tmp_path)).strips
    a, b = strips["a"], strips["b"]
    assert (a.sha256, a.part, a.start, a.frames, a.peak_db, a.mean_db) == ("a", part, 0, 2, 5.0, 1.0)
    assert (b.sha256, b.part, b.start, b.frames, b.peak_db, b.mean_db) == ("b", part, 2, 3, -7.123, -7.123)


def test_failures_are_recorded_with_reason_and_detail(tmp_path: Path) -> None:
    writer = PartWriter(FeatureDirectory(tmp_path), CHANNELS)
    writer.add_failure(Failure("bad", "empty", "no sample decodes"))
    part = writer.publish()
    store = StripStore(FeatureDirectory(tmp_path))
    assert "bad" in store
    assert store.failures == {"bad": Failure("bad", "empty", "no sample decodes")}
    assert store.strips == {}
    fragment = json.loads((tmp_path / "index" / f"{part}.json").read_text())
    assert fragment == {
        "strips": [],
        "failures": [{"sha256": "bad", "reason": "empty", "detail": "no sample decodes", "limit": None}],
    }


@pytest.mark.parametrize("turned", [False, True])
def test_failure_that_promises_least_of_another_attempt_stands(tmp_path: Path, turned: bool) -> None:
    low, high = Failure("a", "timeout", "", limit=10.0), Failure("a", "timeout", "", limit=20.0)
    final, other = Failure("b", "crash", ""), Failure("b", "timeout", "", limit=10.0)
    for failures in [(high, other), (low, final)] if turned else [(low, final), (high, other)]:
        writer = PartWriter(FeatureDirectory(tmp_path), CHANNELS)
        for failure in failures:
            writer.add_failure(failure)
        writer.publish()
    assert StripStore(FeatureDirectory(tmp_path)).failures == {"a": high, "b": final}


def test_failure_of_the_newest_decoder_stands(tmp_path: Path) -> None:
    old = [Failure("a", "undecodable", "no"), Failure("b", "timeout", "", limit=90.0), Failure("c", "undecodable", "")]
    new = [
        Failure("a", "timeout", "", limit=10.0, decoder=1),
        Failure("b", "undecodable", "", decoder=1),
        Failure("c", "undecodable", "", decoder=1),
    ]
    for failures in (new, old):
        writer = PartWriter(FeatureDirectory(tmp_path), CHANNELS)
        for failure in failures:
            writer.add_failure(failure)
        writer.publish()
    assert list(StripStore(FeatureDirectory(tmp_path)).failures.values()) == new


def test_fragment_of_an_earlier_release_is_read_and_keeps_its_name_and_bytes(tmp_path: Path) -> None:
    text = (
        '{"strips": [], "failures": [{"sha256": "bad", "reason": "undecodable", "detail": "no", "limit": null}, '
        '{"sha256": "slow", "reason": "timeout", "detail": "", "limit": 10.0}]}'
    )
    path = tmp_path / "a.json"
    path.write_text(text)
    fragment = Fragment.read(path)
    assert fragment.failures == (Failure("bad", "undecodable", "no"), Failure("slow", "timeout", "", limit=10.0))
    assert fragment.to_json() == text
    # sha256 of these failures as JSON with sorted names and no spaces, as earlier releases named their parts
    assert fragment.identity == "1e787d34f7154503"


@pytest.mark.parametrize(
    "content", ["", "{", "null", '{"strips": []}', '{"strips": [{"sha256": "a"}], "failures": []}']
)
def test_torn_fragment_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    part = write_part(tmp_path, random_strips({"a": 4}))
    (tmp_path / "index" / f"{part}.json").write_text(content)
    with pytest.raises(DamagedPartError, match=rf"{part}\.json is not a readable index fragment.*Run birdclef verify"):
        StripStore(FeatureDirectory(tmp_path))


def test_reading_an_unknown_strip_names_it_and_the_way_out(tmp_path: Path) -> None:
    write_part(tmp_path, random_strips({"a": 4}))
    with pytest.raises(KeyError, match=r"no strip of audio zzz\. Run the features stage again"):
        StripStore(FeatureDirectory(tmp_path)).read("zzz")


def test_strip_of_zeros_is_stored_like_any_other(tmp_path: Path) -> None:
    write_part(tmp_path, {"a": np.zeros((CHUNK_FRAMES + 5, CHANNELS), np.float32)})
    np.testing.assert_array_equal(
        StripStore(FeatureDirectory(tmp_path)).read("a"), np.zeros((CHUNK_FRAMES + 5, CHANNELS))
    )


def test_empty_store_contains_nothing(tmp_path: Path) -> None:
    store = StripStore(FeatureDirectory(tmp_path))
    assert store.strips == {}
    assert store.failures == {}
    assert "a" not in store


def test_load_returns_strips_in_the_order_asked_for_and_duplicates_once(tmp_path: Path) -> None:
    strips = random_strips({"a": 5, "b": 3, "c": 8, "d": 2, "e": 1})
    write_part(tmp_path, {name: strips[name] for name in "abc"})
    write_part(tmp_path, {name: strips[name] for name in "de"})
    asked = ["c", "e", "a", "c", "d", "a"]
    values, starts, lengths = StripStore(FeatureDirectory(tmp_path)).load(asked)
    assert values.shape == (5 + 8 + 2 + 1, CHANNELS)  # b was not asked for
    assert values.dtype == np.float16
    assert list(lengths) == [8, 1, 5, 8, 2, 5]
    for name, start, length in zip(asked, starts, lengths, strict=True):
        np.testing.assert_array_equal(values[start : start + length], strips[name].astype(np.float16))
    assert starts[0] == starts[3]
    assert starts[2] == starts[5]
    covered = {row for start, length in zip(starts, lengths, strict=True) for row in range(start, start + length)}
    assert covered == set(range(len(values)))


def test_load_of_nothing_is_refused(tmp_path: Path) -> None:
    write_part(tmp_path, random_strips({"a": 5}))
    with pytest.raises(ValueError, match="No strip of"):
        StripStore(FeatureDirectory(tmp_path)).load([])


def test_load_of_an_unknown_strip_fails(tmp_path: Path) -> None:
    write_part(tmp_path, random_strips({"a": 5}))
    with pytest.raises(KeyError, match="zzz"):
        StripStore(FeatureDirectory(tmp_path)).load(["a", "zzz"])
