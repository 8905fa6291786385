"""A small generated corpus, the demo experiment cut down to seconds, and the command line as a process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from filelock import FileLock
from warm_command_line import WarmCommandLine, fork_server_command

from cache.synth import CorpusPlan, synthesize_corpus

PROJECT = Path(__file__).resolve().parents[2]

Birdclef = Callable[..., subprocess.CompletedProcess[str]]
MakeOnce = Callable[[str, Callable[[Path], object]], Path]


class Webhook:
    """An HTTP server that keeps what it is sent; its address holds a token."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/t0k3n"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    found = Webhook()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="session")
def corpus(make_once: MakeOnce) -> Path:
    plan = CorpusPlan(species=20, recordings=80, seed=1, min_seconds=1.0, max_seconds=3.0)
    return make_once("corpus", lambda folder: synthesize_corpus(folder, plan))


@pytest.fixture(scope="session")
def installed(make_once: MakeOnce) -> Path:
    """The folder of an installed wheel of the project; no clone is near."""
    pytest.importorskip("setuptools", minversion="77")
    return make_once("installed", _install_wheel)


def _install_wheel(folder: Path) -> None:
    source = folder.with_name("source")
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "prefect.yaml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    for name in ("birdclef", "cache", "flows", "configs"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", folder, source], check=True)
    shutil.rmtree(source)


@pytest.fixture(scope="session")
def tiny_overrides(corpus: Path) -> list[str]:
    return [
        f"data.root={corpus}",
        "features.n_mels=32",
        "split.folds=2",
        "train.*.epochs=1",
        "train.*.clip_seconds=1",
        "train.*.model.backbone=test_efficientnet",
        "evaluate.bootstrap_samples=20",
        "evaluate.permutations=5",
        "evaluate.worst_errors=1",
    ]


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "BIRDCLEF_"))}


@pytest.fixture(scope="session")
def make_prefect_home(make_once: MakeOnce, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a Prefect home whose database has its tables, for which Prefect takes 7 s."""

    def make_tables(home: Path) -> None:
        command = [sys.executable, "-m", "prefect", "--no-prompt", "server", "database", "upgrade", "-y"]
        environment = {**_without_settings(), "PREFECT_HOME": str(home)}
        subprocess.run(command, env=environment, check=True, capture_output=True)

    tables = make_once("prefect_tables", make_tables)
    return lambda name: Path(shutil.copytree(tables, tmp_path_factory.mktemp(name) / "home"))


@pytest.fixture(scope="session")
def prefect_environment(make_prefect_home: Callable[[str], Path]) -> dict[str, str]:
    """An environment with a Prefect home of its own and no server set."""
    return {**_without_settings(), "PREFECT_HOME": str(make_prefect_home("prefect"))}


@contextmanager
def _share(record: Path, start: Callable[[], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What `start` returned to the first worker. The last one ends the process group that it names as `group`."""
    with FileLock(f"{record}.lock"):
        shared = json.loads(record.read_text()) if record.exists() else {"users": 0}
        if not shared["users"]:
            shared |= start()
        shared["users"] += 1
        record.write_text(json.dumps(shared))
    yield shared
    with FileLock(f"{record}.lock"):
        shared = json.loads(record.read_text())
        shared["users"] -= 1
        record.write_text(json.dumps(shared))
        if not shared["users"]:
            os.killpg(shared["group"], signal.SIGKILL)


@pytest.fixture(scope="session")
def prefect_server(
    shared_folder: Path, prefect_environment: dict[str, str], make_prefect_home: Callable[[str], Path]
) -> Iterator[str]:
    """The API's URL of a server that all workers use: it takes 10 s of CPU to start, and some while it waits.

    It runs as `birdclef serve` runs it. Tests find there what others leave.
    """

    def start() -> dict[str, Any]:
        return _start_server(prefect_environment, make_prefect_home("prefect_server"))

    with _share(shared_folder / "prefect_server.json", start) as server:
        yield server["url"]


def _start_server(environment: dict[str, str], home: Path) -> dict[str, Any]:
    """Returns the API's URL and the process group of a server that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"

    def answers() -> bool:
        with suppress(OSError), urlopen(f"{url}/health", timeout=5):
            return True
        return False

    command = [sys.executable, "-m", "flows.serving.server", "127.0.0.1", str(port)]
    environment = {**environment, "PREFECT_HOME": str(home)}
    return {"url": url, "group": _start_group(command, environment, home / "log", answers)}


def _start_fork_server(environment: dict[str, str], address: Path) -> dict[str, Any]:
    """Returns the address and the process group of a fork server that listens."""
    log = address.with_name("fork_server.log")
    group = _start_group(fork_server_command(address), environment, log, address.exists)
    return {"address": str(address), "group": group}


def _start_group(command: list[str], environment: dict[str, str], log: Path, ready: Callable[[], bool]) -> int:
    """Start a process that may outlive this worker, wait until it is ready, and return its process group."""
    started = subprocess.run(
        ["sh", "-c", '"$@" > "$LOG" 2>&1 & echo $$', "sh", *command],
        cwd=PROJECT,
        env={**environment, "LOG": str(log)},
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=True,
    )
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    return int(started.stdout)


@pytest.fixture(scope="session")
def birdclef_alone(prefect_environment: dict[str, str]) -> Birdclef:
    """Runs `birdclef ARGUMENTS...` from the project's folder and returns the finished process."""
    return partial(_run_birdclef, prefect_environment)


@pytest.fixture(scope="session")
def birdclef(
    shared_folder: Path,
    prefect_environment: dict[str, str],
    prefect_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Birdclef]:
    """The same, with a Prefect server that runs already, in processes that need not import first."""
    environment = {**prefect_environment, "PREFECT_API_URL": prefect_server}

    def start() -> dict[str, Any]:
        address = shared_folder / f"fork{uuid.uuid4().hex[:4]}"  # a socket's path may have 107 characters
        return _start_fork_server(environment, address)

    with _share(shared_folder / "fork_server.json", start) as server:
        commands = WarmCommandLine(Path(server["address"]), environment, tmp_path_factory.mktemp("commands"))
        yield commands
        commands.end()


def _run_birdclef(inherited: dict[str, str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.command_line.entry", *arguments],
        cwd=PROJECT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
