"""Commands of a user without a home folder, as in a container that is read-only or has an unknown user."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

UNKNOWN_USER = 54321
CODE = """
import os, sys
from flows.home_folder import prepare_home
user = int(sys.argv[1])
if user:
    os.setuid(user)
prepare_home()
print(*(os.environ.get(name, "") for name in ("HOME", "PREFECT_HOME", "MPLCONFIGDIR", "HF_HOME")), sep=",")
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder that every user can write; pytest's own folders are only for the user who tests."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def prepared(temporary: Path, user: int = 0, **variables: str) -> list[str]:
    """Returns HOME, PREFECT_HOME, MPLCONFIGDIR and HF_HOME as libraries find them."""
    cleared = {"HOME", "PREFECT_HOME", "MPLCONFIGDIR", "HF_HOME", "TMPDIR"}
    environment = {name: value for name, value in os.environ.items() if name not in cleared}
    environment |= {"TMPDIR": str(temporary), **variables}
    command = [sys.executable, "-c", CODE, str(user)]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return printed.rstrip("\n").split(",")


def test_home_that_can_be_written_is_used(temporary: Path) -> None:
    assert prepared(temporary, HOME=str(temporary)) == [str(temporary), "", "", ""]


def test_home_that_cannot_be_written_is_replaced_except_where_the_user_says_otherwise(temporary: Path) -> None:
    folder = temporary / f"birdclef-{os.getuid()}"
    assert prepared(temporary, HOME="/proc/home", PREFECT_HOME="/data") == [
        "/proc/home",
        "/data",
        f"{folder}/.config/matplotlib",
        f"{folder}/.cache/huggingface",
    ]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_user_whom_the_system_does_not_know_gets_a_home(temporary: Path) -> None:
    assert prepared(temporary, UNKNOWN_USER) == [f"{temporary}/birdclef-{UNKNOWN_USER}", "", "", ""]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_folder_that_another_user_prepared_is_refused(temporary: Path) -> None:
    (temporary / f"birdclef-{UNKNOWN_USER}").mkdir(mode=0o777)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        prepared(temporary, UNKNOWN_USER)
    assert "is of another user. Set HOME to a folder that can be written." in failed.value.stderr
