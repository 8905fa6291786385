"""`birdclef serve` for real: a server, the deployments, a run from another terminal, a schedule, and the end of it.

It is that of an installed wheel, started in a folder that is no clone.
"""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.monitoring.health import find_ailment
from flows.prefect_ui.artifacts import page_key
from flows.serving.serve import check_address, choose_server
from flows.serving.supervisor import ServeError
from flows.settings import name_worker

Webhook = Any  # of conftest.py
PROJECT = Path(__file__).resolve().parents[3]
_PATIENCE_SECONDS = 240


class Served:
    """`birdclef serve` on its own port and home, in which it is started."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        """The environment names the home of Prefect."""
        self.home = home
        self._port = _free_port()
        self._serve_environment = environment
        self.url = f"http://127.0.0.1:{self._port}/api"
        self.environment = {**self._serve_environment, "PREFECT_API_URL": self.url}
        self.log = home / "serve.log"

    def start(self, *arguments: str) -> None:
        command = [
            sys.executable,
            "-P",
            "-m",
            "flows.command_line.entry",
            "serve",
            "--port",
            str(self._port),
            *arguments,
        ]
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=self.home,
                env=self._serve_environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while "prefect deployment run birdclef/full-pipeline" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.5)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("POST", path, body)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path, {})

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> Any:
        content, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = Request(f"{self.url}/{path}", content, headers, method=method)
        deadline = time.monotonic() + 60
        while True:
            try:
                with urlopen(request, timeout=30) as response:
                    return json.loads(response.read() or "null")
            except HTTPError as error:
                # The server's word for a locked database, rolled back: Prefect's own client tries again too.
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def read_run(self, run: str) -> Any:
        (found,) = self.post("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return found

    def full_pipeline(self) -> Any:
        (found,) = [each for each in self.post("deployments/filter", {}) if each["name"] == "full-pipeline"]
        return found

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _descendants(process: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@pytest.fixture(scope="module")
def served(
    prefect_environment: dict[str, str],
    make_prefect_home: Callable[[str], Path],
    installed: Path,
    webhook: Webhook,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served")
    shutil.copy(PROJECT / "configs" / "demo.yaml", home / "mine.yaml")
    served = Served(
        home,
        {
            **prefect_environment,
            "PREFECT_HOME": str(make_prefect_home("served")),
            "PYTHONPATH": str(installed),
            "BIRDCLEF_WEBHOOK": webhook.url,
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        },
    )
    schedule = ("--schedule", "0 3 * * 1", "--timezone", "Europe/Berlin")
    served.start("mine.yaml", f"data.root={home / 'none'}", *schedule)
    yield served
    if served.process.poll() is None:
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(20)


def _run_deployment(served: Served, name: str, overrides: list[str]) -> subprocess.CompletedProcess[str]:
    parameters = json.dumps({"config": "demo", "overrides": overrides})
    return served.prefect("deployment", "run", name, "--params", parameters, "--watch")


@pytest.fixture(scope="module")
def split_run(served: Served, tiny_overrides: list[str]) -> subprocess.CompletedProcess[str]:
    return _run_deployment(served, "birdclef-split/stage", tiny_overrides)


@pytest.fixture(scope="module")
def full_run(served: Served, tiny_overrides: list[str]) -> subprocess.CompletedProcess[str]:
    return _run_deployment(served, "birdclef/full-pipeline", tiny_overrides)


def test_deployment_run_completes_in_the_folder_where_serve_was_started(
    served: Served, split_run: subprocess.CompletedProcess[str], installed: Path
) -> None:
    assert split_run.returncode == 0, split_run.stdout + split_run.stderr + served.log.read_text()
    assert len(list((served.home / "workspace" / "splits").iterdir())) == 1
    assert served.full_pipeline()["entrypoint"] == "flows.pipeline.full_pipeline"
    assert not (installed / "workspace").exists()


def test_what_a_stage_makes_has_a_page(served: Served, split_run: subprocess.CompletedProcess[str]) -> None:
    pages = {artifact["key"]: artifact["data"] for artifact in served.post("artifacts/filter", {})}
    (split,) = (served.home / "workspace" / "splits").iterdir()
    assert str(split) in pages[page_key(split)]


def test_stages_log_to_the_server(served: Served, split_run: subprocess.CompletedProcess[str]) -> None:
    messages = [entry["message"] for entry in served.post("logs/filter", {"limit": 200})]
    assert any("80 audio files to compute" in message for message in messages)


@pytest.mark.soak
def test_whole_pipeline_runs_by_its_deployment(served: Served, full_run: subprocess.CompletedProcess[str]) -> None:
    assert full_run.returncode == 0, full_run.stdout + full_run.stderr + served.log.read_text()
    assert len(list((served.home / "workspace" / "reports").iterdir())) == 1
    artifacts = served.post("artifacts/filter", {})
    (report,) = [artifact for artifact in artifacts if artifact["key"] == "report"]
    assert "macro-F1" in report["data"]


def test_every_stage_has_a_deployment(served: Served) -> None:
    deployments = served.post("deployments/filter", {})
    flows = {flow["id"]: flow["name"] for flow in served.post("flows/filter", {})}
    assert {(flows[deployment["flow_id"]], deployment["name"]) for deployment in deployments} == {
        ("birdclef", "full-pipeline"),
        ("birdclef-features", "stage"),
        ("birdclef-split", "stage"),
        ("birdclef-train", "stage"),
        ("birdclef-evaluate", "stage"),
        ("birdclef-held-out", "stage"),
        ("birdclef-predict", "stage"),
    }


def test_parameters_are_described_in_the_form(served: Served) -> None:
    for deployment in served.post("deployments/filter", {}):
        properties = deployment["parameter_openapi_schema"]["properties"]
        wanted = {"config", "overrides", "workspace"}
        if "paths" in properties:
            wanted = {"source", "paths", "output", "form", "threshold", "workspace"}
        elif "source" in properties:
            wanted = {"source", "workspace"}
        assert set(properties) == wanted
        assert all(field.get("description") for field in properties.values())


@pytest.mark.soak
def test_new_recordings_are_predicted_by_a_deployment(
    served: Served, corpus: Path, full_run: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    (report,) = (served.home / "workspace" / "reports").iterdir()
    folder = min((corpus / "train_audio").iterdir())
    parameters = {"source": str(report), "paths": [str(folder)], "output": str(tmp_path / "a.csv"), "form": "long"}
    given = json.dumps({**parameters, "threshold": 0.0})
    done = served.prefect("deployment", "run", "birdclef-predict/stage", "--params", given, "--watch")
    assert done.returncode == 0, done.stdout + done.stderr + served.log.read_text()
    assert (tmp_path / "a.csv").read_text().startswith("recording,start_seconds,end_seconds,species,probability\n")


def test_schedule_is_that_of_the_command_line(served: Served) -> None:
    (schedule,) = served.full_pipeline()["schedules"]
    assert (schedule["slug"], schedule["active"]) == ("retraining", True)
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 3 * * 1", "Europe/Berlin")
    assert schedule["parameters"]["config"] == str(served.home / "mine.yaml")


def test_scheduled_run_happens_and_its_failure_is_told_in_one_sentence(served: Served, tmp_path: Path) -> None:
    before = len(served.log.read_text())
    run = _run_by_schedule(served, {"config": "demo", "overrides": [f"data.root={tmp_path}/none"]})
    sentence = f"FileNotFoundError: There is no table of recordings at {tmp_path}/none/train_metadata.csv."
    assert run["state_name"] == "Failed"
    assert run["state"]["message"].startswith(sentence)
    logged = _read_log(served, run["id"], sentence)
    assert [entry["level"] for entry in logged if sentence in entry["message"]] == [logging.ERROR]
    told = served.log.read_text()[before:]
    assert told.count(sentence) == 1
    assert (
        "cache/recordings/user_table.py" not in told
    )  # where it is raised; the server's own tracebacks are its affair
    assert not any("Traceback" in entry["message"] for entry in logged)


def _read_log(served: Served, run: str, until: str) -> list[Any]:
    """Returns the log of a run, which arrives in batches, once a message of it holds `until`."""
    deadline = time.monotonic() + 60
    while True:
        logged = served.post("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200})
        if any(until in entry["message"] for entry in logged):
            return list(logged)
        assert time.monotonic() < deadline, logged
        time.sleep(0.5)


def _run_by_schedule(served: Served, parameters: dict[str, Any]) -> Any:
    """Returns the run that a schedule of the full pipeline has started and that has ended."""
    deployment = served.full_pipeline()
    schedules = f"deployments/{deployment['id']}/schedules"
    soon = {"schedule": {"interval": 60, "anchor_date": _soon()}, "active": True, "parameters": parameters}
    (added,) = served.post(schedules, [soon])
    deadline = time.monotonic() + _PATIENCE_SECONDS
    ended: list[Any] = []
    while not ended:
        assert time.monotonic() < deadline, served.log.read_text()
        time.sleep(1)
        runs = served.post("flow_runs/filter", {"flow_runs": {"deployment_id": {"any_": [deployment["id"]]}}})
        ended = [run for run in runs if run["auto_scheduled"] and run["state_type"] in ("COMPLETED", "FAILED")]
    served.delete(f"{schedules}/{added['id']}")
    return ended[0]


def test_second_serve_on_one_home_is_refused(served: Served) -> None:
    environment = {name: value for name, value in served.environment.items() if name != "PREFECT_API_URL"}
    second = subprocess.run(
        [sys.executable, "-m", "flows.command_line.entry", "serve", "--port", str(_free_port())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "Another `birdclef serve` runs" in second.stderr


def test_server_that_answers_is_used_only_if_it_is_named(served: Served) -> None:
    port, other = int(served.url.removesuffix("/api").rpartition(":")[2]), _free_port()
    remedies = f"at {served.url} already. Choose another --port, or set PREFECT_API_URL={served.url} "
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        with pytest.raises(ServeError, match=remedies):
            choose_server("127.0.0.1", port)
        assert choose_server("127.0.0.1", other) == (f"http://127.0.0.1:{other}/api", True)
    with temporary_settings({PREFECT_API_URL: served.url}):
        assert choose_server("127.0.0.1", port) == choose_server("127.0.0.1", other) == (served.url, False)


def test_port_of_something_else_is_refused_at_once() -> None:
    """A port that answers as SSH does, and one at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
                connection.recv(1000)

        threading.Thread(target=greet, daemon=True).start()
        with (
            temporary_settings(restore_defaults={PREFECT_API_URL}),
            pytest.raises(ServeError, match=rf"{port}/api is no Prefect server: .* Name another port"),
        ):
            choose_server("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("no-such-name.invalid", 4200, ""),  # RFC 6761: no name below .invalid has an address
        ("a..b", 4200, ""),
        ("192.0.2.1", 4200, "Cannot assign requested address"),  # RFC 5737: of examples, so of no machine
    ],
)
def test_address_without_a_place_to_listen_is_refused_in_one_sentence(host: str, port: int, reason: str) -> None:
    with pytest.raises(
        ServeError, match=rf"^No server can listen at --host '{host}' --port {port}: {reason}.+ such as "
    ):
        check_address(host, port)


def test_port_in_use_is_refused_and_a_free_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ServeError, match="Address already in use"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)


@pytest.mark.parametrize("end", ["", "/"])
def test_named_server_of_this_host_is_started_if_it_is_missing(end: str) -> None:
    url = f"http://127.0.0.1:{_free_port()}/api"
    with temporary_settings({PREFECT_API_URL: f"{url}{end}"}):
        assert choose_server("127.0.0.1", int(url.split(":")[2].removesuffix("/api"))) == (url, True)


def test_its_worker_is_known_to_the_health_check(served: Served) -> None:
    _wait_for_part(served.process.pid, "worker")
    worker = name_worker(served.environment["PREFECT_HOME"])
    deadline = time.monotonic() + 60
    while ailment := find_ailment(served.url, worker):
        assert time.monotonic() < deadline, ailment
        time.sleep(0.5)


def _wait_for_part(serve: int, part: str, but: int = 0) -> int:
    """The process of a part that is not the one known."""
    command = {"server": "\0flows.serving.server\0", "worker": "\0worker\0start\0"}
    deadline = time.monotonic() + 60
    while True:
        for process in _descendants(serve) - {but}:
            with suppress(FileNotFoundError, ProcessLookupError):
                if command[part] in Path(f"/proc/{process}/cmdline").read_text():
                    return process
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.soak
@pytest.mark.parametrize("part", ["worker", "server"])
def test_part_that_is_killed_starts_again(
    served: Served, full_run: subprocess.CompletedProcess[str], part: str
) -> None:
    killed = _wait_for_part(served.process.pid, part)
    os.kill(killed, signal.SIGKILL)
    _wait_for_part(served.process.pid, part, but=killed)
    assert f"the {part} ended with status -9" in served.log.read_text()
    deadline = time.monotonic() + 60
    while True:
        try:
            assert served.full_pipeline(), "a server that starts again has the same database"
        except OSError:
            assert time.monotonic() < deadline, served.log.read_text()
            time.sleep(0.5)
        else:
            break


@pytest.mark.soak
def test_killed_serve_leaves_no_process_and_the_next_one_starts_cleanly(
    served: Served, tiny_overrides: list[str], webhook: Webhook
) -> None:
    parameters = {
        "config": "demo",
        "overrides": [*tiny_overrides, "train.*.epochs=500"],
    }
    run = served.post(f"deployments/{served.full_pipeline()['id']}/create_flow_run", {"parameters": parameters})["id"]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (state := served.read_run(run)["state_type"]) != "RUNNING":
        assert time.monotonic() < deadline, (state, served.log.read_text())
        time.sleep(0.5)
    family = _descendants(served.process.pid)
    served.process.kill()
    served.process.wait()
    while alive := [member for member in family if Path(f"/proc/{member}").exists()]:
        assert time.monotonic() < deadline, [Path(f"/proc/{member}/cmdline").read_text() for member in alive]
        time.sleep(0.5)
    served.log.write_text("")
    served.start()
    found = served.read_run(run)
    assert found["state_type"] == "CRASHED"
    told = webhook.received[-1]
    assert (told["flow"], told["run"], told["state"]) == ("birdclef", found["name"], "Crashed")
    assert served.full_pipeline()["schedules"] == []


def test_sigterm_stops_everything_within_ten_seconds(served: Served) -> None:
    _wait_for_part(served.process.pid, "worker")
    family = _descendants(served.process.pid)
    started = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(15) == 0
    assert time.monotonic() - started < 10
    time.sleep(0.5)
    alive = [process for process in family if Path(f"/proc/{process}").exists()]
    assert not alive


def _soon() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 15))
