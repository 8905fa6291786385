import os
import platform
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cache.workspace.artefact import (
    Recipe,
    artefact_key,
    content_key,
    file_key,
    is_finished,
    read_provenance,
)
from cache.workspace.workspace import Workspace

RECIPE = Recipe("splits", {"folds": 5, "seed": 42}, {"catalogue": "ab12", "other": "cd34"}, 1)


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


def test_provenance_tells_the_digest_of_each_file(tmp_path: Path) -> None:
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    # printf done | sha256sum
    digest = "a4c3ed04a95a3da14a9d235c83d868bed7c0f45cf7f3faa751ee8f50598d2211"
    assert read_provenance(directory)["files"] == {"result.txt": digest}
