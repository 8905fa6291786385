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
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from filelock import FileLock
from warm_command_line import WarmCommandLine

from cache.synth import CorpusPlan, synthesize_corpus

PROJECT = Path(__file__).resolve().parents[2]

Birdclef = Callable[..., subprocess.CompletedProcess[str]]


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
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = CorpusPlan(species=20, recordings=80, seed=1, min_seconds=1.0, max_seconds=3.0)
    return synthesize_corpus(tmp_path_factory.mktemp("data") / "corpus", plan)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed wheel of the project; no clone is near."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "prefect.yaml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    for name in ("birdclef", "cache", "flows", "configs"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", folder / "installed", source], check=True)
    shutil.rmtree(source)
    return folder / "installed"


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
def make_prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a Prefect home whose database has its tables: Prefect takes 7 s to make them, once for all workers here."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prefect_tables"
    with FileLock(f"{shared}.lock"):
        if not shared.is_dir():
            command = [sys.executable, "-m", "prefect", "--no-prompt", "server", "database", "upgrade", "-y"]
            environment = {**_without_settings(), "PREFECT_HOME": f"{shared}.unfinished"}
            subprocess.run(command, env=environment, check=True, capture_output=True)
            Path(f"{shared}.unfinished").rename(shared)
    return lambda name: Path(shutil.copytree(shared, tmp_path_factory.mktemp(name) / "home"))


@pytest.fixture(scope="session")
def prefect_environment(make_prefect_home: Callable[[str], Path]) -> dict[str, str]:
    """An environment with a Prefect home of its own and no server set."""
    return {**_without_settings(), "PREFECT_HOME": str(make_prefect_home("prefect"))}


@pytest.fixture(scope="session")
def prefect_server(prefect_environment: dict[str, str], make_prefect_home: Callable[[str], Path]) -> Iterator[str]:
    """The API's URL of a server that runs as long as the tests, so that not every command starts its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = make_prefect_home("prefect_server")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "server", "start", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/api"
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            env={**prefect_environment, "PREFECT_HOME": str(home), "PREFECT_SERVER_UI_API_URL": "/api"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 120
    while True:
        with suppress(OSError), urlopen(f"{url}/health", timeout=5):
            break
        assert time.monotonic() < deadline and server.poll() is None, (home / "log").read_text()  # noqa: PT018
        time.sleep(0.2)
    yield url
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.fixture(scope="session")
def birdclef_alone(prefect_environment: dict[str, str]) -> Birdclef:
    """Runs `birdclef ARGUMENTS...` from the project's folder and returns the finished process."""
    return partial(_run_birdclef, prefect_environment)


@pytest.fixture(scope="session")
def birdclef(
    prefect_environment: dict[str, str], prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Birdclef]:
    """The same, with a Prefect server that runs already, in processes that need not import first."""
    environment = {**prefect_environment, "PREFECT_API_URL": prefect_server}
    commands = WarmCommandLine(environment, tmp_path_factory.mktemp("commands"))
    yield commands
    commands.end()


def _run_birdclef(inherited: dict[str, str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.command_line.app", *arguments],
        cwd=PROJECT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
