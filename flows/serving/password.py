"""The password of a Prefect server: whoever may call the API can execute commands as the user who runs the worker."""

import os
import secrets
from pathlib import Path

from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_API_AUTH_STRING

from flows.serving.own_pages import is_loopback
from flows.settings import PASSWORD_FILE

_USER = "birdclef"
_BYTES = 24


def protect_server(host: str, home: Path) -> Path | None:
    """Give a server that is to be started a password, unless the user has set one or only this machine reaches it.

    The password is set in the environment, for the server and for its clients in this process and its children.

    Args:
        host: Address on which the server listens.
        home: Prefect home; it keeps the password for the next start.

    Returns:
        The file with user and password, as `user:password`; None if none was needed.
    """
    file = home / PASSWORD_FILE
    if chosen := PREFECT_SERVER_API_AUTH_STRING.value():
        _set(server=chosen, client=chosen)  # an older password may still be exported for clients
        file.unlink(missing_ok=True)  # it no longer opens the server
        return None
    if is_loopback(host):
        return None
    password = file.read_text().strip() if file.is_file() else ""
    if not password:
        password = _generate()
        _write_secret(file, password)
    _set(server=password, client=password)
    return file


def protect_temporary_server() -> None:
    """Give the server that Prefect starts for one run in this process a password that nobody needs to know.

    A page in a browser of this machine could otherwise call the server, and leave runs in the database that a later
    worker executes.
    """
    if not PREFECT_API_URL.value() and not PREFECT_SERVER_API_AUTH_STRING.value():
        password = _generate()
        _set(server=password, client=password)


def _generate() -> str:
    return f"{_USER}:{secrets.token_urlsafe(_BYTES)}"


def _write_secret(file: Path, content: str) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(f"{content}\n")


def _set(server: str, client: str) -> None:
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = server
    os.environ["PREFECT_API_AUTH_STRING"] = client
    refresh_global_settings_context()  # Prefect read the environment when it was imported
