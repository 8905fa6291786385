"""The last stage: hold a report against the champion, and let it take its place unless it may be worse."""

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
    """Returns the decision on a report, and whether it was made now: a report is judged once.

    The rule is a test of non-inferiority: the report is promoted if the interval of its paired difference to the
    champion in macro-F1, on the recordings that both scored out of fold, lies wholly above minus `config.margin`. The
    first report is promoted unseen. One that shares no recording with the champion is refused.

    Args:
        config: The rule.
        evaluation: Resamples and coverage of the interval.
        report: Directory of the report.
        workspace: Where artefacts lie.

    Raises:
        FileNotFoundError: If the champion's report is gone.
    """
    with deciding(workspace) as decisions:
        link_champion(decisions, workspace)  # a process may have been killed before it did
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
    """Returns the difference in macro-F1 with its interval, and what it says; none if nothing can be compared."""
    # Imported here so that a report that was judged before does not pay for pandas and matplotlib.
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
