"""What a Prefect server has to know before a worker starts: pool, deployments, schedule, and which runs are dead."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import State
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelled, Crashed
from pydantic import ValidationError

from flows.monitoring.notify import notify_of_run
from flows.serving.supervisor import ServeError
from flows.settings import POOL, WORKER

logger = logging.getLogger(__name__)

FLOW, DEPLOYMENT = "birdclef", "full-pipeline"
SCHEDULE = "retraining"


def parse_schedule(cron: str, timezone: str) -> CronSchedule:
    """Returns a schedule.

    Raises:
        ValueError: If the expression or the time zone is wrong.
    """
    try:
        return CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        if any(problem["loc"] == ("timezone",) for problem in error.errors()):
            raise ValueError(
                f"--timezone: {timezone!r} is not a time zone. Take a name such as UTC or Europe/Berlin."
            ) from error
        raise ValueError(
            f"--schedule: {cron!r} is not a cron expression. Take minute, hour, day of the month, month and day of the "
            "week, such as '0 3 * * 1': Mondays at 3:00."
        ) from error


def deploy(project: Path) -> None:
    """Register all deployments of `prefect.yaml`.

    Raises:
        ServeError: If that fails.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ServeError(f"`prefect deploy --all` failed in {project}:\n{result.stdout}\n{result.stderr}")


async def prepare_pool() -> None:
    """Create the work pool, or close the runs that a dead worker left in it."""
    async with get_client() as client:
        try:
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        except ObjectAlreadyExists:
            await _close_stale_runs(client)


async def _close_stale_runs(client: PrefectClient) -> None:
    """Mark what a dead worker left running as crashed, unless a worker elsewhere may still be at it."""
    workers = await client.read_workers_for_work_pool(POOL)
    if any(worker.status == WorkerStatus.ONLINE and worker.name != WORKER for worker in workers):
        logger.warning("serve: another worker serves the pool %s, its runs are left alone", POOL)
        return
    unfinished = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=unfinished)),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
    )
    for run in runs:
        state: State[None] = Crashed(message="Its worker was killed.")
        await client.set_flow_run_state(run.id, state, force=True)
        notify_of_run(await client.read_flow(run.flow_id), run, state)
    if runs:
        logger.warning(
            "serve: closed %d run(s) that a killed worker left behind", len(runs), extra={"closed_runs": len(runs)}
        )


async def set_schedule(schedule: CronSchedule | None, parameters: dict[str, Any]) -> None:
    """Let the full pipeline run on a schedule, or no longer; schedules that others made stay.

    An unchanged schedule is left alone, so one that was paused stays paused.

    Args:
        schedule: None removes the schedule that an earlier call made.
        parameters: Of the scheduled runs.
    """
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(f"{FLOW}/{DEPLOYMENT}")
        for known in deployment.schedules:
            if known.slug != SCHEDULE:
                continue
            if known.schedule == schedule and known.parameters == parameters:
                return
            await client.delete_deployment_schedule(deployment.id, known.id)
        if schedule:
            wanted = DeploymentScheduleCreate(schedule=schedule, active=True, parameters=parameters, slug=SCHEDULE)
            await client.create_deployment_schedules(deployment.id, [wanted])


async def skip_missed_runs() -> None:
    """Leave of the scheduled runs that wait the newest with the same parameters: it makes up for all missed ones."""
    async with get_client() as client:
        waiting = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[DEPLOYMENT])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC)}),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        )
        kept: set[str] = set()
        missed = []
        for run in waiting:
            if run.auto_scheduled:
                parameters = json.dumps(run.parameters, sort_keys=True)
                if parameters in kept:
                    missed.append(run)
                kept.add(parameters)
        for run in missed:
            await client.set_flow_run_state(run.id, Cancelled(message="A later scheduled run waits as well."))
        if missed:
            logger.info(
                "serve: skipped %d scheduled run(s), for a later one waits", len(missed), extra={"skipped": len(missed)}
            )
