"""The order of the stages, without Prefect's engine."""

from pathlib import Path

import pytest

from cache.workspace.workspace import Workspace
from flows import stages
from flows.experiment import load_config
from flows.input_check import check_splits


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that were called, in order."""
    called: list[str] = []
    monkeypatch.setattr(stages, "build_features_task", lambda *given: called.append("features"))
    monkeypatch.setattr(stages, "build_split_task", lambda *given: called.append("split"))
    monkeypatch.setattr(stages, "build_background_task", lambda *given: called.append(f"background {given[1].kind}"))
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
    stages.make_split(load_config(Path("demo"), settings), Workspace(tmp_path / "work"), check_splits)
    assert computed == ["features", "split"]  # nothing is trained


def test_background_is_made_only_for_members_that_read_it(
    tmp_path: Path, table: str, tiny_model: Path, computed: list[str]
) -> None:
    def make(*settings: str) -> list[str]:
        computed.clear()
        given = [table, f"features.model={tiny_model}", f"data.background={tmp_path}", *settings]
        stages.make_sources([load_config(Path("fusion"), given)], {}, Workspace(tmp_path / "work"))
        return sorted(computed)

    off = {"head": "train.head.augment.background_probability=0", "cnn": "train.cnn.augment.background_folder_share=0"}
    assert make() == ["background embedding", "background log_mel"]
    assert make(off["head"]) == make("features.background_variants=0") == ["background log_mel"]
    assert make(off["cnn"]) == ["background embedding"]
    assert make(*off.values()) == make("data.background=null") == []


def test_background_is_made_if_any_arm_reads_it(tmp_path: Path, table: str, computed: list[str]) -> None:
    off = [table, f"data.background={tmp_path}", "train.*.augment.background_probability=0"]
    reference = load_config(Path("demo"), off)
    arm = load_config(Path("demo"), [*off, "train.cnn.augment.background_probability=0.5"])
    stages.make_sources([reference], {}, Workspace(tmp_path / "work"))
    assert computed == []
    stages.make_sources([reference, arm], {}, Workspace(tmp_path / "work"))
    assert computed == ["background log_mel"]
