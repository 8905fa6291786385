"""The order of the stages, without Prefect's engine."""

from pathlib import Path

import pytest

from cache.workspace.workspace import Workspace
from flows import stages
from flows.experiment import load_config


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that were called, in order."""
    called: list[str] = []
    monkeypatch.setattr(stages, "build_features_task", lambda *given: called.append("features"))
    monkeypatch.setattr(stages, "build_split_task", lambda *given: called.append("split"))
    return called


@pytest.fixture
def table(tmp_path: Path) -> str:
    """The setting that names a folder with a table of five species of three recordings."""
    rows = "".join(f"s{number % 5},{number}.ogg,ann{number}\n" for number in range(15))
    (tmp_path / "train_audio").mkdir()
    for number in range(15):
        (tmp_path / "train_audio" / f"{number}.ogg").touch()
    (tmp_path / "train_metadata.csv").write_text(f"primary_label,filename,author\n{rows}")
    return f"data.root={tmp_path}"


def test_split_that_cannot_work_is_refused_before_features_are_computed(
    tmp_path: Path, table: str, computed: list[str]
) -> None:
    workspace = Workspace(tmp_path / "work")
    with pytest.raises(ValueError, match=r"^split\.folds=4 needs .* Set split\.folds=3 or split\.folds=auto,"):
        stages.make_split(load_config(Path("demo"), [table, "split.folds=4"]), workspace)
    assert computed == []
    stages.make_split(load_config(Path("demo"), [table, "split.folds=auto"]), workspace)
    assert computed == ["features", "split"]


def test_weight_file_that_does_not_exist_is_refused_before_features_are_computed(
    tmp_path: Path, table: str, computed: list[str]
) -> None:
    settings = [table, "split.folds=3", f"train.*.model.weights={tmp_path}/none.pth"]
    with pytest.raises(FileNotFoundError, match=r"^model\.weights=.*/none\.pth is no file"):
        stages.make_split(load_config(Path("demo"), settings), Workspace(tmp_path / "work"))
    assert computed == []
