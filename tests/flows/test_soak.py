"""Fault injection: the command line killed again and again, in every stage, must end like one left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parents[2]
ROUNDS = 5
KILLS_PER_ROUND = 3


def command(workspace: Path, overrides: list[str]) -> list[str]:
    longer = [*overrides, "train.*.epochs=8", "train.*.model.backbone=test_resnet"]
    return [
        sys.executable,
        "-m",
        "flows.command_line.app",
        "run",
        "configs/demo.yaml",
        *longer,
        "--workspace",
        str(workspace),
    ]


def finish(workspace: Path, overrides: list[str], environment: dict[str, str]) -> tuple[Path, int]:
    """Returns the report's directory, and the number of lines that the command logged."""
    finished = subprocess.run(
        command(workspace, overrides), cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return Path(finished.stdout.splitlines()[-1]), len(finished.stderr.splitlines())


def kill_at(line: int, delay: float, workspace: Path, overrides: list[str], environment: dict[str, str]) -> bool:
    """Kill the whole process group some seconds after a line of the log; returns whether it was still at work."""
    with subprocess.Popen(
        command(workspace, overrides),
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for _ in zip(range(line), process.stderr, strict=False):
            pass
        time.sleep(delay)
        at_work = process.poll() is None
        if at_work:
            os.killpg(process.pid, signal.SIGKILL)
    return at_work


def read_parts(workspace: Path) -> dict[str, bytes]:
    """Returns the bytes of all published parts and fragments."""
    files = (path for path in (workspace / "features").rglob("*") if path.is_file() and path.name != "provenance.json")
    return {str(path.relative_to(workspace)): path.read_bytes() for path in files if ".partial" not in str(path)}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_pipeline_killed_again_and_again_ends_like_one_left_alone(
    tiny_overrides: list[str], prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    calm, lines = finish(tmp_path / "calm", tiny_overrides, prefect_environment)
    generator = np.random.default_rng(0)
    kills = 0
    for number in range(ROUNDS):
        workspace = tmp_path / f"killed {number}"
        for line in np.sort(generator.integers(1, lines, KILLS_PER_ROUND)):
            kills += kill_at(int(line), generator.uniform(0, 0.5), workspace, tiny_overrides, prefect_environment)
        report, _ = finish(workspace, tiny_overrides, prefect_environment)

        assert report.name == calm.name
        assert read_parts(workspace) == read_parts(tmp_path / "calm")
        assert read_weights(workspace) == read_weights(tmp_path / "calm")
        assert read_metrics(report) == read_metrics(calm)
    print(f"{kills} kills in {ROUNDS} rounds")  # noqa: T201 - the count is what a soak run reports
    assert kills >= 2 * ROUNDS  # a run from cache logs fewer lines, and may end before its kill


def read_weights(workspace: Path) -> list[bytes]:
    """Returns the weights of all runs."""
    return sorted(path.read_bytes() for path in workspace.glob("runs/*/weights.safetensors"))


def read_metrics(report: Path) -> dict[str, object]:
    """Returns the metrics of a report."""
    metrics: dict[str, object] = json.loads((report / "report.json").read_text())["metrics"]
    return metrics
