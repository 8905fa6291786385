"""Artefacts on their way from staging to their place; tests/cache/test_s3.py has them in a bucket."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cache.workspace.keys import Recipe
from cache.workspace.provenance import PROVENANCE
from cache.workspace.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[3]
RECIPE = Recipe("splits", {"folds": 5, "seed": 42}, {"catalogue": "ab12", "other": "cd34"}, 1)

BUILD_SLOWLY = """
import sys, time
from pathlib import Path
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace

workspace = Path(sys.argv[1])

def build(staging):
    with (workspace / "builds.log").open("a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    (staging / "result.txt").write_text("done")

print(Workspace(workspace).materialise(Recipe("splits", {"folds": 5}, {}, 1), build))
"""


def write_result(staging: Path) -> None:
    (staging / "result.txt").write_text("done")


def test_remains_of_an_artefact_give_way(tmp_path: Path) -> None:
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    (directory / PROVENANCE).unlink()
    (directory / "older.txt").write_text("from an interrupted copy")
    assert Workspace(tmp_path).materialise(RECIPE, write_result) == directory
    assert sorted(path.name for path in directory.iterdir()) == [PROVENANCE, "result.txt"]


@pytest.mark.parametrize(("resumable", "handed_on"), [(False, []), (True, ["half.txt"])])
def test_failed_build_publishes_nothing_and_staging_is_kept_only_if_resumable(
    tmp_path: Path, resumable: bool, handed_on: list[str]
) -> None:
    seen: list[list[str]] = []

    def fail(staging: Path) -> None:
        (staging / "half.txt").write_text("half")
        raise RuntimeError("disk full")

    def build(staging: Path) -> None:
        seen.append([path.name for path in staging.iterdir()])
        write_result(staging)

    with pytest.raises(RuntimeError, match="disk full"):
        Workspace(tmp_path).materialise(RECIPE, fail, resumable=resumable)
    assert not Workspace(tmp_path).place(RECIPE).exists()
    assert list(Workspace(tmp_path).artefacts()) == []

    directory = Workspace(tmp_path).materialise(RECIPE, build, resumable=resumable)
    assert seen == [handed_on]
    assert sorted(path.name for path in directory.iterdir()) == sorted([*handed_on, "provenance.json", "result.txt"])


def test_checkpoints_are_in_no_artefact_and_last_until_it_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def build(staging: Path) -> None:
        checkpoint = staging / "checkpoints" / "last"
        seen.append(checkpoint.read_text() if checkpoint.exists() else "none")
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.write_text("epoch 9")
        write_result(staging)

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cache.workspace.workspace.publish_artefact", die)
        with pytest.raises(KeyboardInterrupt):
            Workspace(tmp_path).materialise(RECIPE, build, resumable=True)
    directory = Workspace(tmp_path).materialise(RECIPE, build, resumable=True)
    assert seen == ["none", "epoch 9"]
    assert sorted(path.name for path in directory.iterdir()) == [PROVENANCE, "result.txt"]
    assert list(json.loads((directory / PROVENANCE).read_text())["files"]) == ["result.txt"]
    assert [path.name for path in (tmp_path / ".staging").iterdir() if path.is_dir()] == []


def test_nothing_is_visible_while_the_build_runs(tmp_path: Path) -> None:
    visible: list[bool] = []

    def build(staging: Path) -> None:
        write_result(staging)
        visible.append(Workspace(tmp_path).place(RECIPE).exists())

    Workspace(tmp_path).materialise(RECIPE, build)
    assert visible == [False]
    assert not (tmp_path / ".staging" / f"splits-{RECIPE.key}").exists()


def test_two_processes_at_once_build_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD_SLOWLY, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert printed[0] == printed[1]
    assert (Path(printed[0]) / "result.txt").read_text() == "done"
    assert (tmp_path / "builds.log").read_text().splitlines() == ["built"]
