"""Fault injection on a served pipeline: whatever dies, fills up or jumps, the next run ends like one left alone."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest

from cache.workspace.workspace import Workspace

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

PROJECT = Path(__file__).resolve().parents[2]
KILLS = 20
VICTIMS = ("trainer", "server", "worker", "everything")
OUTCOMES = {"COMPLETED", "CRASHED", "FAILED", "CANCELLED"}
needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system takes root")


class Serve:
    """`birdclef serve` on its own port and home, with what a user would ask its server for."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._environment = {**environment, "PREFECT_HOME": str(home / "prefect"), "OMP_NUM_THREADS": "1"}
        self.log = home / "serve.log"
        self.start()

    def start(self) -> None:
        ready = self.log.read_text().count("serve: ready") if self.log.exists() else 0
        with self.log.open("ab") as stream:
            command = [sys.executable, "-m", "flows.command_line.entry", "serve", "--port", str(self._port)]
            self.process = subprocess.Popen(
                command, cwd=PROJECT, env=self._environment, stdout=stream, stderr=stream, start_new_session=True
            )
        wait_until(lambda: self.log.read_text().count("serve: ready") > ready, self.log)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self._port}/api/{path}", content, {"Content-Type": "application/json"})
        deadline = time.monotonic() + 120
        while True:
            try:
                with urlopen(request, timeout=30) as response:
                    return json.load(response)
            except (URLError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def run(self, overrides: list[str], workspace: Path) -> str:
        """Start a full pipeline; returns the flow run's id."""
        (deployment,) = [each for each in self.ask("deployments/filter", {}) if each["name"] == "full-pipeline"]
        parameters = {
            "config": str(PROJECT / "configs/demo.yaml"),
            "overrides": overrides,
            "workspace": str(workspace),
        }
        return str(self.ask(f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})["id"])

    def state(self, run: str) -> str:
        return str(self.ask(f"flow_runs/{run}")["state_type"])

    def wait(self, run: str, states: set[str]) -> str:
        wait_until(lambda: self.state(run) in states, self.log)
        return self.state(run)

    def kill(self, victim: str) -> None:
        """SIGKILL to one of `VICTIMS`, if it lives."""
        family = [self.process_of_serve(), *self.process_of_serve().children(recursive=True)]
        marks = {"trainer": "prefect.engine", "server": "server", "worker": "worker"}
        for process in family:
            with suppress(psutil.Error):
                if victim == "everything" or marks[victim] in process.cmdline():
                    process.kill()
        if victim == "everything":
            self.process.wait()
            self.start()

    def process_of_serve(self) -> psutil.Process:
        return psutil.Process(self.process.pid)


def wait_until(happened: Any, log: Path) -> None:
    deadline = time.monotonic() + 600
    while not happened():
        assert time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(0.2)


@pytest.fixture(scope="module")
def overrides(tiny_overrides: list[str]) -> list[str]:
    return [*tiny_overrides, "train.*.epochs=8", "train.*.model.backbone=test_resnet"]


@pytest.fixture(scope="module")
def serve(prefect_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    served = Serve(tmp_path_factory.mktemp("served"), prefect_environment)
    yield served
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(10) == 0


@pytest.fixture(scope="module")
def calm(serve: Serve, overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A workspace in which a pipeline ran undisturbed, and the seconds that it took."""
    workspace = tmp_path_factory.mktemp("calm")
    run = serve.run(overrides, workspace)
    serve.wait(run, {"RUNNING"})
    started = time.monotonic()
    assert serve.wait(run, OUTCOMES) == "COMPLETED", serve.log.read_text()
    return workspace, time.monotonic() - started


def assert_same(workspace: Path, calm: Path) -> None:
    """The report's metrics and the weights are the same, and nothing half-done lies about."""
    (report,), (expected,) = (list((folder / "reports").iterdir()) for folder in (workspace, calm))
    assert report.name == expected.name
    metrics, wanted = (json.loads((path / "report.json").read_text())["metrics"] for path in (report, expected))
    assert metrics == wanted
    weights, wanted = (
        sorted(path.read_bytes() for path in folder.glob("runs/*/weights.safetensors")) for folder in (workspace, calm)
    )
    assert weights == wanted
    assert not Workspace(workspace).is_at_work()
    assert [path for path in (workspace / ".staging").iterdir() if path.is_dir()] == []


def test_kills_at_random_moments(serve: Serve, calm: tuple[Path, float], overrides: list[str], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    outcomes: dict[str, list[str]] = {victim: [] for victim in VICTIMS}
    rounds = 0
    while sum(map(len, outcomes.values())) < KILLS:
        workspace = tmp_path / str(rounds)
        rounds += 1
        for victim in generator.permutation(VICTIMS).tolist():
            run = serve.run(overrides, workspace)
            serve.wait(run, {"RUNNING", *OUTCOMES})
            time.sleep(generator.uniform(0, calm[1] * 0.6))
            at_work = serve.state(run) == "RUNNING"
            serve.kill(victim)
            outcome = serve.wait(run, OUTCOMES)
            if at_work:
                outcomes[victim].append(outcome)
        assert serve.wait(serve.run(overrides, workspace), OUTCOMES) == "COMPLETED", serve.log.read_text()[-5000:]
        assert_same(workspace, calm[0])
    kills = sum(map(len, outcomes.values()))
    print(f"{kills} kills of what was at work in {rounds} rounds; its runs ended: {outcomes}")  # noqa: T201


def test_run_outlives_its_server_for_longer_than_a_lease(serve: Serve, overrides: list[str], tmp_path: Path) -> None:
    longer = [*overrides, "train.*.epochs=100000"]
    run = serve.run(longer, tmp_path)
    serve.wait(run, {"RUNNING"})
    time.sleep(20)
    serve.kill("server")
    time.sleep(330)  # a lease lasts 300 s and is renewed after 225
    assert serve.state(run) == "RUNNING"
    serve.kill("trainer")
    assert serve.wait(run, OUTCOMES) == "CRASHED"


def test_two_workspaces_and_two_pipelines_in_one_at_once(
    calm: tuple[Path, float], overrides: list[str], prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    workspaces = [tmp_path / "shared", tmp_path / "shared", tmp_path / "other"]
    processes = [start(overrides, workspace, prefect_environment) for workspace in workspaces]
    for process in processes:
        _, errors = process.communicate(timeout=1200)
        assert process.returncode == 0, errors
    for workspace in workspaces:
        assert_same(workspace, calm[0])


@needs_mounts
def test_full_disk_in_training_and_in_evaluation(
    calm: tuple[Path, float], overrides: list[str], prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as workspace:
        for kind in ("features", "catalogues", "splits"):
            shutil.copytree(calm[0] / kind, workspace / kind)
        assert "No space left on device" in fail(overrides, workspace, prefect_environment)
        assert not (workspace / "runs").exists()
        subprocess.run(["mount", "-o", "remount,size=500m", str(workspace)], check=True)
        for kind in ("runs", "predictions"):
            shutil.copytree(calm[0] / kind, workspace / kind)
        shutil.rmtree(workspace / ".staging")
        fill(workspace / "filler", leave=50_000)
        assert "No space left on device" in fail(overrides, workspace, prefect_environment)
        assert not (workspace / "reports").exists()
        (workspace / "filler").unlink()
        finish(overrides, workspace, prefect_environment)
        assert_same(workspace, calm[0])


@needs_mounts
def test_read_only_data(
    calm: tuple[Path, float], overrides: list[str], corpus: Path, prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    with mounted(tmp_path / "data", "--bind", str(corpus)) as data:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(data)], check=True)
        finish([*overrides, f"data.root={data}"], tmp_path / "workspace", prefect_environment)
    assert_same(tmp_path / "workspace", calm[0])


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime")
def test_clock_that_jumps_back(
    calm: tuple[Path, float], overrides: list[str], prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    command = [sys.executable, "-m", "flows.command_line.entry", "train", "configs/demo.yaml", *overrides]
    ahead = ["faketime", "-f", "+400d", *command, "--workspace", str(workspace)]
    process = subprocess.Popen(ahead, cwd=PROJECT, env=prefect_environment, start_new_session=True)
    wait_until(lambda: list(workspace.glob("runs/*")) or process.poll() is not None, tmp_path / "no log")
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finish(overrides, workspace, prefect_environment)
    assert_same(workspace, calm[0])


def start(overrides: list[str], workspace: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "flows.command_line.entry",
        "run",
        "configs/demo.yaml",
        *overrides,
        "--workspace",
        str(workspace),
    ]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(overrides: list[str], workspace: Path, environment: dict[str, str]) -> None:
    process = start(overrides, workspace, environment)
    _, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors


def fail(overrides: list[str], workspace: Path, environment: dict[str, str]) -> str:
    """Returns what a command that must fail says."""
    process = start(overrides, workspace, environment)
    _, errors = process.communicate(timeout=1200)
    assert process.returncode == 1, errors
    return errors


def fill(path: Path, leave: int) -> None:
    free = shutil.disk_usage(path.parent).free
    with path.open("wb") as stream:
        for _ in range((free - leave) // 4096):
            stream.write(bytes(4096))


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", *arguments, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
