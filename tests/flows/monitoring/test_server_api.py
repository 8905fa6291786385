"""A server with a password."""

from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError

import pytest

from flows.command_line.upkeep import status
from flows.monitoring.health import find_ailment
from flows.monitoring.runs import read_runs


@pytest.fixture
def guarded_url() -> Iterator[str]:
    """The API's URL of a server that knows no run and no worker, and tells only who has the password."""

    class Guarded(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            expected = f"Basic {b64encode(b'user:password').decode()}"
            self.send_response(200 if self.headers["Authorization"] == expected else 401)
            self.end_headers()
            self.wfile.write(b"[]")

    with HTTPServer(("127.0.0.1", 0), Guarded) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_the_password_of_the_server_is_sent(
    guarded_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    with pytest.raises(HTTPError, match="401"):
        read_runs(guarded_url)
    assert "answers 401" in str(find_ailment(guarded_url, "a worker"))
    monkeypatch.setenv("PREFECT_API_URL", guarded_url)
    status(str(tmp_path))
    assert f"the server at {guarded_url} answers 401" in capsys.readouterr().out
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "user:password")
    assert read_runs(guarded_url) == []
    assert "knows no worker" in str(find_ailment(guarded_url, "a worker"))
