"""Passwords of servers; the environment and Prefect's settings are those of the test alone."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_SERVER_API_AUTH_STRING

from flows.command_line.foreground import run_flow
from flows.serving.own_pages import is_loopback
from flows.serving.password import protect_server, protect_temporary_server
from flows.settings import PASSWORD_FILE

NAMES = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING", "PREFECT_API_URL")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path))
        for name in NAMES:
            patch.setenv(name, "")  # so that the end of the test removes what the test sets
            patch.delenv(name)
        refresh_global_settings_context()
        yield
    refresh_global_settings_context()


def known() -> list[str | None]:
    """The passwords of server and clients, as Prefect has them in this process and as its children get them."""
    told = [setting.value() for setting in (PREFECT_SERVER_API_AUTH_STRING, PREFECT_API_AUTH_STRING)]
    assert told == [os.environ.get(name) for name in NAMES[:2]]
    return told


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "birds.example.org"])
def test_server_that_others_reach_gets_a_password_that_only_its_user_reads(tmp_path: Path, host: str) -> None:
    file = protect_server(host, tmp_path)
    assert file == tmp_path / PASSWORD_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    user, _, password = file.read_text().rstrip("\n").partition(":")
    assert (user, len(password)) == ("birdclef", 32)  # 24 random bytes, in Base64
    assert known() == [f"birdclef:{password}"] * 2


def test_password_stays_until_its_file_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_again() -> list[str | None]:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        refresh_global_settings_context()
        protect_server("0.0.0.0", tmp_path)
        return known()

    first = start_again()
    assert start_again() == first
    (tmp_path / PASSWORD_FILE).unlink()
    assert start_again() != first


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_server_that_only_this_machine_reaches_gets_none(tmp_path: Path, host: str) -> None:
    assert is_loopback(host)
    assert protect_server(host, tmp_path) is None
    assert known() == [None, None]
    assert list(tmp_path.glob(PASSWORD_FILE)) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_password_of_the_user_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:mine")
    refresh_global_settings_context()
    assert protect_server(host, tmp_path) is None
    assert known() == ["me:mine", "me:mine"]
    assert list(tmp_path.glob(PASSWORD_FILE)) == []


def test_chosen_password_takes_the_place_of_an_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = protect_server("0.0.0.0", tmp_path)
    assert file
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:mine")  # the client's is still that of the file
    refresh_global_settings_context()
    assert protect_server("0.0.0.0", tmp_path) is None
    assert known() == ["me:mine"] * 2
    assert not file.exists()


def test_temporary_server_has_a_password_of_its_own_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    protect_temporary_server()
    server, client = known()
    assert server == client != ""
    protect_temporary_server()
    assert known() == [server, client]


def test_server_that_runs_already_keeps_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    refresh_global_settings_context()
    protect_temporary_server()
    assert known() == [None, None]


def test_temporary_server_has_its_password_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole runs with this server are in test_app.py and test_interruption.py."""
    at_start: list[str | None] = []
    monkeypatch.setattr("flows.command_line.temporary_server.start_server", lambda: at_start.extend(known()))
    (tmp_path / "small_flow.py").write_text("def run(workspace): return []\n")
    monkeypatch.syspath_prepend(tmp_path)
    run_flow("small_flow:run", str(tmp_path / "workspace"))
    server, client = at_start
    assert server == client is not None
