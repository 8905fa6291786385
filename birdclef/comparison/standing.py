"""Ranks reports by their score, so that the best of them can be named."""

import json
from collections.abc import Sequence
from pathlib import Path

from birdclef.comparison.diff import NothingInCommonError, compare_reports
from birdclef.config.evaluate import EvaluateConfig

_NAMED_REPORTS = 5
_FEW_RESAMPLES = EvaluateConfig(bootstrap_samples=2)  # only the values are told, without intervals


def rank_reports(reports: Sequence[Path]) -> tuple[list[str], str]:
    """Returns the keys of reports, the best macro-F1 first, and a sentence that tells their scores.

    The scores are those on the recordings that all reports scored. If there are none, or an old version wrote a report,
    each report has its own score on its own recordings.

    Args:
        reports: Directories of one report or more.
    """
    scores, scope = _score(reports)
    ranked = sorted(scores, key=lambda key: -scores[key])
    first, *others = [f"{key} with {scores[key]:.3f}" for key in ranked[:_NAMED_REPORTS]]
    more = f" and {len(ranked) - _NAMED_REPORTS} more" if len(ranked) > _NAMED_REPORTS else ""
    behind = f", before {', '.join(others)}{more}" if others else ""
    return ranked, f"By macro-F1 on {scope}, the best report is {first}{behind}"


def _score(reports: Sequence[Path]) -> tuple[dict[str, float], str]:
    """Returns macro-F1 of each report by its key, and in words the recordings that the scores cover."""
    if len(reports) > 1:
        try:
            diff = compare_reports(reports, _FEW_RESAMPLES, ["macro_f1"])
        except (FileNotFoundError, NothingInCommonError):
            pass
        else:
            values = [one["value"] for one in diff["metrics"]["macro_f1"]]
            shared = f"the {diff['recordings']} recordings that all reports scored"
            return dict(zip(diff["reports"], values, strict=True)), shared
    contents = {report.name: json.loads((report / "report.json").read_text()) for report in reports}
    return {key: content["metrics"]["macro_f1"]["value"] for key, content in contents.items()}, "its own recordings"
