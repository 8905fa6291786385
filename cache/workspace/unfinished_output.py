"""An output that is written step by step, such as recording by recording, and can go on after an interruption.

Beside `OUTPUT` lie `OUTPUT.unfinished`, which becomes the output at the end, and `OUTPUT.steps`: a line of JSON that
names the job, and one for each finished step. The line of a step has a digest of all rows and steps so far. After a
loss of power either file may hold zeros or less than was written, so only steps whose digest fits count as finished.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from cache.workspace.atomic_files import flush_to_disk, write_atomically
from cache.workspace.user_output import check_output

_JOB = "job"
_JOB_BYTES = 1024
"""Longest line that names a job."""


@dataclass(frozen=True)
class Job:
    """What an output is made from.

    Attributes:
        key: Digest of all inputs and settings; an output goes on only with the same.
        resume: Whether to go on after the finished steps of an earlier call; False begins anew.
        when_kept: Called when there is a step after which a later call can go on.
    """

    key: str
    resume: bool
    when_kept: Callable[[], None] | None = None


class UnfinishedOutput:
    """The files of an output that is not finished.

    Attributes:
        stream: Where the rows are written.
        steps: Content of each finished step, the first one first.
    """

    def __init__(self, rows: Path, record: Path, job: Job) -> None:
        self._rows, self._record, self._job = rows, record, job
        self._digest = hashlib.sha256(job.key.encode())
        self.stream: TextIO = _open_alone(rows)
        try:
            self.steps = self._read_steps() if job.resume else []
            if not self.steps:
                self.stream.truncate(0)
            lines = [json.dumps({_JOB: job.key}), *map(json.dumps, self.steps)]
            write_atomically(record, "".join(f"{line}\n" for line in lines))
            self._tell()
        except BaseException:
            self.stream.close()
            raise

    def continue_rows(self) -> None:
        """Go to the end of the rows of the finished steps; call it after the head of the output is written."""
        if self.steps:
            self.stream.seek(self.steps[-1]["bytes"])
            self.stream.truncate()

    def keep(self, step: dict[str, Any]) -> None:
        """Keep the rows that were written so far, and the content of the step that wrote the last ones."""
        self.stream.flush()
        step = {**step, "bytes": os.fstat(self.stream.fileno()).st_size}
        self._digest = self._add(step)
        step["sha256"] = self._digest.hexdigest()
        with self._record.open("a") as record:
            record.write(json.dumps(step) + "\n")
        self.steps.append(step)
        self._tell()

    def _tell(self) -> None:
        if self.steps and self._job.when_kept:
            self._job.when_kept()

    def _add(self, step: dict[str, Any]) -> "hashlib._Hash":
        """Returns the digest up to a step: of the rows since the last one, and the content of this one.

        Raises:
            ValueError: If the file of the rows is shorter than the step says.
        """
        start, end, rows = self.steps[-1]["bytes"] if self.steps else 0, step["bytes"], self.stream.fileno()
        if not start <= end <= os.fstat(rows).st_size:
            raise ValueError(f"{self._rows} has no bytes {start} to {end}.")
        digest = self._digest.copy()
        digest.update(os.pread(rows, end - start, start))
        digest.update(json.dumps(step).encode())
        return digest

    def _read_steps(self) -> list[dict[str, Any]]:
        """Returns the finished steps up to the first line that is damaged, or whose rows are."""
        key = _read_job(self._record)
        if key is None:
            return []
        if key != self._job.key:
            raise ValueError(
                f"{self._rows} was written for other recordings, from another model or with other settings. To begin "
                "anew, leave out --resume."
            )
        self.steps = []
        for line in self._record.read_bytes().split(b"\n")[1:]:
            try:
                step = json.loads(line)
                expected = step.pop("sha256")
                digest = self._add(step)
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                break
            if digest.hexdigest() != expected:
                break
            self._digest = digest
            self.steps.append({**step, "sha256": expected})
        return self.steps


def _open_alone(rows: Path) -> TextIO:
    """Returns a stream to a file that no other process writes in this way.

    Raises:
        RuntimeError: If another process does.
    """
    handle = os.open(rows, os.O_RDWR | os.O_CREAT, 0o666)
    # a name that is no UTF-8 keeps its bytes, so that programs still find the file
    stream = os.fdopen(handle, "r+", newline="", encoding="utf-8", errors="surrogateescape")
    is_alone = True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_alone = rows.exists() and os.path.samestat(os.fstat(stream.fileno()), rows.stat())  # not renamed meanwhile
    except BlockingIOError:
        is_alone = False
    except OSError:  # some network file systems have no locks
        pass
    if not is_alone:
        stream.close()
        raise RuntimeError(f"Another process writes {rows} now. Wait until it has ended, or name another file.")
    return stream


def _read_job(record: Path) -> str | None:
    """Returns the key of the job that a file of steps belongs to; None if it is no such file."""
    try:
        with record.open("rb") as stream:
            key = json.loads(stream.readline(_JOB_BYTES))[_JOB]
    except (FileNotFoundError, ValueError, TypeError, LookupError, RecursionError):
        return None
    return key if isinstance(key, str) else None


def _beside(output: Path) -> tuple[Path, Path]:
    """Returns the paths of an output's rows and steps."""
    target = output.resolve()
    return target.with_name(f"{target.name}.unfinished"), target.with_name(f"{target.name}.steps")


def check_output_in_steps(output: Path, inputs: Iterable[Path]) -> None:
    """Check a regular output, and the files beside it that hold its rows and steps.

    Raises:
        ValueError: If a file beside it is one of the inputs, or belongs to no unfinished output.
        ValueError, IsADirectoryError, NotADirectoryError: As `check_output`.
    """
    inputs = [each for each in inputs if each.exists()]
    check_output(output, inputs)
    rows, record = _beside(output)
    for path in (rows, record):
        if not path.exists() and not path.is_symlink():
            continue
        is_ours = (
            path.is_file() and not path.is_symlink() and (not path.stat().st_size or _read_job(record) is not None)
        )
        if not is_ours or any(each.samefile(path) for each in inputs):
            raise ValueError(
                f"{path} is no part of an unfinished output, or is damaged, and the output {output} would replace it. "
                "Move it away, or name another output."
            )


@contextmanager
def write_in_steps(output: Path, job: Job, inputs: Iterable[Path]) -> Iterator[UnfinishedOutput]:
    """Yields the files of a regular output; it appears complete at the end of the block.

    If the block raises an error, the finished steps stay, so that a later call goes on after them.

    Args:
        output: File to write.
        job: What it is made from.
        inputs: Files that it is made from.

    Raises:
        ValueError: If an unfinished output of another job is to be continued.
        RuntimeError: If another process writes the same output.
        ValueError, IsADirectoryError, NotADirectoryError: As `check_output_in_steps`.
    """
    check_output_in_steps(output, inputs)
    target = output.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    rows, record = _beside(output)
    unfinished = UnfinishedOutput(rows, record, job)
    try:
        with unfinished.stream:
            yield unfinished
    except BaseException:
        if not unfinished.steps:
            rows.unlink()
            record.unlink()
        raise
    flush_to_disk(rows)
    rows.replace(target)
    record.unlink()
