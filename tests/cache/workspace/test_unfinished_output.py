from pathlib import Path

import pytest

from cache.workspace.unfinished_output import Job, write_in_steps


def begin(output: Path, rows: str) -> None:
    """Write a row in each step, as far as an interruption lets it."""
    with write_in_steps(output, Job("key", resume=False), []) as unfinished:
        for row in rows:
            unfinished.stream.write(row)
            unfinished.keep({"row": row})
        unfinished.stream.write("unfinished")
        raise InterruptedError


def go_on(output: Path) -> list[str]:
    """Returns the rows of the earlier steps; writes one more."""
    with write_in_steps(output, Job("key", resume=True), []) as unfinished:
        unfinished.continue_rows()
        unfinished.stream.write("c")
        return [step["row"] for step in unfinished.steps]


def test_output_goes_on_behind_the_finished_steps(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "ab")
    assert go_on(tmp_path / "a") == ["a", "b"]
    assert (tmp_path / "a").read_text() == "abc"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_torn_line_of_a_killed_process_is_no_step(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "ab")
    record = tmp_path / "a.steps"
    record.write_bytes(record.read_bytes()[:-5])
    assert go_on(tmp_path / "a") == ["a"]
    assert (tmp_path / "a").read_text() == "ac"


def test_nothing_is_left_of_an_output_without_a_step(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_write_one_output(tmp_path: Path) -> None:
    with (
        write_in_steps(tmp_path / "a", Job("key", resume=False), []) as unfinished,
        pytest.raises(RuntimeError, match=r"Another process writes .*a\.unfinished now"),
        write_in_steps(tmp_path / "a", Job("key", resume=False), []),
    ):
        unfinished.stream.write("never")
