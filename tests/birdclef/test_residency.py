"""Resident strips hold what the store holds, where they were asked to be."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from birdclef.crops import gather_crops, gather_windows
from birdclef.data import compute_statistics
from birdclef.noise import compute_frame_levels
from birdclef.residency import choose_place, load_resident
from cache.encoding import FLOAT16, StripEncoding
from cache.store import StripStore
from cache.writer import PartWriter

CPU = torch.device("cpu")
NAMES = ["c1", "a3", "a1", "b9"]

Residency = Literal["auto", "device", "host"]


@pytest.mark.parametrize("residency", ["auto", "device", "host"])
def test_resident_strips_are_those_of_the_store_in_order(
    store: Path, strips: dict[str, NDArray[np.float16]], residency: Residency
) -> None:
    resident = load_resident(StripStore(store), [f"sha-{name}" for name in NAMES], CPU, residency)
    assert len(resident) == 4
    assert resident.values.dtype == torch.float16
    assert resident.values.shape == (sum(len(strips[name]) for name in NAMES), 8)
    assert {tensor.device.type for tensor in (resident.values, resident.starts, resident.lengths)} == {"cpu"}
    for name, start, length in zip(NAMES, resident.starts.tolist(), resident.lengths.tolist(), strict=True):
        np.testing.assert_array_equal(resident.values[start : start + length].numpy(), strips[name])


def test_recording_named_twice_is_resident_once(store: Path, strips: dict[str, NDArray[np.float16]]) -> None:
    resident = load_resident(StripStore(store), ["sha-a1", "sha-b1", "sha-a1"], CPU, "auto")
    assert len(resident) == 3
    assert len(resident.values) == len(strips["a1"]) + len(strips["b1"])
    assert resident.starts[0] == resident.starts[2]


def test_size_of_the_resident_strips_is_logged(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="birdclef.residency"):
        load_resident(StripStore(store), ["sha-a1"], CPU, "auto")
    assert "of 1 recordings on cpu" in caplog.text


@pytest.mark.parametrize("residency", ["auto", "device", "host"])
def test_strips_of_any_size_stay_in_host_memory_without_a_gpu(residency: Residency) -> None:
    assert choose_place(10**15, CPU, residency) == CPU


@pytest.mark.parametrize(("residency", "expected"), [("auto", "mps"), ("device", "mps"), ("host", "cpu")])
def test_device_that_shares_its_memory_takes_everything(residency: Residency, expected: str) -> None:
    assert choose_place(10**15, torch.device("mps"), residency).type == expected


@pytest.mark.gpu
def test_strips_that_do_not_fit_go_to_pinned_memory_or_are_refused(store: Path) -> None:
    device = torch.device("cuda")
    assert choose_place(1000, device, "auto").type == "cuda"
    assert choose_place(10**15, device, "auto").type == "cpu"
    with pytest.raises(ValueError, match="residency=host or auto"):
        choose_place(10**15, device, "device")
    assert load_resident(StripStore(store), ["sha-a1"], device, "host").values.is_pinned()
    assert load_resident(StripStore(store), ["sha-a1"], device, "auto").values.is_cuda


def test_stored_bytes_give_what_the_same_decibels_in_float16_give(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    values = np.round(2 * generator.normal(-40, 8, (90, 6))).astype(np.float32) / 2  # whole steps
    resident = {}
    for name, encoding in {"float16": FLOAT16, "uint8": StripEncoding.of("uint8", -100.0)}.items():
        with PartWriter(tmp_path / name, 6, encoding) as writer:
            writer.add_strip("a", values[:50])
            writer.add_strip("b", values[50:])
            writer.publish()
        resident[name] = load_resident(StripStore(tmp_path / name), ["a", "b"], torch.device("cpu"), "auto")
    assert resident["uint8"].values.dtype == torch.uint8
    rows, positions = torch.tensor([0, 1, 1]), torch.linspace(-4, 60, 21).repeat(3, 1)
    for compute in (
        lambda strips: gather_crops(strips, rows, positions),
        lambda strips: gather_windows(strips, rows, torch.tensor([0, 3, 30]), 12),
        compute_frame_levels,
        lambda strips: torch.tensor(compute_statistics(strips)),
    ):
        torch.testing.assert_close(compute(resident["uint8"]), compute(resident["float16"]), rtol=0, atol=0)
    torch.testing.assert_close(resident["uint8"].decibels(resident["uint8"].values), torch.from_numpy(values))
