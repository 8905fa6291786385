"""Free memory of a GPU, or of this machine within the limits of its container."""

import os
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
"""Folder of this process's control group (version 2), which limits the memory of a container."""


def free_bytes(device: torch.device) -> int:
    """Returns the free memory of a GPU, or of this machine for any other device, bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_host_bytes()


def free_host_bytes() -> int:
    """Returns the memory that this process can still get, bytes; half of all memory if the system does not tell."""
    free = _read_table(_MEMINFO, ":").get("MemAvailable")
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if free is None else free * 1024
    return min(machine, _free_in_container(machine))


def _free_in_container(machine: int) -> int:
    """Returns what the control group leaves, bytes; `machine` if it has no limit. Cached files can be dropped."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except OSError:
        return machine
    cached = _read_table(_CGROUP / "memory.stat", " ").get("inactive_file", 0)
    return machine if limit == "max" else max(0, int(limit) - used + cached)


def _read_table(path: Path, separator: str) -> dict[str, int]:
    """Returns the first number of each line by its name; no numbers if the file can't be read."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(separator, 1) for line in lines if separator in line)
    return {
        name.strip(): int(rest.split()[0]) for name, rest in pairs if rest.split()[:1] and rest.split()[0].isdigit()
    }
