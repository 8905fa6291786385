"""Last stage: compares a report with the champion, and promotes it if it is shown to be not much worse."""

import logging
from dataclasses import dataclass
from pathlib import Path

from birdclef.champion import (
    advise_on_choice,
    best_report,
    champion_report,
    deciding,
    explain_choice,
    link_champion,
    record,
)
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.promote import PromoteConfig
from birdclef.decisions import Decision, Judgement, find_champion
from birdclef.scores.report_file import read_report
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Comparison:
    """What a comparison with one report found.

    Attributes:
        difference: Paired difference in macro-F1: value, low, high; None if the reports share no recording.
        found: Difference and verdict in words.
        objections: Reasons against the report.
        advantages: Why the score of the other report is too high beside that of the report.
    """

    difference: dict[str, float] | None
    found: str
    objections: list[str]
    advantages: list[str]


def promote(
    config: PromoteConfig, evaluation: EvaluateConfig, report: Path, workspace: Workspace
) -> tuple[Decision, bool]:
    """Returns the decision on a report, and whether it was made in this call; there is one decision per report.

    The rule is a test of non-inferiority. The report is promoted if the interval of its paired difference in macro-F1
    lies at or above minus `config.margin`, both to the champion and to the best champion so far. The difference is
    taken on the recordings that both scored out of fold. The report is refused if its score cannot be compared with the
    champion's: they share no recording, other settings decide what leaks between their folds, more leaks, epochs were
    chosen on the validation fold, or the report lacks species or recordings of the champion. If more leaks into the
    champion's score, the reason says so.

    Without a champion, the report is promoted if it is better than chance, and neither its baseline nor an embedding
    model's own labels are shown to be better.

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
        if made:
            logger.info(
                "promote: nothing changed since report %s, number %d (%s %s); %s",
                *(made.report, made.number, made.verdict, made.date),
                f"the champion is {champion.report}" if champion else f"there is no champion: {made.reason}",
            )
            return made, False
        if champion:
            judgement = _judge_against_champion(
                config, evaluation, report, best_report(decisions, workspace), workspace
            )
        else:
            judgement = _judge_first(report)
        decision = record(report, judgement, decisions, workspace)
        logger.log(
            logging.WARNING if decision.verdict == "refused" else logging.INFO,
            "promote: %s %s, macro-F1 %.3f: %s",
            *(decision.report, decision.verdict, decision.macro_f1["value"], decision.reason),
        )
        if not champion and decision.verdict == "refused":
            logger.warning("promote: there is no champion. %s", advise_on_choice([*decisions, decision], workspace))
        return decision, True


def _judge_against_champion(
    config: PromoteConfig, evaluation: EvaluateConfig, report: Path, best: Path | None, workspace: Workspace
) -> Judgement:
    """Returns the judgement on a report beside the champion and, if that is another one, the best champion so far."""
    # Imported here so that a report with an earlier decision costs no import of SciPy.
    from birdclef.comparison.comparability import find_selection

    champion = champion_report(workspace)
    present = _compare(config, evaluation, report, champion, "the champion", workspace)
    earlier = (
        None if best in (None, champion) else _compare(config, evaluation, report, best, "the best so far,", workspace)
    )
    comparisons = [one for one in (present, earlier) if one]
    objections = [*find_selection(report), *(reason for one in comparisons for reason in one.objections)]
    if present.difference is None:
        objections.append("give other data a workspace of its own")
    worse = any(one.difference and one.difference["low"] < -config.margin for one in comparisons)
    refused = bool(objections) or worse
    told = [words for one in comparisons for words in (one.found, *one.advantages)]
    reasons = [*told, *objections, *_list_doubts(report)]
    return Judgement(
        verdict="refused" if refused else "promoted",
        reason="; ".join([*reasons, explain_choice(report.name)] if refused else reasons),
        difference=present.difference,
        best=best.name if best and earlier and earlier.difference else None,
        difference_to_best=earlier.difference if earlier else None,
    )


def _judge_first(report: Path) -> Judgement:
    """Returns the judgement on a report where there is no champion."""
    from birdclef.comparison.comparability import find_selection
    from birdclef.scores.training_verdict import is_ahead, read_rivals

    content = read_report(report)
    rivals = [rival for rival in read_rivals(content, f"{report}/report.json") if rival.complete]
    ahead = [rival.sentence for rival in rivals if is_ahead(rival)]
    objections = [*ahead, *find_selection(report)]
    if objections:
        rule = "a first champion must be better than chance, and nothing without training may be shown to be better"
        return Judgement("refused", "; ".join([*objections, rule]))
    told = next(rival.sentence for rival in rivals if rival.kind == "baseline")
    leaking = content["split"]["leak"]["leaking_share"]
    doubt = f"; {100 * leaking:.1f} % of its recordings leak, so its score is too high" if leaking else ""
    return Judgement("promoted", f"first report; {told}{doubt}")


def _list_doubts(report: Path) -> list[str]:
    """Returns the sentence of the report's verdict if training did not pay; it speaks against no later champion."""
    verdict = read_report(report).get("verdict")
    return [verdict["sentence"].rstrip(".")] if verdict and verdict["outcome"] == "not_paid" else []


def _compare(
    config: PromoteConfig, evaluation: EvaluateConfig, report: Path, other: Path, role: str, workspace: Workspace
) -> _Comparison:
    """Returns what a comparison with the champion, or with an earlier one, found.

    Args:
        config: Margin of the rule.
        evaluation: Number of resamples, and coverage of the interval.
        report: Directory of the report.
        other: Directory of the report that it is compared with.
        role: What the other report is, for the sentences.
        workspace: Where the splits of both reports lie.
    """
    from birdclef.comparison.comparability import find_advantages, find_objections
    from birdclef.comparison.diff import NothingInCommonError, compare_reports
    from birdclef.comparison.leaks import measure_leaks

    try:
        diff = compare_reports([other, report], evaluation, ["macro_f1"])
    except NothingInCommonError:
        return _Comparison(None, f"it shares no recording with {role} {other.name}", [], [])
    difference = diff["metrics"]["macro_f1"][1]["difference"]
    verdict = "may be worse" if difference["low"] < -config.margin else "is not worse"
    folds = "" if diff["same_folds"] else " in other folds"
    found = (
        f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}] against {role} {other.name} "
        f"on {diff['recordings']} recordings{folds}, it {verdict} by more than {config.margin:g}"
    )
    leaks = measure_leaks(report, other, workspace)
    objections = find_objections(report, other, leaks, workspace)
    return _Comparison(difference, found, objections, find_advantages(leaks, other.name))
