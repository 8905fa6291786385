import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cache.workspace.file_format import DamagedArtefactError
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key, is_finished, read_provenance
from cache.workspace.workspace import Workspace

RECIPE = Recipe("splits", {"folds": 5, "seed": 42}, {"catalogue": "ab12", "other": "cd34"}, 1)


def write_result(staging: Path) -> None:
    (staging / "result.txt").write_text("done")


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
    monkeypatch.setattr("cache.workspace.provenance.RECORDED_PACKAGES", ("numpy", "no-such-package-here"))
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    assert read_provenance(directory)["packages"] == {"numpy": np.__version__, "no-such-package-here": None}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("inputs", "x", "inputs='x' is wrong"),
        ("inputs", {"run": 1}, r"inputs\.run=1 is wrong"),
        ("config", None, "config=None is wrong"),
        ("config", {"fold": []}, r"config\.fold=\[\] is wrong"),
        ("files", ["a"], r"files=\['a'\] is wrong"),
        ("key", 1, "key=1 is wrong"),
        ("number", "1", "number='1' is wrong"),
        ("created", "x", "created='x' is wrong: it should be a time with its zone, such as 2026-11-30T"),
        ("created", "2026-11-30T16:37:59", "created=.* is wrong: it should be a time with its zone"),
    ],
    ids=str,
)
def test_field_of_a_wrong_type_is_named_with_its_file(tmp_path: Path, field: str, value: object, told: str) -> None:
    artefact = Workspace(tmp_path).materialise(Recipe("splits", {}, {}, 1), lambda staging: None)
    record = json.loads((artefact / "provenance.json").read_text())
    (artefact / "provenance.json").write_text(json.dumps({**record, field: value}))
    with pytest.raises(DamagedArtefactError, match=rf"provenance\.json is damaged, because {told}"):
        read_provenance(artefact)


def test_unfinished_directory_has_no_provenance(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no finished artefact .*birdclef status"):
        read_provenance(tmp_path)
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        artefact_key(tmp_path)


def test_provenance_tells_the_digest_of_each_file(tmp_path: Path) -> None:
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    # printf done | sha256sum
    digest = "a4c3ed04a95a3da14a9d235c83d868bed7c0f45cf7f3faa751ee8f50598d2211"
    assert read_provenance(directory)["files"] == {"result.txt": digest}


def test_provenance_that_a_killed_build_left_is_no_file_of_the_artefact(tmp_path: Path) -> None:
    staging = Workspace(tmp_path).staging / f"{RECIPE.kind}-{RECIPE.key}"
    staging.mkdir(parents=True)
    (staging / "provenance.json").write_text("written before the build was killed")
    directory = Workspace(tmp_path).materialise(RECIPE, write_result, resumable=True)
    assert read_provenance(directory)["files"].keys() == {"result.txt"}
