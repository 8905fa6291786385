"""The status table."""

from pathlib import Path

import pytest
from filelock import FileLock

from cache.workspace.builders import is_held
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace
from flows.monitoring.status import ArtefactStatus, format_age, format_status, read_status, read_unfinished


def test_size_and_inputs_of_an_artefact_are_listed(tmp_path: Path) -> None:
    recipe = Recipe("splits", {"folds": 2}, {"catalogue": "0123456789abcdef"}, 1)
    directory = Workspace(tmp_path).materialise(
        recipe, lambda staging: (staging / "split.csv").write_text("x" * 2_500_000) and None
    )
    (artefact,) = read_status(Workspace(tmp_path))
    assert artefact.key == recipe.key
    assert artefact.size_bytes == 2_500_000 + (directory / "provenance.json").stat().st_size
    listed = format_status([artefact], Workspace(tmp_path))
    assert "2.5 MB" in listed
    assert "catalogue 0123456789abcdef" in listed


def test_unfinished_work_is_listed(tmp_path: Path) -> None:
    Workspace(tmp_path).materialise(Recipe("splits", {}, {}, 1), lambda staging: None)
    (tmp_path / ".staging" / "runs-abc").mkdir()
    assert "unfinished: runs-abc" in format_status(list(read_status(Workspace(tmp_path))), Workspace(tmp_path))


@pytest.mark.parametrize(("seconds", "shown"), [(5, "5 s"), (90, "2 min"), (7200, "2 h"), (3 * 86_400, "3 d")])
def test_age_is_told_in_its_unit(seconds: float, shown: str, tmp_path: Path) -> None:
    assert shown in format_status([ArtefactStatus("runs", "k" * 16, (), 10, seconds)], Workspace(tmp_path))


def test_size_of_all_and_free_space_are_told(tmp_path: Path) -> None:
    artefacts = [ArtefactStatus("runs", "k" * 16, (), 1_500_000, 5.0)] * 2
    assert "2 artefacts, 3.0 MB; " in format_status(artefacts, Workspace(tmp_path))


def test_artefact_from_the_future_is_new() -> None:
    assert format_age(-3600) == "0 s"


def test_unfinished_artefact_that_a_process_is_at_is_told_from_one_that_was_left(tmp_path: Path) -> None:
    for name in ("runs-left", "runs-at-work"):
        (tmp_path / ".staging" / name).mkdir(parents=True)
    with FileLock(tmp_path / ".staging" / "runs-at-work.lock"):
        assert read_unfinished(Workspace(tmp_path)) == {"runs-at-work": True, "runs-left": False}
    assert not is_held(tmp_path / ".staging" / "runs-at-work.lock")
