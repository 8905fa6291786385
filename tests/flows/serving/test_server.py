"""Servers that must not start; those that run are in tests/flows/serving/test_serve.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.context import refresh_global_settings_context

from flows.serving.server import run_server


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path))
        patch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
        yield
    refresh_global_settings_context()


@pytest.mark.parametrize(
    ("host", "origins", "told"),
    [
        (
            "0.0.0.0",
            "same-origin",
            r"Other machines reach 0\.0\.0\.0, and whoever calls the server can execute commands",
        ),
        ("127.0.0.1", "https://a.example,*", r"ALLOWED_ORIGINS=\* lets every web page call the server"),
    ],
)
def test_server_without_a_password_that_others_could_call_does_not_start(
    monkeypatch: pytest.MonkeyPatch, host: str, origins: str, told: str
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", origins)
    refresh_global_settings_context()
    with pytest.raises(ValueError, match=told):
        run_server(host, 1)
