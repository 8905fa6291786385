"""Locks on GPUs, between real processes; the names are made up, for a lock needs no device."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from birdclef.devices.gpu_lock import gpus_in_use

HOLD = """
import logging, sys, time
from birdclef.devices.gpu_lock import alone_on
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
with alone_on(sys.argv[2:]):
    print("training", flush=True)
    time.sleep(float(sys.argv[1]))
print("done", flush=True)
"""


def start(folder: Path, seconds: float, *gpus: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(seconds), *gpus]
    return subprocess.Popen(command, env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.PIPE, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


@pytest.mark.soak
def test_second_training_waits_for_the_gpu_until_the_first_is_killed(tmp_path: Path) -> None:
    with start(tmp_path, 600, "GPU-b", "GPU-a") as first:
        assert read_line(first) == "training"
        with start(tmp_path, 0, "GPU-b") as second, start(tmp_path, 0, "GPU-c") as elsewhere:
            assert read_line(elsewhere) == "training"
            assert read_line(second).startswith(f"GPU GPU-b: waits for process {first.pid} on ")
            assert second.poll() is None
            killed = time.monotonic()
            os.kill(first.pid, signal.SIGKILL)
            assert read_line(second) == "training"
            assert time.monotonic() - killed < 5
            assert read_line(second) == "done"


def test_cpu_is_shared() -> None:
    assert gpus_in_use("cpu", 2) == []
    if not torch.cuda.is_available():
        assert gpus_in_use("auto", 1) == []


@pytest.mark.gpu
def test_gpu_is_known_by_the_name_that_the_driver_gives_it() -> None:
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    (gpu,) = gpus_in_use("auto", 1)
    assert gpu in listed
