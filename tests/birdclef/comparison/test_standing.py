"""Reports without predictions, as old versions wrote them: their own scores are written here."""

import json
from pathlib import Path

from birdclef.comparison.standing import rank_reports


def write(
    folder: Path, name: str, value: float, select: str = "last", leaking: float = 0.0, recordings: int = 50
) -> Path:
    content = {
        "format": 1,
        "metrics": {"macro_f1": {"value": value}},
        "split": {"leak": {"leaking_share": leaking}},
        "coverage": {"recordings_scored": recordings},
        "lineage": {"runs": [{"config": {"select": select}}]},
    }
    (folder / name).mkdir()
    (folder / name / "report.json").write_text(json.dumps(content))
    return folder / name


def test_reports_that_cannot_be_compared_are_ranked_by_their_own_scores(tmp_path: Path) -> None:
    reports = [write(tmp_path, f"r{number}", value) for number, value in enumerate((0.082, 0.792, 0.5))]
    ranked, told = rank_reports(reports)
    assert ranked == ["r1", "r2", "r0"]
    assert told.endswith(
        "the recordings of each report, the best report is r1 with 0.792, before r2 with 0.500, r0 with 0.082"
    )
    assert rank_reports(reports[:1])[1].endswith("the best report is r0 with 0.082")


def test_five_reports_are_named_and_the_others_counted(tmp_path: Path) -> None:
    told = rank_reports([write(tmp_path, f"r{number}", number / 10) for number in range(8)])[1]
    assert told.endswith("r7 with 0.700, before r6 with 0.600, r5 with 0.500, r4 with 0.400, r3 with 0.300 and 3 more")


def test_reports_whose_score_is_too_high_come_last_with_the_reason(tmp_path: Path) -> None:
    reports = [
        write(tmp_path, "chosen", 0.9, select="best"),
        write(tmp_path, "leaky", 0.8, leaking=0.225),
        write(tmp_path, "few", 0.7, recordings=44),
        write(tmp_path, "honest", 0.3),
    ]
    ranked, told = rank_reports(reports)
    assert ranked == ["honest", "chosen", "leaky", "few"]
    assert "chosen with 0.900 (its epochs were chosen on the validation fold)" in told
    assert "leaky with 0.800 (22.5 % of its recordings leak)" in told
    assert "few with 0.700 (recordings that it scored: only 44)" in told


def test_a_little_more_leak_in_folds_that_leak_is_no_doubt(tmp_path: Path) -> None:
    reports = [write(tmp_path, "a", 0.5, leaking=0.2), write(tmp_path, "b", 0.7, leaking=0.209)]
    assert rank_reports(reports)[1].endswith("the best report is b with 0.700, before a with 0.500")


def test_equal_scores_are_told_as_level(tmp_path: Path) -> None:
    told = rank_reports([write(tmp_path, name, value) for name, value in (("a", 0.5), ("b", 0.5), ("c", 0.1))])[1]
    assert told.endswith("the best reports are level: a with 0.500, b with 0.500, before c with 0.100")
