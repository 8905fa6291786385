from pathlib import Path

import pytest

from birdclef.scores.report_file import read_report
from cache.workspace.file_format import OtherFormatError


def test_report_of_an_older_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"macro_f1": 0.5}')
    with pytest.raises(
        OtherFormatError, match=r"report\.json: it has format 0, .*run its experiment\.yaml in a new work"
    ):
        read_report(tmp_path)


def test_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} holds no report.json, so it is no report"):
        read_report(tmp_path)
