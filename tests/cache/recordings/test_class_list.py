"""Files that competitions put beside the table."""

from pathlib import Path

import pytest

from cache.config.data import DataConfig
from cache.recordings.class_list import find_species_without_recordings

SPECIES = ["1139490", "greegr"]


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        ({}, []),
        ({"sample_submission.csv": "row_id,1139490,126247,greegr\nx_5,0.5,0.5,0.5\n"}, ["126247"]),
        ({"taxonomy.csv": "primary_label,inat_taxon_id\n1139490,1\n126247,2\n,\n"}, ["126247"]),
        (
            {
                "sample_submission.csv": "row_id,greegr,a\n",
                "taxonomy.csv": "primary_label,class_name\ngreegr,Aves\nb,Aves\n",
            },
            ["a"],
        ),
        ({"sample_submission.csv": "row_id,birds\nx_5,nocall\n"}, []),  # 2021
        ({"sample_submission.csv": "id,greegr,a\n", "taxonomy.csv": "code\nb\n"}, []),
    ],
)
def test_classes_without_recordings_are_found(tmp_path: Path, files: dict[str, str], classes: list[str]) -> None:
    (tmp_path / "tables").mkdir()
    for name, text in files.items():
        (tmp_path / "tables" / name).write_text(text)
    data = DataConfig(root=str(tmp_path), metadata="tables/train.csv")
    assert find_species_without_recordings(data, SPECIES) == classes
