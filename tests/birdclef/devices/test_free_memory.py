"""Free memory by psutil, and in a made control group."""

from pathlib import Path

import psutil
import pytest
import torch

from birdclef.devices import free_memory
from birdclef.devices.free_memory import free_bytes


def test_host_memory_is_what_psutil_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "_CGROUP", tmp_path)  # no control group
    assert free_bytes(torch.device("cpu")) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", None), ("1000000", 1_000_000 - 700_000 + 200_000), ("600000", 100_000)]
)
def test_limit_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int | None
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 200000\n")
    monkeypatch.setattr(free_memory, "_CGROUP", tmp_path)
    free = free_bytes(torch.device("cpu"))
    if expected is None:
        assert free == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    else:
        assert free == expected
