from pathlib import Path

from cache.config.data import DataConfig
from cache.recordings.data_set_files import data_set_paths


def test_table_class_lists_sounds_and_background_of_this_machine_are_listed(tmp_path: Path) -> None:
    data = DataConfig(root=str(tmp_path), metadata="tables/train.csv", background=str(tmp_path / "noise"))
    names = {str(path.relative_to(tmp_path)) for path in data_set_paths(data)}
    assert names == {"tables/train.csv", "tables/taxonomy.csv", "tables/sample_submission.csv", "train_audio", "noise"}


def test_what_lies_in_a_bucket_is_not_listed(tmp_path: Path) -> None:
    data = DataConfig(root="s3://birds/set", background=str(tmp_path / "noise"))
    assert data_set_paths(data) == [tmp_path / "noise"]
