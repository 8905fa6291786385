"""Parts that are written, torn off, written twice, and what of them is seen."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from cache.store.fragment import Failure
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


def test_part_without_fragment_is_invisible(tmp_path: Path) -> None:
    part = write_part(tmp_path, random_strips({"a": 4}))
    write_part(tmp_path, random_strips({"b": 4}))
    (tmp_path / "index" / f"{part}.json").unlink()
    store = StripStore(FeatureDirectory(tmp_path))
    assert "a" not in store
    assert "b" in store
    assert (tmp_path / "parts" / part).is_dir()


def test_whole_chunks_are_written_before_the_part_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.store.part_writer.CHUNK_FRAMES", 8)
    writer = PartWriter(FeatureDirectory(tmp_path), CHANNELS)
    for sha256, strip in random_strips({"a": 20, "b": 17, "c": 3}).items():
        writer.add_strip(sha256, strip)
    (staging,) = (tmp_path / "parts").iterdir()
    sizes = [path.stat().st_size for path in sorted(staging.glob("c/*/0"))]
    assert sizes[:4] == [8 * CHANNELS * 2] * 4  # 20 + 17 + 3 frames of float16 fill five chunks of 8
    part = writer.publish()
    array = zarr.open_array(str(tmp_path / "parts" / part), mode="r")
    assert array.shape == (40, CHANNELS)
    assert array.nchunks_initialized == 5


def test_strip_of_another_width_is_refused(tmp_path: Path) -> None:
    with PartWriter(FeatureDirectory(tmp_path), CHANNELS, score_columns=2) as writer:
        with pytest.raises(ValueError, match=r"audio a has 4 values a row, .* has 5, 2 of them scores"):
            writer.add_strip("a", np.zeros((4, 4), np.float32))
        writer.add_strip("b", np.zeros((4, 5), np.float32))
        writer.publish()
    assert set(StripStore(FeatureDirectory(tmp_path)).strips) == {"b"}


def test_unpublished_part_is_invisible(tmp_path: Path) -> None:
    writer = PartWriter(FeatureDirectory(tmp_path), CHANNELS)
    writer.add_strip("a", np.zeros((4, CHANNELS), np.float32))
    assert "a" not in StripStore(FeatureDirectory(tmp_path))
    assert not list((tmp_path / "parts").glob("[!.]*"))
    writer.publish()
    assert "a" in StripStore(FeatureDirectory(tmp_path))


def test_part_published_twice_is_the_same_part(tmp_path: Path) -> None:
    strips = random_strips({"a": 4, "b": 9})
    part = write_part(tmp_path, strips)
    before = read_all_bytes(tmp_path)
    assert write_part(tmp_path, strips) == part
    assert read_all_bytes(tmp_path) == before
    assert [path.name for path in (tmp_path / "parts").iterdir()] == [part]


def test_part_whose_place_is_taken_by_a_file_is_not_published(tmp_path: Path) -> None:
    strips = random_strips({"a": 4})
    part = write_part(tmp_path / "elsewhere", strips)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / part).write_text("in the way")
    with pytest.raises(OSError, match=f"parts/{part}"):
        write_part(tmp_path, strips)
    assert "a" not in StripStore(FeatureDirectory(tmp_path))


def test_array_that_lost_its_fragment_is_not_mistaken_for_one_with_other_strips(tmp_path: Path) -> None:
    strips = random_strips({"a": 4, "b": 6})
    part = write_part(tmp_path, strips)
    (tmp_path / "index" / f"{part}.json").unlink()
    write_part(tmp_path, {"b": strips["b"]})
    np.testing.assert_array_equal(StripStore(FeatureDirectory(tmp_path)).read("b"), strips["b"].astype(np.float16))
    assert "a" not in StripStore(FeatureDirectory(tmp_path))


def test_leftover_of_a_killed_writer_is_in_nobodys_way(tmp_path: Path) -> None:
    with PartWriter(
        FeatureDirectory(tmp_path), CHANNELS
    ) as killed:  # what lies there meanwhile is what a killed one leaves
        killed.add_strip("a", np.zeros((CHUNK_FRAMES, CHANNELS), np.float32))
        strips = random_strips({"a": 4})
        write_part(tmp_path, strips)
        np.testing.assert_array_equal(StripStore(FeatureDirectory(tmp_path)).read("a"), strips["a"].astype(np.float16))


def test_two_writers_of_the_same_input_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.store.part_writer.CHUNK_FRAMES", 8)
    strips = random_strips({"a": 7, "b": 2, "c": 30})
    for name in ("one", "two"):
        writer = PartWriter(FeatureDirectory(tmp_path / name / "store"), CHANNELS)
        for sha256, strip in strips.items():
            writer.add_strip(sha256, strip)
        writer.add_failure(Failure("d", "empty", "no sample decodes"))
        part = writer.publish()
    one = read_all_bytes(tmp_path / "one" / "store")
    assert one == read_all_bytes(tmp_path / "two" / "store")
    assert {f"index/{part}.json", f"parts/{part}/zarr.json"} < set(one)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_strip_is_refused(tmp_path: Path, value: float) -> None:
    writer = PartWriter(FeatureDirectory(tmp_path), CHANNELS)
    strip = np.zeros((4, CHANNELS), np.float32)
    strip[2, 1] = value
    with pytest.raises(ValueError, match="audio abc holds non-finite values"):
        writer.add_strip("abc", strip)
    writer.publish()
    assert "abc" not in StripStore(FeatureDirectory(tmp_path))


def test_part_id_depends_on_the_audio_in_it(tmp_path: Path) -> None:
    strips = random_strips({"a": 2, "b": 3, "ab": 4})
    ids = [write_part(tmp_path, {name: strips[name] for name in names}) for names in (["a", "b"], ["ab"], ["a"])]
    assert len(set(ids)) == 3
