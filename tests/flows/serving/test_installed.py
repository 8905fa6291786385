"""`birdclef serve` of an installed wheel, started in a folder that is no clone: it deploys, and a run completes."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_PATIENCE_SECONDS = 240


@pytest.fixture
def folder(tmp_path: Path, corpus: Path) -> Path:
    """A folder with recordings at `data/demo`, where the preset `demo` looks for them."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo").symlink_to(corpus)
    return tmp_path


@pytest.fixture
def served(folder: Path, installed: Path, prefect_environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of other commands beside a `birdclef serve` that is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**prefect_environment, "PREFECT_HOME": str(folder / "prefect"), "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-m", "flows.command_line.app", "serve", "--port", str(port)]
    log = folder / "serve.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while "serve: ready at" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield {**environment, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_a_run_of_the_installed_package_works_in_the_folder_where_serve_was_started(
    served: dict[str, str], folder: Path, installed: Path
) -> None:
    def prefect(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=folder,
            env=served,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )

    parameters = json.dumps({"config": "demo", "overrides": ["features.n_mels=16"]})
    done = prefect("deployment", "run", "birdclef-features/stage", "--params", parameters, "--watch")
    assert done.returncode == 0, done.stdout + done.stderr + (folder / "serve.log").read_text()
    (catalogue,) = (folder / "workspace" / "catalogues").iterdir()
    provenance = json.loads((catalogue / "provenance.json").read_text())
    assert provenance["kind"] == "catalogues"
    deployed = prefect("deployment", "inspect", "birdclef/full-pipeline", "--output", "json").stdout
    assert json.loads(deployed)["entrypoint"] == "flows.pipeline.full_pipeline"
    assert not (installed / "workspace").exists()
