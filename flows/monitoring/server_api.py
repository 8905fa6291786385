"""Asks a Prefect server without importing Prefect, because the import takes seconds."""

import json
import os
from base64 import b64encode
from typing import Any
from urllib.request import Request, urlopen

_TIMEOUT_SECONDS = 10


def ask_server(url: str, body: dict[str, Any] | None = None) -> Any:
    """Returns the server's answer to a POST if there is a body, else to a GET.

    The request carries the user and password of `PREFECT_API_AUTH_STRING` ("user:password"), if it is set.

    Args:
        url: Full URL, such as `http://127.0.0.1:4200/api/ready`.
        body: Content of the POST; it is sent as JSON.

    Raises:
        HTTPError: If the server answers with an error.
        OSError: If no server answers within 10 s.
    """
    request = Request(url, None if body is None else json.dumps(body).encode())  # noqa: S310
    request.add_header("Content-Type", "application/json")
    if user_and_password := os.environ.get("PREFECT_API_AUTH_STRING"):
        request.add_header("Authorization", f"Basic {b64encode(user_and_password.encode()).decode()}")
    with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
        return json.load(response)
