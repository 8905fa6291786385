"""Reads from a Prefect server which flow runs of this project run, wait or are late."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flows.monitoring.server_api import ask_server
from flows.monitoring.status import format_age

_NEXT_RUNS = 5


@dataclass(frozen=True)
class RunStatus:
    """One flow run that has not ended.

    Attributes:
        name: Name of the run.
        flow: Name of its flow.
        state: Prefect's name of the state, such as Running, Late, AwaitingConcurrencySlot or Scheduled.
        seconds: Seconds since the start or, if the run has not started, since the planned start; negative before it.
    """

    name: str
    flow: str
    state: str
    seconds: float


def read_runs(url: str) -> list[RunStatus]:
    """Returns the active runs, and the next runs that wait or are late.

    It does not import Prefect, because that takes seconds.

    Args:
        url: URL of the API.

    Raises:
        OSError: As `ask_server`.
    """
    active = _ask(url, ["RUNNING", "PENDING", "CANCELLING"], "START_TIME_ASC", 200)
    waiting = _ask(url, ["SCHEDULED", "PAUSED"], "EXPECTED_START_TIME_ASC", _NEXT_RUNS)
    flows = {flow["id"]: flow["name"] for flow in ask_server(url, "/flows/filter", {})}
    now = datetime.now(UTC)
    return [
        RunStatus(
            run["name"],
            flows.get(run["flow_id"], "?"),
            run["state_name"],
            (now - datetime.fromisoformat(run["start_time"] or run["expected_start_time"])).total_seconds(),
        )
        for run in active + waiting
    ]


def format_runs(runs: list[RunStatus], url: str) -> str:
    """Returns a first line with the number of runs and the server, and one line for each run."""
    lines = [f"{len(runs)} run(s) at {url.removesuffix('/api')}" + (":" if runs else "")]
    for run in runs:
        when = f"since {format_age(run.seconds)}" if run.seconds >= 0 else f"in {format_age(-run.seconds)}"
        lines.append(f"  {run.state.lower():24}  {run.flow:18}  {run.name:24}  {when}")
    return "\n".join(lines)


def _ask(url: str, states: list[str], sort: str, limit: int) -> list[dict[str, Any]]:
    wanted = {
        "flows": {"name": {"like_": "birdclef"}},
        "flow_runs": {"state": {"type": {"any_": states}}},
        "sort": sort,
        "limit": limit,
    }
    found: list[dict[str, Any]] = ask_server(url, "/flow_runs/filter", wanted)
    return found
