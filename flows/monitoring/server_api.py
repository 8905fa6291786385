"""Asks a Prefect server without importing Prefect, because the import takes seconds."""

import json
import os
from base64 import b64encode
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from flows.settings import PASSWORD_FILE, prefect_home

_TIMEOUT_SECONDS = 10
_THIS_HOST = ("127.0.0.1", "::1", "localhost")
_HEALTH = "/health"
"""Path at which every Prefect server answers `true`, also without a password."""


class NoAnswerError(OSError):
    """No server answers; the message says where, why and what to do."""


class WrongAnswerError(OSError):
    """A server answers, but not what was asked for; the message says where, why and what to do.

    Attributes:
        status: Status of the error with which a Prefect server answers; None: another server, or a proxy, answers.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        """Make an error with its message."""
        super().__init__(message)
        self.status = status


def api_url(port: int = 4200) -> str:
    """Returns the URL of the API, without a slash at its end: $PREFECT_API_URL, else that of a port of this host."""
    return (os.environ.get("PREFECT_API_URL") or f"http://127.0.0.1:{port}/api").rstrip("/")


def ask_server(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Returns the server's answer to a POST if there is a body, else to a GET.

    The request carries the user and password of `PREFECT_API_AUTH_STRING` ("user:password"), if it is set, and else to
    a server of this host those that `birdclef serve` wrote into the Prefect home.

    Args:
        url: URL of the API, such as `http://127.0.0.1:4200/api`.
        path: Path behind this URL, such as `/ready`.
        body: Content of the POST; it is sent as JSON.

    Raises:
        NoAnswerError: If the URL is wrong, or no server answers within 10 s.
        WrongAnswerError: If the server answers with an error, or is no Prefect server.
    """
    if not _is_http(url):
        raise NoAnswerError(f"{url!r} is no URL: set PREFECT_API_URL to one such as http://127.0.0.1:4200/api.")
    request = Request(f"{url}{path}", None if body is None else json.dumps(body).encode())  # noqa: S310
    request.add_header("Content-Type", "application/json")
    if user_and_password := os.environ.get("PREFECT_API_AUTH_STRING") or _read_password(url):
        request.add_header("Authorization", f"Basic {b64encode(user_and_password.encode()).decode()}")
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            return json.load(response)
    except HTTPError as error:
        with error:  # it holds the connection open
            raise _describe_refusal(url, path, error) from error
    except HTTPException as error:
        raise _no_prefect_server(url, "its answer is not HTTP") from error
    except OSError as error:
        raise NoAnswerError(
            f"No server answers at {url} ({getattr(error, 'reason', error)}). Start it, or set PREFECT_API_URL to "
            "the address of a server that runs."
        ) from error
    except ValueError as error:
        raise _no_prefect_server(url, "its answer is not JSON") from error


def check_server(url: str) -> None:
    """Check that a Prefect server answers.

    Args:
        url: URL of the API.

    Raises:
        NoAnswerError, WrongAnswerError: As `ask_server`.
    """
    if ask_server(url, _HEALTH) is not True:
        raise _no_prefect_server(url, f"it has no {_HEALTH} as Prefect has")


def _read_password(url: str) -> str | None:
    """Returns `user:password` of a server that this host runs; None for other hosts, which must not learn it."""
    if urlsplit(url).hostname in _THIS_HOST:
        with suppress(OSError):
            return (prefect_home() / PASSWORD_FILE).read_text().strip()
    return None


def _is_http(url: str) -> bool:
    with suppress(ValueError):  # a port that is no number, or a half of an IPv6 address
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    return False


def _describe_refusal(url: str, path: str, error: HTTPError) -> WrongAnswerError:
    """Returns the error for an answer with an HTTP error; of a Prefect server's own errors it holds the status."""
    told = f"The server at {url} answers {error.code} {error.reason}"
    if error.code == HTTPStatus.UNAUTHORIZED:
        return WrongAnswerError(
            f"{told}: PREFECT_API_AUTH_STRING must be its user:password. You set it, or `birdclef serve` made one and "
            f"wrote it into {PASSWORD_FILE} in its PREFECT_HOME."
        )
    status = error.code if path != _HEALTH and _is_prefect(url) else None
    if status or error.code == HTTPStatus.FORBIDDEN or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return WrongAnswerError(f"{told}. Look for the reason in the server's log.", status)
    return _no_prefect_server(url, f"it answers {error.code} {error.reason}")


def _is_prefect(url: str) -> bool:
    with suppress(OSError):
        check_server(url)
        return True
    return False


def _no_prefect_server(url: str, why: str) -> WrongAnswerError:
    return WrongAnswerError(
        f"What answers at {url} is no Prefect server: {why}. Name another port, or set PREFECT_API_URL to a Prefect "
        "server, such as http://127.0.0.1:4200/api."
    )
