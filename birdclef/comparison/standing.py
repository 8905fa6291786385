"""Ranks reports by their score, so that the best of them can be named."""

from collections.abc import Sequence
from pathlib import Path

from birdclef.comparison.comparability import find_doubts
from birdclef.comparison.diff import NothingInCommonError, compare_reports
from birdclef.config.evaluate import EvaluateConfig
from birdclef.scores.report_file import read_report

_NAMED_REPORTS = 5
_FEW_RESAMPLES = EvaluateConfig(bootstrap_samples=2)  # only the values are told, without intervals


def rank_reports(reports: Sequence[Path]) -> tuple[list[str], str]:
    """Returns the keys of reports, the best macro-F1 first, and a sentence that tells their scores.

    The scores are those on the recordings that all reports scored. If there are none, or an old version wrote a report,
    each report has its own score on its own recordings. Reports whose score is too high beside that of the others come
    last, with the reason.

    Args:
        reports: Directories of one report or more.
    """
    scores, scope = _score(reports)
    doubts = {report.name: found.told for report, found in zip(reports, find_doubts(reports), strict=True)}
    ranked = sorted(scores, key=lambda key: (doubts[key] != "", -scores[key]))
    told = [f"{key} with {scores[key]:.3f}{doubts[key] and f' ({doubts[key]})'}" for key in ranked]
    level = [key for key in ranked if scores[key] == scores[ranked[0]] and doubts[key] == doubts[ranked[0]]]
    others = told[len(level) : max(_NAMED_REPORTS, len(level))]
    more = f" and {len(ranked) - _NAMED_REPORTS} more" if len(ranked) > _NAMED_REPORTS else ""
    behind = f", before {', '.join(others)}{more}" if others else ""
    best = "the best report is" if len(level) == 1 else "the best reports are level:"
    return ranked, f"By macro-F1 on {scope}, {best} {', '.join(told[: len(level)])}{behind}"


def _score(reports: Sequence[Path]) -> tuple[dict[str, float], str]:
    """Returns macro-F1 of each report by its key, and in words the recordings that the scores cover."""
    if len(reports) > 1:
        try:
            diff = compare_reports(reports, _FEW_RESAMPLES, ["macro_f1"])
        except (FileNotFoundError, NothingInCommonError):
            pass
        else:
            values = [one["value"] for one in diff["metrics"]["macro_f1"]]
            shared = f"the recordings that all reports scored ({diff['recordings']})"
            return dict(zip(diff["reports"], values, strict=True)), shared
    contents = {report.name: read_report(report) for report in reports}
    scores = {key: content["metrics"]["macro_f1"]["value"] for key, content in contents.items()}
    return scores, "its own recordings" if len(reports) == 1 else "the recordings of each report"
