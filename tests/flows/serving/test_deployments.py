"""Schedules, and what becomes of runs that were missed."""

import asyncio
import json
import re
import time
import uuid
from collections import Counter
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessJobConfiguration

from flows.serving import deployments
from flows.serving.deployments import JOB_TEMPLATE, parse_schedule, prepare_pool, set_schedule, skip_missed_runs


@pytest.mark.parametrize("cron", ["61 * * * *", "weekly", "* * *", "", "0 3 * * 1 5", "0 0 3 * * 1"])
def test_wrong_cron_expression_is_told_with_an_example(cron: str) -> None:
    with pytest.raises(ValueError, match=r"--schedule: .* is not a cron expression.*'0 3 \* \* 1'"):
        parse_schedule(cron, "UTC")


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 4,6 *"])
def test_day_that_never_comes_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match=f"--schedule: '{re.escape(cron)}' names a day that never comes"):
        parse_schedule(cron, "UTC")


@pytest.mark.parametrize("cron", ["0 0 29 2 *", "0 3 * * 1", "@weekly"])
def test_day_that_comes_is_taken(cron: str) -> None:
    assert parse_schedule(cron, "UTC").cron == cron


def test_wrong_time_zone_is_told_with_an_example() -> None:
    with pytest.raises(ValueError, match=r"--timezone: 'Mars' is not a time zone.*Europe/Berlin"):
        parse_schedule("0 3 * * 1", "Mars")


def test_schedule_follows_the_last_call_and_spares_others(prefect_server: str) -> None:
    schedules = {cron: parse_schedule(cron, "UTC") for cron in ("5 5 * * *", "0 3 * * 1", "0 4 * * 1")}

    async def change() -> tuple[list[bool], list[str], list[str]]:
        async with get_client() as client:
            deployment = await _deploy(client)
            mine = DeploymentScheduleCreate(schedule=schedules["5 5 * * *"], active=True)
            await client.create_deployment_schedules(deployment, [mine])
            await set_schedule(schedules["0 3 * * 1"], {})
            (made,) = [each for each in await client.read_deployment_schedules(deployment) if each.slug]
            await client.update_deployment_schedule(deployment, made.id, active=False)
            await set_schedule(schedules["0 3 * * 1"], {})
            paused = [each.active for each in await client.read_deployment_schedules(deployment) if each.slug]
            await set_schedule(schedules["0 4 * * 1"], {"config": "a.yaml"})
            moved = [each.schedule for each in await client.read_deployment_schedules(deployment) if each.slug]
            await set_schedule(None, {})
            left = await client.read_deployment_schedules(deployment)
            await client.delete_deployment(deployment)
            return paused, [each.cron for each in moved], [each.schedule.cron for each in left]

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        assert asyncio.run(change()) == ([False], ["0 4 * * 1"], ["5 5 * * *"])


def test_of_missed_scheduled_runs_the_newest_is_left(prefect_server: str) -> None:
    configs = ("small.yaml", "large.yaml")

    async def miss() -> tuple[list[FlowRun], list[FlowRun]]:
        async with get_client() as client:
            deployment = await _deploy(client)
            every_second = IntervalSchedule(interval=1)
            wanted = [
                DeploymentScheduleCreate(schedule=every_second, active=True, parameters={"config": config})
                for config in configs
            ]
            schedules = await client.create_deployment_schedules(deployment, wanted)
            deadline = time.monotonic() + 60
            waiting: Counter[str] = Counter()
            while min(waiting[config] for config in configs) < 3:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.5)
                waiting = Counter(_config(run) for run in await _waiting(client))
            for _ in range(2):  # the second time for what the server was about to schedule
                for schedule in schedules:
                    await client.update_deployment_schedule(deployment, schedule.id, active=False)
                await asyncio.sleep(1)
            before = await _waiting(client)
            await skip_missed_runs()
            after = await _waiting(client)
            await client.delete_deployment(deployment)
            return before, after

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        before, after = asyncio.run(miss())
    newest = {_config(run): run.id for run in sorted(before, key=lambda run: run.expected_start_time)}
    assert {_config(run): run.id for run in after} == newest
    assert len(after) == len(configs)


async def _deploy(client: PrefectClient) -> UUID:
    @flow(name="birdclef")
    def pipeline(config: str = "") -> None:
        pass

    return await client.create_deployment(await client.create_flow(pipeline), "full-pipeline")


def _config(run: FlowRun) -> str:
    return str(run.parameters.get("config"))


async def _waiting(client: PrefectClient) -> list[FlowRun]:
    scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(state=scheduled))
    return [run for run in runs if run.auto_scheduled and run.expected_start_time.timestamp() < time.time()]


@pytest.mark.parametrize(
    "variables", [{"command": "id"}, {"env": {"LD_PRELOAD": "x"}}, {"env.PATH": "x"}, {"working_dir": "/"}]
)
def test_run_sets_no_command_and_no_environment_in_a_pool_of_an_older_version(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, object]
) -> None:
    """The older version made the pool with Prefect's own template, and its deployments set the environment."""
    pool = f"birdclef-{uuid.uuid4().hex}"
    monkeypatch.setattr(deployments, "POOL", pool)

    async def attack() -> None:
        async with get_client() as client:
            await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
            flow_id = await client.create_flow_from_name("attacked")
            older = {"env": {"DO_NOT_TRACK": "1"}}
            await client.create_deployment(flow_id, pool, work_pool_name=pool, job_variables=older)
            await prepare_pool()
            deployment = await client.create_deployment(flow_id, pool, work_pool_name=pool)
            await client.create_flow_run_from_deployment(deployment)
            with pytest.raises(PrefectHTTPStatusError, match="422"):
                await client.create_flow_run_from_deployment(deployment, job_variables=variables)

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        asyncio.run(attack())


def test_runs_have_the_environment_of_the_template_and_the_command_of_the_worker(prefect_server: str) -> None:
    template = json.loads(JOB_TEMPLATE.read_text())
    asked = {"command": "id", "working_dir": "/", "name": "x"}
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        job = asyncio.run(ProcessJobConfiguration.from_template_and_values(template, asked))
    assert (job.command, job.working_dir) == (None, None)
    assert job.env["PREFECT_LOGGING_EXTRA_LOGGERS"] == "birdclef,cache"
