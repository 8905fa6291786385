"""Whether this host serves: the Prefect server answers, and the worker has sent it a heartbeat lately.

A worker sends heartbeats while its runs compute, however long they take, and none when it is stuck. A container asks
every half minute, by `python -m flows.health`, so neither Prefect nor any stage is loaded here.
"""

import json
import os
from base64 import b64encode
from http import HTTPStatus
from typing import Annotated, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import typer

from flows.settings import POOL, WORKER

_TIMEOUT_SECONDS = 10


def health(
    port: Annotated[int, typer.Option(help="Port of the server on this host; PREFECT_API_URL goes before it.")] = 4200,
    server_only: Annotated[bool, typer.Option("--server-only", help="Ask for no worker.")] = False,
) -> None:
    """Tell whether server and worker are alive, however busy; the exit status is 1 if not."""
    url = os.environ.get("PREFECT_API_URL", f"http://127.0.0.1:{port}/api").rstrip("/")
    if ailment := find_ailment(url, None if server_only else WORKER):
        typer.echo(ailment, err=True)
        raise typer.Exit(1)
    typer.echo(
        f"The server at {url} answers." if server_only else f"The server at {url} and the worker {WORKER} are alive."
    )


def find_ailment(url: str, worker: str | None) -> str | None:
    """Returns what is wrong and what to do about it, or None if all is well.

    Args:
        url: Of the server's API.
        worker: Name of the worker that has to be alive; None asks only for the server and its database.
    """
    try:
        if worker is None:
            _ask(f"{url}/ready")
            return None
        workers = _ask(f"{url}/work_pools/{POOL}/workers/filter", {})
    except HTTPError as error:
        if worker is not None and error.code == HTTPStatus.NOT_FOUND:
            return f"The server at {url} has no work pool {POOL}: `birdclef serve` has not come that far."
        return f"The server at {url} answers {error.code} {error.reason}; its log says why."
    except OSError as error:
        return f"The server at {url} does not answer ({error}). Is it up, and is PREFECT_API_URL its address?"
    heartbeats = {found["name"]: (found["status"], found["last_heartbeat_time"]) for found in workers}
    if worker not in heartbeats:
        return f"The server at {url} knows no worker {worker} in the pool {POOL}. Does `birdclef serve` run here?"
    status, last = heartbeats[worker]
    if status != "ONLINE":
        return f"The worker {worker} is stuck or gone: its last heartbeat was at {last}. Restart `birdclef serve`."
    return None


def _ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """Returns what the server says: to a POST if there is a body, else to a GET."""
    request = Request(url, None if body is None else json.dumps(body).encode())  # noqa: S310
    request.add_header("Content-Type", "application/json")
    if user_and_password := os.environ.get("PREFECT_API_AUTH_STRING"):
        request.add_header("Authorization", f"Basic {b64encode(user_and_password.encode()).decode()}")
    with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
        return json.load(response)


if __name__ == "__main__":
    typer.run(health)
