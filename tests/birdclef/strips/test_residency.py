"""Resident strips hold what the store holds, where they were asked to be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from birdclef.strips.crops import gather_crops, gather_windows
from birdclef.strips.frame_levels import compute_frame_levels
from birdclef.strips.input_statistics import compute_statistics
from birdclef.strips.residency import Residency, ResidentStrips, StreamedStrips, choose_place, load_strips
from cache.store.encoding import FLOAT16, StripEncoding
from cache.store.part_writer import PartWriter
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory

CPU = torch.device("cpu")
NAMES = ["c1", "a3", "a1", "b9"]


@pytest.mark.parametrize("residency", ["auto", "device", "host"])
def test_resident_strips_are_those_of_the_store_in_order(
    store: Path, strips: dict[str, NDArray[np.float16]], residency: Residency
) -> None:
    resident = load_strips(StripStore(FeatureDirectory(store)), [f"sha-{name}" for name in NAMES], CPU, residency)
    assert isinstance(resident, ResidentStrips)
    assert len(resident) == 4
    assert resident.values.dtype == torch.float16
    assert resident.values.shape == (sum(len(strips[name]) for name in NAMES), 8)
    assert {tensor.device.type for tensor in (resident.values, resident.starts, resident.lengths)} == {"cpu"}
    for name, start, length in zip(NAMES, resident.starts.tolist(), resident.lengths.tolist(), strict=True):
        np.testing.assert_array_equal(resident.values[start : start + length].numpy(), strips[name])


def test_recording_named_twice_is_resident_once(store: Path, strips: dict[str, NDArray[np.float16]]) -> None:
    resident = load_strips(StripStore(FeatureDirectory(store)), ["sha-a1", "sha-b1", "sha-a1"], CPU, "auto")
    assert isinstance(resident, ResidentStrips)
    assert len(resident) == 3
    assert len(resident.values) == len(strips["a1"]) + len(strips["b1"])
    assert resident.starts[0] == resident.starts[2]


def test_size_of_the_resident_strips_is_logged(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="birdclef.strips.residency"):
        load_strips(StripStore(FeatureDirectory(store)), ["sha-a1"], CPU, "auto")
    assert "recordings 1, 0.0 MB on cpu" in caplog.text


@pytest.mark.parametrize("residency", ["auto", "device", "host"])
def test_strips_that_fit_stay_in_host_memory_without_a_gpu(residency: Residency) -> None:
    assert choose_place(1000, CPU, residency) == CPU


def test_strips_that_no_memory_holds_are_streamed_unless_memory_is_asked_for() -> None:
    assert choose_place(10**15, CPU, "auto") is None
    assert choose_place(10**15, CPU, "host") == CPU
    assert choose_place(1000, CPU, "stream") is None


@pytest.mark.parametrize(("residency", "expected"), [("auto", "mps"), ("device", "mps"), ("host", "cpu")])
def test_device_that_shares_its_memory_takes_what_fits(residency: Residency, expected: str) -> None:
    place = choose_place(1000, torch.device("mps"), residency)
    assert place is not None
    assert place.type == expected


@pytest.mark.gpu
def test_strips_that_do_not_fit_go_to_pinned_memory_or_are_refused(store: Path) -> None:
    device = torch.device("cuda")
    assert choose_place(1000, device, "auto") == device
    assert choose_place(10**12, device, "host") == CPU
    assert choose_place(10**15, device, "auto") is None
    with pytest.raises(ValueError, match="residency=host, stream or auto"):
        choose_place(10**15, device, "device")
    for residency in ("host", "auto"):
        resident = load_strips(StripStore(FeatureDirectory(store)), ["sha-a1"], device, residency)  # type: ignore[arg-type]
        assert isinstance(resident, ResidentStrips)
        assert resident.values.is_pinned() if residency == "host" else resident.values.is_cuda


def test_stored_bytes_give_what_the_same_decibels_in_float16_give(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    values = np.round(2 * generator.normal(-40, 8, (90, 6))).astype(np.float32) / 2  # whole steps
    resident = {}
    for name, encoding in {"float16": FLOAT16, "uint8": StripEncoding.of("uint8", -100.0)}.items():
        with PartWriter(FeatureDirectory(tmp_path / name), 6, encoding) as writer:
            writer.add_strip("a", values[:50])
            writer.add_strip("b", values[50:])
            writer.publish()
        resident[name] = load_strips(
            StripStore(FeatureDirectory(tmp_path / name)), ["a", "b"], torch.device("cpu"), "auto"
        )
    assert resident["uint8"].values.dtype == torch.uint8
    rows, positions = torch.tensor([0, 1, 1]), torch.linspace(-4, 60, 21).repeat(3, 1)
    for compute in (
        lambda strips: gather_crops(strips, rows, positions),
        lambda strips: gather_windows(strips, rows, torch.tensor([0, 3, 30]), 12),
        compute_frame_levels,
        lambda strips: torch.tensor(compute_statistics(strips)),
    ):
        torch.testing.assert_close(compute(resident["uint8"]), compute(resident["float16"]), rtol=0, atol=0)
    torch.testing.assert_close(torch.cat(list(resident["uint8"].blocks())), torch.from_numpy(values))


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_streamed_strips_are_the_resident_ones(tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.store.part_writer.CHUNK_FRAMES", 8)
    monkeypatch.setattr("birdclef.strips.residency.BLOCK_FRAMES", 11)
    generator = np.random.default_rng(5)
    lengths = {"a": 50, "b": 3, "c": 21, "d": 1, "e": 90}
    for names in (("a", "b", "c"), ("d", "e")):
        with PartWriter(FeatureDirectory(tmp_path), 6, StripEncoding.of(dtype, -100.0)) as writer:  # type: ignore[arg-type]
            for name in names:
                writer.add_strip(name, generator.normal(-40, 8, (lengths[name], 6)).astype(np.float32))
            writer.publish()
    asked = ["e", "a", "d", "e", "b"]
    resident, streamed = (
        load_strips(StripStore(FeatureDirectory(tmp_path)), asked, CPU, kind) for kind in ("host", "stream")
    )  # type: ignore[arg-type]
    assert isinstance(streamed, StreamedStrips)
    assert torch.equal(streamed.starts, resident.starts)
    assert torch.equal(streamed.lengths, resident.lengths)
    rows = torch.arange(len(asked)).repeat(40)
    positions = torch.from_numpy(generator.uniform(-60, 200, (len(rows), 1)) + np.linspace(0, 14, 9)).float()
    assert torch.equal(gather_crops(streamed, rows, positions), gather_crops(resident, rows, positions))
    backwards = torch.tensor([[4, 2, -1, 7]]).expand(len(rows), 4)
    assert torch.equal(streamed.take(rows, backwards), resident.take(rows, backwards))
    assert torch.equal(compute_frame_levels(streamed), compute_frame_levels(resident))
    assert compute_statistics(streamed) == compute_statistics(resident)
