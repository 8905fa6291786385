"""Prepares a Prefect server for a worker: work pool, deployments, schedule, and the state of dead runs."""

import asyncio
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from prefect import State
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
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
from flows.settings import POOL, own_worker

logger = logging.getLogger(__name__)

_FLOWS = Path(__file__).resolve().parents[1]

_POOL_TYPE = "process"
JOB_TEMPLATE = Path(__file__).with_name("base-job-template.json")
"""Environment of all runs. A run that set its own command or environment could execute anything, so none may."""

FLOW, DEPLOYMENT = "birdclef", "full-pipeline"
SCHEDULE = "retraining"
_CRON_FIELDS = 5


def parse_schedule(cron: str, timezone: str) -> CronSchedule:
    """Returns the schedule of a cron expression in a time zone.

    Raises:
        ValueError: If the expression or the time zone is wrong, or if no date matches the expression.
    """
    wrong = (
        f"--schedule: {cron!r} is not a cron expression. Give minute, hour, day of the month, month and day of the "
        "week, such as '0 3 * * 1' for Mondays at 3:00."
    )
    if len(cron.split()) != _CRON_FIELDS and not cron.startswith("@"):  # Prefect takes a sixth field as seconds
        raise ValueError(wrong)
    try:
        schedule = CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        if any(problem["loc"] == ("timezone",) for problem in error.errors()):
            raise ValueError(
                f"--timezone: {timezone!r} is not a time zone. Give a name such as UTC or Europe/Berlin."
            ) from error
        raise ValueError(wrong) from error
    _check_next_date(cron, timezone)
    return schedule


def _check_next_date(cron: str, timezone: str) -> None:
    # Imported here because it loads Prefect's server.
    from prefect.server.schemas.schedules import CronSchedule as ServerSchedule

    try:
        asyncio.run(ServerSchedule(cron=cron, timezone=timezone).get_dates(1))
    except ValueError as error:
        raise ValueError(
            f"--schedule: {cron!r} names a day that never comes, such as February 30. Give a day that the month has, "
            "such as '0 0 28 2 *'."
        ) from error


def deploy() -> None:
    """Register all deployments of `prefect.yaml`; their runs work in the clone, or else in the present folder.

    A clone has `prefect.yaml` beside the packages. An installed package has a copy in `flows`, and its deployments
    name modules instead of files, so that no run works in the folder of the installation.

    Raises:
        ServeError: If there is no `prefect.yaml`, or deploying fails.
    """
    installed, clone = _FLOWS / "prefect.yaml", _FLOWS.parent
    if not installed.is_file():
        _deploy(clone / "prefect.yaml", clone)
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(name_modules(installed.read_text()))
        _deploy(file, Path.cwd())


def name_modules(deployments: str) -> str:
    """Returns the YAML of deployments with entrypoints as modules, such as `flows.pipeline.split_flow`."""
    tree = yaml.safe_load(deployments)
    for deployment in tree["deployments"]:
        file, _, flow = deployment["entrypoint"].rpartition(":")
        deployment["entrypoint"] = f"{file.removesuffix('.py').replace('/', '.')}.{flow}"
    return yaml.safe_dump(tree)


def _deploy(file: Path, working_directory: Path) -> None:
    if not file.is_file():
        raise ServeError(f"{file} is missing, so there is nothing to deploy. Install birdclef again.")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    result = subprocess.run(command, cwd=working_directory, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ServeError(f"`prefect deploy --all` failed with {file}:\n{result.stdout}\n{result.stderr}")


async def prepare_pool() -> None:
    """Create the work pool; if it exists, update its template and close the runs that a dead worker left in it."""
    template = json.loads(JOB_TEMPLATE.read_text())
    async with get_client() as client:
        try:
            await client.create_work_pool(WorkPoolCreate(name=POOL, type=_POOL_TYPE, base_job_template=template))
        except ObjectAlreadyExists:
            pool = await client.read_work_pool(POOL)
            if pool.type == _POOL_TYPE and pool.base_job_template != template:
                await client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
            await _close_stale_runs(client)


async def _close_stale_runs(client: PrefectClient) -> None:
    """Mark the unfinished runs of a dead worker as crashed, unless another worker of the pool may still run them."""
    workers = await client.read_workers_for_work_pool(POOL)
    if any(worker.status == WorkerStatus.ONLINE and worker.name != own_worker() for worker in workers):
        logger.warning("serve: another worker serves the pool %s, so its runs stay open", POOL)
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
    """Set or remove the schedule of the full pipeline; does not change schedules that others made.

    If the schedule is the same as before, nothing changes: a paused schedule stays paused.

    Args:
        schedule: Schedule to set; None removes the schedule that an earlier call made.
        parameters: Parameters of the scheduled runs.
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
    """Cancel waiting scheduled runs if a later run with the same parameters waits: the latest replaces all of them."""
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
                "serve: skipped %d scheduled run(s): a later run waits", len(missed), extra={"skipped": len(missed)}
            )
