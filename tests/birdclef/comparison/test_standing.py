"""Reports without predictions, as old versions wrote them: their own scores are written here."""

import json
from pathlib import Path

from birdclef.comparison.standing import rank_reports


def write(folder: Path, name: str, value: float) -> Path:
    (folder / name).mkdir()
    (folder / name / "report.json").write_text(json.dumps({"metrics": {"macro_f1": {"value": value}}}))
    return folder / name


def test_reports_that_cannot_be_compared_are_ranked_by_their_own_scores(tmp_path: Path) -> None:
    reports = [write(tmp_path, f"r{number}", value) for number, value in enumerate((0.082, 0.792, 0.5))]
    ranked, told = rank_reports(reports)
    assert ranked == ["r1", "r2", "r0"]
    assert told.endswith("its own recordings, the best report is r1 with 0.792, before r2 with 0.500, r0 with 0.082")
    assert rank_reports(reports[:1])[1].endswith("the best report is r0 with 0.082")


def test_five_reports_are_named_and_the_others_counted(tmp_path: Path) -> None:
    told = rank_reports([write(tmp_path, f"r{number}", number / 10) for number in range(8)])[1]
    assert told.endswith("r7 with 0.700, before r6 with 0.600, r5 with 0.500, r4 with 0.400, r3 with 0.300 and 3 more")
