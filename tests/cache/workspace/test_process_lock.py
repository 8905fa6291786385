"""Locks between real processes."""

import os
import subprocess
import sys
from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from cache.workspace.process_lock import hold_lock
with hold_lock(Path(sys.argv[1]), "runs/ab12"):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(lock: Path) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], text=True, env={**os.environ}, **pipes)  # type: ignore[call-overload, no-any-return]


def test_who_waits_names_the_process_that_holds_the_lock_and_the_lock_ends_with_that_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with start(lock) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with start(lock) as second:
            assert second.stdout is not None
            assert second.stderr is not None
            assert second.stderr.readline().startswith(f"runs/ab12: waits for process {first.pid} on ")
            first.kill()
            assert second.stdout.readline() == "held\n"
            second.kill()
