"""Checks that this host serves: the Prefect server answers, and the worker has sent a heartbeat recently.

A worker sends heartbeats while its runs compute, even if they take days, and stops when it is stuck. A container runs
`python -m flows.monitoring.health` every 30 s, so this module loads neither Prefect nor any stage.
"""

from http import HTTPStatus
from typing import Annotated

import typer

from flows.monitoring.server_api import WrongAnswerError, api_url, ask_server
from flows.settings import POOL, own_worker


def health(
    port: Annotated[int, typer.Option(help="Port of the server on this host; PREFECT_API_URL replaces it.")] = 4200,
    server_only: Annotated[bool, typer.Option("--server-only", help="Check only the server.")] = False,
) -> None:
    """Check that server and worker are alive, even if they are busy; the exit status is 1 if not."""
    url = api_url(port)
    if ailment := find_ailment(url, None if server_only else own_worker()):
        typer.echo(ailment, err=True)
        raise typer.Exit(1)
    typer.echo(
        f"The server at {url} answers."
        if server_only
        else f"The server at {url} and the worker {own_worker()} are alive."
    )


def find_ailment(url: str, worker: str | None) -> str | None:
    """Returns what is wrong and what to do about it; None if nothing is wrong.

    Args:
        url: URL of the server's API.
        worker: Name of the worker that must be alive; None checks only the server and its database.
    """
    try:
        if worker is None:
            ask_server(url, "/ready")
            return None
        workers = ask_server(url, f"/work_pools/{POOL}/workers/filter", {})
    except OSError as error:
        if isinstance(error, WrongAnswerError) and error.status == HTTPStatus.NOT_FOUND:
            return f"The server at {url} has no work pool {POOL}. Start `birdclef serve`."
        return str(error)
    return _find_ailment_of(worker, workers, url)


def _find_ailment_of(worker: str, workers: list[dict[str, str]], url: str) -> str | None:
    """Returns what is wrong with one of the workers that the server knows; None if nothing is wrong."""
    heartbeats = {found["name"]: (found["status"], found["last_heartbeat_time"]) for found in workers}
    if worker not in heartbeats:
        return (
            f"The server at {url} knows no worker {worker} in the pool {POOL}. Start `birdclef serve` on this host, "
            "with this PREFECT_HOME."
        )
    status, last = heartbeats[worker]
    if status != "ONLINE":
        return f"The worker {worker} is stuck or has ended: its last heartbeat was at {last}. Restart `birdclef serve`."
    return None


if __name__ == "__main__":
    typer.run(health)
