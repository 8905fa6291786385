import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cache.workspace.artefact import (
    PROVENANCE,
    Recipe,
    artefact_key,
    content_key,
    file_key,
    is_finished,
    read_provenance,
)
from cache.workspace.atomic_files import write_atomically
from cache.workspace.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[3]
RECIPE = Recipe("splits", {"folds": 5, "seed": 42}, {"catalogue": "ab12", "other": "cd34"}, 1)

BUILD_SLOWLY = """
import sys, time
from pathlib import Path
from cache.workspace.artefact import Recipe
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


def refuse_to_build(staging: Path) -> None:
    raise AssertionError(f"{staging} must not be built again")


def test_content_key_is_the_head_of_the_sha256_of_canonical_json() -> None:
    # printf '{"a":[1,2.5,null],"b":"\\u00e9"}' | sha256sum
    assert content_key({"b": "é", "a": [1, 2.5, None]}) == "45584828a616e524"


def test_content_key_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_key({"fmin": float("nan")})


def test_file_key_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # test vector of FIPS 180-2
    assert file_key(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_key_does_not_depend_on_the_order_of_fields() -> None:
    reordered = replace(
        RECIPE,
        config=dict(reversed(list(RECIPE.config.items()))),
        inputs=dict(reversed(list(RECIPE.inputs.items()))),
    )
    assert list(reordered.config) != list(RECIPE.config)
    assert reordered.key == RECIPE.key
    assert len(RECIPE.key) == 16


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECIPE, kind="catalogues"),
        replace(RECIPE, config={"folds": 5, "seed": 43}),
        replace(RECIPE, config={"folds": 5}),
        replace(RECIPE, inputs={"catalogue": "ab12", "other": "cd35"}),
        replace(RECIPE, inputs={"catalogue": "ab12"}),
        replace(RECIPE, version=2),
    ],
    ids=["kind", "value", "fewer fields", "input", "fewer inputs", "version"],
)
def test_key_changes_with_each_field(changed: Recipe) -> None:
    assert changed.key != RECIPE.key


def test_artefact_lies_under_its_kind_and_key(tmp_path: Path) -> None:
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    assert directory == tmp_path / "splits" / RECIPE.key
    assert (directory / "result.txt").read_text() == "done"


def test_finished_artefact_is_returned_without_building(tmp_path: Path) -> None:
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert Workspace(tmp_path).materialise(RECIPE, refuse_to_build) == directory
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_remains_of_an_artefact_give_way(tmp_path: Path) -> None:
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    (directory / PROVENANCE).unlink()
    (directory / "older.txt").write_text("from an interrupted copy")
    assert Workspace(tmp_path).materialise(RECIPE, write_result) == directory
    assert sorted(path.name for path in directory.iterdir()) == [PROVENANCE, "result.txt"]


def test_other_recipe_is_built_beside(tmp_path: Path) -> None:
    first = Workspace(tmp_path).materialise(RECIPE, write_result)
    second = Workspace(tmp_path).materialise(replace(RECIPE, version=2), write_result)
    assert first != second
    assert is_finished(first)
    assert is_finished(second)


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


def test_provenance_holds_the_recipe_and_how_it_was_made(tmp_path: Path) -> None:
    started = datetime.now(UTC)
    directory = Workspace(tmp_path).materialise(RECIPE, lambda staging: time.sleep(0.05))
    provenance = read_provenance(directory)
    assert provenance["kind"] == "splits"
    assert provenance["config"] == {"folds": 5, "seed": 42}
    assert provenance["inputs"] == {"catalogue": "ab12", "other": "cd34"}
    assert provenance["version"] == 1
    assert provenance["key"] == artefact_key(directory) == directory.name
    created = datetime.fromisoformat(provenance["created"])
    assert -1 <= (created - started).total_seconds() < 60  # whole seconds are recorded
    assert 0.05 <= provenance["seconds"] < 60
    assert provenance["packages"]["numpy"] == np.__version__
    assert provenance["hardware"] == {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def test_provenance_records_null_for_a_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache.workspace.artefact.RECORDED_PACKAGES", ("numpy", "no-such-package-here"))
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    assert read_provenance(directory)["packages"] == {"numpy": np.__version__, "no-such-package-here": None}


def test_unfinished_directory_has_no_provenance(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no finished artefact .*birdclef status"):
        read_provenance(tmp_path)
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        artefact_key(tmp_path)


def test_artefacts_are_listed_by_kind_then_name_without_unfinished_ones(tmp_path: Path) -> None:
    for place in ("reports/b", "reports/a", "features/z", "runs/m", "catalogues/c", "splits/s", "predictions/p"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "provenance.json").write_text("{}")
    (tmp_path / "runs" / "a-unfinished").mkdir()
    (tmp_path / "hashes" / "x").mkdir(parents=True)
    (tmp_path / "hashes" / "x" / "provenance.json").write_text("{}")
    listed = [path.relative_to(tmp_path).as_posix() for path in Workspace(tmp_path).artefacts()]
    assert listed == [
        "features/z",
        "catalogues/c",
        "splits/s",
        "runs/m",
        "predictions/p",
        "reports/a",
        "reports/b",
    ]


def test_empty_workspace_lists_nothing(tmp_path: Path) -> None:
    assert list(Workspace(tmp_path / "absent").artefacts()) == []


def test_atomic_write_replaces_the_text_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    write_atomically(path, json.dumps({"a": 1}))
    write_atomically(path, "second")
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(b"second").digest()
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.json"]


def test_failed_atomic_write_keeps_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    write_atomically(path, "first")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "second \ud800")  # a lone surrogate has no UTF-8
    assert path.read_text() == "first"


def test_provenance_tells_the_digest_of_each_file(tmp_path: Path) -> None:
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    # printf done | sha256sum
    digest = "a4c3ed04a95a3da14a9d235c83d868bed7c0f45cf7f3faa751ee8f50598d2211"
    assert read_provenance(directory)["files"] == {"result.txt": digest}
