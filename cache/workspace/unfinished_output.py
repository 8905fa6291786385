"""An output that is written step by step, such as recording by recording, and can go on after an interruption.

Beside `OUTPUT` lie `OUTPUT.unfinished`, which becomes the output at the end, and `OUTPUT.steps`, one line of JSON for
each finished step.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from cache.workspace.atomic_files import flush_to_disk
from cache.workspace.user_output import check_output


@dataclass(frozen=True)
class Job:
    """What an output is made from.

    Attributes:
        key: Digest of all inputs and settings; an output goes on only with the same.
        resume: Whether to go on after the finished steps of an earlier call; False begins anew.
    """

    key: str
    resume: bool


class UnfinishedOutput:
    """The files of an output that is not finished.

    Attributes:
        stream: Where the rows are written.
        steps: Content of each finished step, the first one first.
    """

    def __init__(self, rows: Path, record: Path, job: Job) -> None:
        self._rows, self._record, self._job = rows, record, job
        self.stream: TextIO = _open_alone(rows)
        try:
            self.steps = self._read_steps() if job.resume else []
            if not self.steps:
                self.stream.truncate(0)
                record.write_text(json.dumps({"job": job.key}) + "\n")
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
        step = {**step, "bytes": self._rows.stat().st_size}
        with self._record.open("a") as record:
            record.write(json.dumps(step) + "\n")
        self.steps.append(step)

    def _read_steps(self) -> list[dict[str, Any]]:
        if not self._record.is_file():
            return []
        lines = self._record.read_text().splitlines(keepends=True)
        whole = [json.loads(line) for line in lines if line.endswith("\n")]  # the last line may be torn
        if not whole or whole[0].get("job") != self._job.key:
            raise ValueError(
                f"{self._rows} was written for other recordings, from another model or with other settings. To begin "
                "anew, leave out --resume."
            )
        self._record.write_text("".join(line for line in lines if line.endswith("\n")))
        size = self._rows.stat().st_size
        return [step for step in whole[1:] if step["bytes"] <= size]


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
        ValueError, IsADirectoryError: As `check_output`.
    """
    check_output(output, inputs)
    target = output.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    rows, record = (target.with_name(f"{target.name}.{kind}") for kind in ("unfinished", "steps"))
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
