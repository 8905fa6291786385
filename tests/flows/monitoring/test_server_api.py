"""What is told of servers that refuse, of other servers, and of none."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from threading import Thread

import pytest
import typer

from flows.command_line.upkeep import status
from flows.monitoring.health import find_ailment, health
from flows.monitoring.runs import read_runs
from flows.monitoring.server_api import NoAnswerError, WrongAnswerError, ask_server, check_server
from flows.settings import PASSWORD_FILE


@pytest.fixture
def serve_by() -> Iterator[Callable[[TCPServer], str]]:
    """Runs a server in a thread until the test ends; returns the URL of its API."""
    with ExitStack() as servers:

        def start(server: TCPServer) -> str:
            servers.enter_context(server)
            Thread(target=server.serve_forever, daemon=True).start()
            servers.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/api"

        yield start


@pytest.fixture
def guarded_url(serve_by: Callable[[TCPServer], str]) -> str:
    """The API's URL of a server that knows no run and no worker, and tells only who has the password."""

    class Guarded(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            expected = f"Basic {b64encode(b'user:password').decode()}"
            self.send_response(200 if self.headers["Authorization"] == expected else 401)
            self.end_headers()
            self.wfile.write(b"[]")

    return serve_by(HTTPServer(("127.0.0.1", 0), Guarded))


@pytest.fixture
def answer(serve_by: Callable[[TCPServer], str]) -> Callable[[int, str], str]:
    """Starts a server that answers everything with a status and a text; returns the URL of its API."""

    def start(code: int, text: str) -> str:
        class Constant(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(code)
                self.end_headers()
                self.wfile.write(text.encode())

            def do_POST(self) -> None:
                self.do_GET()

        return serve_by(HTTPServer(("127.0.0.1", 0), Constant))

    return start


@pytest.fixture
def ssh_url(serve_by: Callable[[TCPServer], str]) -> str:
    """The URL of a port at which SSH would answer."""

    class Shell(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            self.request.recv(1000)

    return serve_by(TCPServer(("127.0.0.1", 0), Shell))


def test_the_password_of_the_server_is_sent(
    guarded_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    with pytest.raises(WrongAnswerError, match=r"401 .*PREFECT_API_AUTH_STRING"):
        read_runs(guarded_url)
    assert "answers 401" in str(find_ailment(guarded_url, "a worker"))
    monkeypatch.setenv("PREFECT_API_URL", guarded_url)
    status(str(tmp_path))
    assert f"The server at {guarded_url} answers 401" in capsys.readouterr().out
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "user:password")
    assert read_runs(guarded_url) == []
    assert "knows no worker" in str(find_ailment(guarded_url, "a worker"))


def test_password_that_serve_made_is_sent_to_this_host_only(
    guarded_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    (tmp_path / PASSWORD_FILE).write_text("user:password\n")
    assert read_runs(guarded_url) == []
    with pytest.raises(
        WrongAnswerError, match=rf"401 .*{PASSWORD_FILE} in its PREFECT_HOME"
    ):  # another name of this host
        read_runs(guarded_url.replace("127.0.0.1", "127.1"))


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (200, "<html></html>", "is no Prefect server: its answer is not JSON"),
        (404, "no such page", "is no Prefect server: it answers 404"),
        (404, '{"detail": "Not Found"}', "is no Prefect server: it answers 404"),
        (501, "", "answers 501 .* log"),
        (503, '{"exception_message": "Service Unavailable"}', "answers 503 .* log"),
        (401, "", "answers 401 .*PREFECT_API_AUTH_STRING"),
    ],
)
def test_every_wrong_answer_is_a_sentence(answer: Callable[[int, str], str], code: int, text: str, told: str) -> None:
    url = answer(code, text)
    with pytest.raises(WrongAnswerError, match=rf"{url} {told}"):
        ask_server(url, "/ready")


def test_something_that_speaks_no_http_is_told_and_status_lists_the_artefacts_all_the_same(
    ssh_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", ssh_url)
    status(str(tmp_path))
    printed = capsys.readouterr().out
    assert "holds no artefact yet" in printed
    assert f"What answers at {ssh_url} is no Prefect server: its answer is not HTTP" in printed
    with pytest.raises(typer.Exit):
        health()
    assert "is no Prefect server" in capsys.readouterr().err


def test_missing_pool_is_told_only_of_a_prefect_server(answer: Callable[[int, str], str], prefect_server: str) -> None:
    with pytest.raises(WrongAnswerError, match=r"answers 404") as missed:
        ask_server(prefect_server, "/work_pools/no-such-pool/workers/filter", {})
    assert missed.value.status == 404
    assert "is no Prefect server" in str(find_ailment(answer(404, '{"detail": "Not Found"}'), "a worker"))


def test_health_of_another_server_is_not_that_of_prefect(
    answer: Callable[[int, str], str], prefect_server: str
) -> None:
    check_server(prefect_server)
    with pytest.raises(WrongAnswerError, match=r"is no Prefect server"):
        check_server(answer(200, '{"database": "ok"}'))


@pytest.mark.parametrize("url", ["127.0.0.1:4200/api", "localhost:4200/api", "http://localhost:port/api", "http://"])
def test_address_that_is_no_url_is_told_with_one_that_is(url: str) -> None:
    with pytest.raises(NoAnswerError, match=r"is no URL: set PREFECT_API_URL to one such as http://127"):
        ask_server(url, "/ready")


def test_slash_behind_the_url_changes_nothing(
    answer: Callable[[int, str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = answer(200, "[]")
    monkeypatch.setenv("PREFECT_API_URL", f"{url}/")
    with pytest.raises(typer.Exit):
        health()
    assert f"The server at {url} knows no worker" in capsys.readouterr().err
