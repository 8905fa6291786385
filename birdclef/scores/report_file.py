"""The numbers of a report, `report.json`."""

from pathlib import Path
from typing import Any

from birdclef.scores.report_shape import Report
from cache.workspace.file_format import FileFormat

REPORT = "report.json"
REPORT_FORMAT = FileFormat(
    1,
    frozenset({"key", "command", "metrics", "per_species", "members", "ensemble", "calibration", "lineage"}),
    "Make the report again: run its experiment.yaml in a new workspace.",
    Report,
)
"""birdclef/report/templates/report.schema.json describes it."""


def read_report(directory: Path) -> dict[str, Any]:
    """Returns the content of a report's `report.json`.

    Args:
        directory: Directory of the report.

    Raises:
        FileNotFoundError: If the directory holds no report.
        OtherFormatError: If another version of birdclef made the report.
        DamagedArtefactError: If the file is damaged, or a field has a wrong type.
    """
    path = directory / REPORT
    if not path.is_file():
        raise FileNotFoundError(f"{directory} holds no {REPORT}, so it is no report. Give workspace/reports/KEY.")
    return REPORT_FORMAT.read(path)
