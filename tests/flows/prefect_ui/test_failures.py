"""What is told of a run that fails: one sentence if a user can mend it, a traceback if it is a defect."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_ui.failures import fail_in_one_sentence
from flows.tasks import STAGE

Birdclef = Callable[..., subprocess.CompletedProcess[str]]


def _messages_of_failed_runs(server: str) -> list[str]:
    wanted = json.dumps({"flow_runs": {"state": {"name": {"any_": ["Failed"]}}}}).encode()
    request = Request(f"{server}/flow_runs/filter", wanted, {"Content-Type": "application/json"})
    with urlopen(request, timeout=20) as response:
        return [run["state"]["message"] for run in json.load(response)]


@pytest.mark.parametrize("log", ["text", "json"])
def test_user_error_is_told_once_and_is_the_state_of_the_run(
    birdclef: Birdclef, birdclef_alone: Birdclef, prefect_server: str, webhook: Any, tmp_path: Path, log: str
) -> None:
    """With a webhook the flow alone checks the table, so that the run fails and the webhook is told."""
    arguments = ("run", "demo", f"data.root={tmp_path}/none", "--workspace", str(tmp_path))
    environment = {"PREFECT_API_URL": prefect_server, "BIRDCLEF_WEBHOOK": webhook.url}
    if log == "json":  # which is set up while modules are imported
        failed = birdclef_alone("--log-json", *arguments, **environment)
    else:
        failed = birdclef(*arguments, **environment)
    assert failed.returncode == 1
    sentence = f"FileNotFoundError: There is no table of recordings at {tmp_path}/none/train_metadata.csv."
    assert (failed.stdout + failed.stderr).count("There is no table of recordings") == 1
    assert sentence in failed.stderr
    assert "Traceback" not in failed.stderr
    line = next(line for line in failed.stderr.splitlines() if sentence in line)
    message = json.loads(line)["message"] if log == "json" else line
    assert message in _messages_of_failed_runs(prefect_server)


def test_user_error_has_its_traceback_once_if_that_is_asked_for(birdclef: Birdclef, tmp_path: Path) -> None:
    failed = birdclef("-v", "features", "demo", f"data.root={tmp_path}/none", "--workspace", str(tmp_path))
    assert failed.returncode == 1
    assert failed.stderr.count("Traceback (most recent call last)") == 1
    assert "cache/recordings/user_table.py" in failed.stderr
    wrong = birdclef("--verbose", "config", "show", "smal")
    assert wrong.stderr.count("Traceback (most recent call last)") == 1
    assert "FileNotFoundError: There is no preset 'smal'" in wrong.stderr


def test_defect_keeps_its_traceback(prefect_server: str, caplog: pytest.LogCaptureFixture) -> None:
    @task(**STAGE)
    def build() -> str:
        return {}["missing"]

    @flow
    @fail_in_one_sentence
    def defective(config: str = "demo") -> str:
        return build()

    with temporary_settings({PREFECT_API_URL: prefect_server}), pytest.raises(KeyError, match="missing"):
        defective()
    assert "Encountered exception during execution: KeyError('missing')" in caplog.text
    assert "Traceback (most recent call last)" in caplog.text
    assert any("KeyError: 'missing'" in message for message in _messages_of_failed_runs(prefect_server))
