"""Which requests a server without a password answers, by their headers `Host` and `Origin`."""

from http import HTTPStatus
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from flows.serving.own_pages import find_refusal

PROXY = ["same-origin", "https://birds.example.org"]


@pytest.mark.parametrize(
    ("host", "origin", "origins"),
    [
        ("127.0.0.1:4200", None, ["same-origin"]),  # a program
        ("127.0.0.1:4200", "http://127.0.0.1:4200", ["same-origin"]),
        ("localhost:14200", "http://localhost:14200", ["same-origin"]),  # through an SSH tunnel
        ("[::1]:4200", "http://[::1]:4200", ["same-origin"]),
        ("birds.example.org", "https://birds.example.org", PROXY),
        ("127.0.0.1:4200", "https://birds.example.org", PROXY),  # a proxy that changes the host
    ],
)
def test_programs_and_own_pages_are_answered(host: str, origin: str | None, origins: list[str]) -> None:
    assert find_refusal(host, origin, origins) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:4200", "http://evil.example"),
        ("127.0.0.1:4200", "http://127.0.0.1:8000"),  # another server of this machine
        ("127.0.0.1:4200", "null"),  # a sandboxed frame
        ("127.0.0.1:4200", ""),
        ("127.0.0.1:4200", "http://["),  # no URL
        ("127.0.0.1:4200", "http://[::1"),
        ("evil.example:4200", "http://evil.example:4200"),  # DNS rebinding
        ("evil.example:4200", None),
        ("127.0.0.1.evil.example:4200", None),
        ("same-origin", None),
        ("[", None),
        ("", None),
    ],
)
def test_pages_of_other_sites_are_refused(host: str, origin: str | None) -> None:
    assert "PREFECT_SERVER_CORS_ALLOWED_ORIGINS" in str(find_refusal(host, origin, PROXY))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, HTTPStatus.OK),
        ({"Host": "evil.example"}, HTTPStatus.FORBIDDEN),
        ({"Origin": "http://evil.example"}, HTTPStatus.FORBIDDEN),
    ],
)
def test_server_refuses_by_the_headers(prefect_server: str, headers: dict[str, str], status: HTTPStatus) -> None:
    connection = HTTPConnection(urlsplit(prefect_server).netloc, timeout=30)
    connection.request("POST", "/api/flows/filter", "{}", {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    assert answer.status == status
    assert answer.getheader("X-Frame-Options") == "DENY"
    assert answer.getheader("Access-Control-Allow-Origin") is None
    connection.close()
