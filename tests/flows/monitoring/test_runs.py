"""What a real server tells of the runs."""

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.monitoring.runs import RunStatus, format_runs, read_runs


def test_run_is_listed_while_it_runs(prefect_server: str) -> None:
    @flow(name="birdclef", flow_run_name="busy-owl")
    def pipeline() -> list[RunStatus]:
        return read_runs(prefect_server)

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        (run,) = [run for run in pipeline() if run.name == "busy-owl"]
    assert (run.flow, run.state) == ("birdclef", "Running")
    assert 0 <= run.seconds < 60
    assert "busy-owl" not in {run.name for run in read_runs(prefect_server)}


def test_missing_server_is_an_os_error() -> None:
    with pytest.raises(OSError, match="refused"):
        read_runs("http://127.0.0.1:1/api")


def test_lines_tell_since_when_or_in_how_long() -> None:
    runs = [RunStatus("busy-owl", "birdclef", "Running", 90.0), RunStatus("lazy-owl", "birdclef", "Scheduled", -7200.0)]
    heading, running, scheduled = format_runs(runs, "http://127.0.0.1:4200/api").splitlines()
    assert heading == "2 run(s) at http://127.0.0.1:4200:"
    assert running.split() == ["running", "birdclef", "busy-owl", "since", "2", "min"]
    assert scheduled.split() == ["scheduled", "birdclef", "lazy-owl", "in", "2", "h"]
