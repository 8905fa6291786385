import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cache.workspace.unfinished_output import Job, check_output_in_steps, write_in_steps


def begin(output: Path, rows: str, job: Job = Job("key", resume=False)) -> None:  # noqa: B008 - it is frozen
    """Write a row in each step, as far as an interruption lets it."""
    with write_in_steps(output, job, []) as unfinished:
        unfinished.continue_rows()
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


def test_rows_that_a_loss_of_power_turned_into_zeros_are_written_again(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "abde")
    (tmp_path / "a.unfinished").write_bytes(b"ab\0\0")
    assert go_on(tmp_path / "a") == ["a", "b"]
    assert (tmp_path / "a").read_text() == "abc"


def spoil(key: str, value: object) -> Callable[[bytes], bytes]:
    """Returns a function that changes one value of a line."""
    return lambda line: json.dumps({**json.loads(line), key: value}).encode()


@pytest.mark.parametrize(
    "damage",
    [
        *(
            lambda _, new=new: new
            for new in (b"", b"null", b"{}", b"7", b'"a"', b"[]", b"[" * 100_000, b"{", b"\0\xff")
        ),
        *(spoil("bytes", size) for size in (None, 1.5, -1, 0, 3, 10**15)),
        *(spoil("row", "x"), spoil("sha256", None), spoil("sha256", "0" * 64)),
    ],
)
def test_steps_from_a_damaged_line_on_are_not_finished(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "abd")
    record = tmp_path / "a.steps"
    job, first, second, third, end = record.read_bytes().split(b"\n")
    record.write_bytes(b"\n".join([job, first, damage(second), third, end]))
    assert go_on(tmp_path / "a") == ["a"]
    assert (tmp_path / "a").read_text() == "ac"


def test_output_that_went_on_goes_on_again(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "a")
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "b", Job("key", resume=True))
    assert go_on(tmp_path / "a") == ["a", "b"]
    assert (tmp_path / "a").read_text() == "abc"


@pytest.mark.parametrize("name", ["a.unfinished", "a.steps"])
@pytest.mark.parametrize("content", ["notes", '{"job": 1}', None])
def test_foreign_files_beside_the_output_stay(tmp_path: Path, name: str, content: str | None) -> None:
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"/{name} is no part of an unfinished output, .* Move it away, or name"):
        begin(tmp_path / "a", "a")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.unfinished", "a.steps"])
def test_input_beside_the_output_stays_even_if_it_looks_like_a_part_of_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "a")
    check_output_in_steps(tmp_path / "a", [tmp_path / "absent"])
    with pytest.raises(ValueError, match=rf"/{name} is no part of an unfinished output"):
        check_output_in_steps(tmp_path / "a", [tmp_path / name])


def test_caller_is_told_from_the_first_step_on(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "", Job("key", resume=False, when_kept=lambda: told.append("no step")))
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "a", Job("key", resume=False, when_kept=lambda: told.append("first step")))
    with pytest.raises(InterruptedError):
        begin(tmp_path / "a", "", Job("key", resume=True, when_kept=lambda: told.append("resumed")))
    assert told == ["first step", "resumed"]
