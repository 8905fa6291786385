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
from interrupted_command import Press, interrupt, to_group, to_process

PROJECT = Path(__file__).resolve().parents[2]
ROUNDS = 5
KILLS_PER_ROUND = 3


def command(workspace: Path, overrides: list[str]) -> list[str]:
    longer = [*overrides, "train.*.epochs=8", "train.*.model.backbone=test_resnet"]
    return [
        sys.executable,
        "-m",
        "flows.command_line.entry",
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


PLACES = [
    ("Starting temporary server", 1.0),
    ("Beginning flow run", 0.0),
    ("Dask dashboard", 0.2),
    ("Task run 'split", 1.0),
    ("train: memory", 0.5),
    ("Task run 'train cnn fold 0'", 2.0),
    ("Task run 'train cnn fold 1'", 0.2),
    ("Task run 'predict cnn fold 1'", 0.5),
    ("Task run 'baseline", 0.5),
]
"""Lines of the log, and the seconds after each at which the run is interrupted."""


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "press",
    [to_group(signal.SIGINT), to_process(signal.SIGINT), to_process(signal.SIGTERM)],
    ids=["Ctrl-C", "SIGINT", "SIGTERM"],
)
def test_a_run_that_is_interrupted_in_every_stage_ends_in_ten_seconds_and_goes_on(
    tiny_overrides: list[str], prefect_environment: dict[str, str], tmp_path: Path, press: Press
) -> None:
    calm, _ = finish(tmp_path / "calm", tiny_overrides, prefect_environment)
    workspace = tmp_path / "interrupted"
    arguments = command(workspace, tiny_overrides)[3:]
    for line, delay in PLACES:
        ended = interrupt(arguments, prefect_environment, line, delay, press)
        assert (ended.status, ended.left) == (130, []), line
        assert ended.said[-1].startswith("Interrupted. The next run"), line
        assert ended.seconds < 10, line
    report, _ = finish(workspace, tiny_overrides, prefect_environment)
    assert report.name == calm.name
    assert read_weights(workspace) == read_weights(tmp_path / "calm")
    assert read_metrics(report) == read_metrics(calm)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_training_that_waits_for_another_one_says_so_and_is_interrupted(
    tiny_overrides: list[str], prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    arguments = ["train", "demo", *tiny_overrides, "train.*.epochs=500", "--workspace", str(workspace)]
    with subprocess.Popen(
        [sys.executable, "-m", "flows.command_line.entry", *arguments],
        cwd=PROJECT,
        env=prefect_environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as first:
        assert first.stderr is not None
        while "train: memory" not in first.stderr.readline():
            pass
        waiting = f"waits for process {first.pid} on "
        ended = interrupt(arguments, prefect_environment, waiting, 0.2, to_group(signal.SIGINT))
        os.killpg(first.pid, signal.SIGKILL)
    assert (ended.status, ended.left) == (130, [])
    assert ended.seconds < 10
