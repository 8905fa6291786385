"""A real server and a real worker: at rest, busy with a run, stopped in its tracks, gone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from flows.monitoring import health
from flows.monitoring.health import find_ailment

PROJECT = Path(__file__).resolve().parents[3]
WORKER = "a worker"
_HEARTBEAT_SECONDS = 2
_PATIENCE_SECONDS = 60
_BUSY_FLOW = """
import time
from pathlib import Path
from prefect import flow

@flow
def busy(until: str) -> None:
    while not Path(until).exists():
        time.sleep(0.1)
"""


def _post(url: str, body: dict[str, Any]) -> Any:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with urlopen(request, timeout=30) as response:
                return json.load(response)
        except HTTPError as error:
            # The server's word for a locked database, rolled back.
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def worker(
    prefect_server: str, prefect_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "worker", "start"]
    arguments = ["--pool", health.POOL, "--type", "process", "--name", WORKER]
    settings = {
        "PREFECT_API_URL": prefect_server,
        "PREFECT_WORKER_HEARTBEAT_SECONDS": str(_HEARTBEAT_SECONDS),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    log = tmp_path_factory.mktemp("worker") / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, *arguments],
            env={**prefect_environment, **settings},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    _wait_for(lambda: find_ailment(prefect_server, WORKER) is None)
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def busy_run(prefect_server: str, worker: subprocess.Popen[bytes], tmp_path: Path) -> Iterator[str]:
    """The id of a run that computes until the test is over."""
    (tmp_path / "busy.py").write_text(_BUSY_FLOW)
    end = tmp_path / "end"
    deployment = _post(
        f"{prefect_server}/deployments/",
        {
            "name": "busy",
            "flow_id": _post(f"{prefect_server}/flows/", {"name": "busy"})["id"],
            "entrypoint": "busy.py:busy",
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}],
            "parameters": {"until": str(end)},
            "work_pool_name": health.POOL,
        },
    )
    run = _post(f"{prefect_server}/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    _wait_for(lambda: _is_running(prefect_server, run["id"]))
    yield run["id"]
    end.touch()
    _wait_for(lambda: not _is_running(prefect_server, run["id"]))


def _is_running(server: str, run: str) -> bool:
    with urlopen(f"{server}/flow_runs/{run}", timeout=30) as response:
        return bool(json.load(response)["state_type"] == "RUNNING")


@pytest.mark.soak
def test_a_busy_worker_is_well_and_a_stopped_one_is_not(
    prefect_server: str, worker: subprocess.Popen[bytes], busy_run: str
) -> None:
    time.sleep(3 * _HEARTBEAT_SECONDS + 1)  # what the server forgives
    assert "stuck" not in str(find_ailment(prefect_server, WORKER))

    worker.send_signal(signal.SIGSTOP)
    _wait_for(lambda: "a worker is stuck or has ended: its last heartbeat" in str(find_ailment(prefect_server, WORKER)))
    assert _is_running(prefect_server, busy_run)

    worker.send_signal(signal.SIGCONT)
    _wait_for(lambda: find_ailment(prefect_server, WORKER) is None)


def test_a_worker_that_never_was_is_missed(prefect_server: str, worker: subprocess.Popen[bytes]) -> None:
    assert "knows no worker another in the pool birdclef" in str(find_ailment(prefect_server, "another"))


def test_a_server_without_the_pool_is_told(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "POOL", "absent")
    assert "has no work pool absent" in str(find_ailment(prefect_server, WORKER))


def test_the_command_needs_a_server_and_unless_told_otherwise_its_worker(
    prefect_server: str, prefect_environment: dict[str, str]
) -> None:
    def ask(url: str, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "flows.monitoring.health", *arguments]
        environment = {**prefect_environment, "PREFECT_API_URL": url}
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert ask(prefect_server, "--server-only") == (0, f"The server at {prefect_server} answers.\n")
    status, message = ask(prefect_server)
    assert status == 1
    assert f"the pool {health.POOL}" in message or f"no work pool {health.POOL}" in message
    status, message = ask("http://127.0.0.1:9/api", "--server-only")
    assert status == 1
    assert "No server answers" in message


def test_no_stage_and_no_prefect_is_loaded() -> None:
    unwanted = {"prefect", "numpy", "torch", "birdclef", "cache"}
    script = f"import sys, flows.monitoring.health; print(sorted({unwanted} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
