"""The order of the stages, without Prefect's engine."""

from pathlib import Path

import pytest

from cache.workspace.workspace import Workspace
from flows import stages
from flows.experiment import load_config


def test_split_that_cannot_work_is_refused_before_features_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"s{number % 5},{number}.ogg,ann{number}\n" for number in range(15))
    (tmp_path / "train_metadata.csv").write_text(f"primary_label,filename,author\n{rows}")
    computed: list[str] = []
    monkeypatch.setattr(stages, "build_features_task", lambda *given: computed.append("features"))
    monkeypatch.setattr(stages, "build_split_task", lambda *given: computed.append("split"))
    root, workspace = f"data.root={tmp_path}", Workspace(tmp_path / "work")
    with pytest.raises(ValueError, match=r"^split\.folds=4 needs .* Set split\.folds=3 or split\.folds=auto,"):
        stages.make_split(load_config(Path("demo"), [root, "split.folds=4"]), workspace)
    assert computed == []
    stages.make_split(load_config(Path("demo"), [root, "split.folds=auto"]), workspace)
    assert computed == ["features", "split"]
