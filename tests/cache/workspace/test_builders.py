import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cache.workspace.builders import AtWorkError, alone_at_work, at_work, is_at_work

HOLD = """
import sys, time
from pathlib import Path
from cache.workspace.builders import at_work
with at_work(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def locks(workspace: Path) -> list[str]:
    return [path.name for path in (workspace / ".work").iterdir() if path.name != "door.lock"]


def test_several_may_be_at_work_at_once_and_leave_no_lock(tmp_path: Path) -> None:
    with at_work(tmp_path), at_work(tmp_path):
        assert len(locks(tmp_path)) == 2
        assert is_at_work(tmp_path)
    assert not is_at_work(tmp_path)
    assert locks(tmp_path) == []


def test_nobody_is_alone_while_another_is_at_work(tmp_path: Path) -> None:
    with at_work(tmp_path), pytest.raises(AtWorkError, match="being built in"), alone_at_work(tmp_path):
        pass
    with alone_at_work(tmp_path):
        pass


def test_killed_worker_is_in_nobodys_way(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "in\n"
        with pytest.raises(AtWorkError), alone_at_work(tmp_path):
            pass
        os.kill(worker.pid, signal.SIGKILL)
    with alone_at_work(tmp_path):
        assert locks(tmp_path) == []
