"""Last stage: compares a report with the champion, and makes it the champion unless it may be worse."""

import logging
from pathlib import Path
from typing import Any

from birdclef.champion import Decision, champion_report, deciding, find_champion, link_champion, record
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.promote import PromoteConfig
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)


def promote(
    config: PromoteConfig, evaluation: EvaluateConfig, report: Path, workspace: Workspace
) -> tuple[Decision, bool]:
    """Returns the decision on a report, and whether it was made in this call; there is one decision per report.

    The rule is a test of non-inferiority. The report is promoted if the interval of its paired difference to the
    champion in macro-F1 lies at or above minus `config.margin`. The difference is taken on the recordings that both
    scored out of fold. The first report is promoted without a comparison. A report that shares no recording with the
    champion is refused.

    Args:
        config: Margin of the rule.
        evaluation: Number of resamples, and coverage of the interval.
        report: Directory of the report.
        workspace: Where artefacts lie.

    Raises:
        FileNotFoundError: If the champion's report is missing.
    """
    with deciding(workspace) as decisions:
        link_champion(decisions, workspace)  # an earlier process may have been killed before it set the link
        champion = find_champion(decisions)
        made = next((decision for decision in reversed(decisions) if decision.report == report.name), None)
        if made and champion:
            logger.info(
                "promote: nothing changed since report %s, number %d (%s %s); the champion is %s",
                *(made.report, made.number, made.verdict, made.date, champion.report),
            )
            return made, False
        if champion is None:
            decision = record(report, "promoted", "first report", None, decisions, workspace)
        else:
            difference, reason = _compare(config, evaluation, report, champion_report(workspace))
            worse = difference is None or difference["low"] < -config.margin
            decision = record(report, "refused" if worse else "promoted", reason, difference, decisions, workspace)
        logger.info(
            "promote: %s %s, macro-F1 %.3f: %s",
            *(decision.report, decision.verdict, decision.macro_f1["value"], decision.reason),
        )
        return decision, True


def _compare(
    config: PromoteConfig, evaluation: EvaluateConfig, report: Path, champion: Path
) -> tuple[dict[str, Any] | None, str]:
    """Returns the difference in macro-F1 with its interval, and the reason for the verdict.

    The difference is None if the reports share no recording.
    """
    # Imported here so that a report with an earlier decision costs no import of SciPy.
    from birdclef.comparison.diff import NothingInCommonError, compare_reports

    try:
        diff = compare_reports([champion, report], evaluation)
    except NothingInCommonError:
        return None, (
            f"it shares no recording with the champion {champion.name}; give other data a workspace of its own, or run "
            f"`birdclef models promote {report.name}`"
        )
    difference = diff["metrics"]["macro_f1"][1]["difference"]
    verdict = "may be worse" if difference["low"] < -config.margin else "is not worse"
    return difference, (
        f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}] against the champion "
        f"{champion.name} on {diff['recordings']} recordings, it {verdict} by more than {config.margin:g}"
    )
