"""Decisions on reports: what a decision holds, their history, and what follows from it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from birdclef.report.markdown_text import escape_markdown
from cache.workspace.records import read_records
from cache.workspace.workspace import Workspace


@dataclass(frozen=True)
class Judgement:
    """What was found about a report.

    Attributes:
        verdict: `promoted` or `refused` by the rule, or `chosen` by hand.
        reason: All reasons for the verdict.
        difference: Difference to the champion in macro-F1, on the recordings that both scored: value, low, high; None
            if there was no comparison.
        best: Key of the best champion so far, if that is not the present champion and was compared as well.
        difference_to_best: The same difference to that one; None if there was no comparison.
    """

    verdict: Literal["promoted", "refused", "chosen"]
    reason: str
    difference: dict[str, float] | None = None
    best: str | None = None
    difference_to_best: dict[str, float] | None = None


@dataclass(frozen=True)
class Decision:
    """Decision on a report.

    Attributes:
        number: Number of the decision, from 1.
        date: Time of the decision, ISO 8601 in UTC.
        report: Key of the report.
        verdict: As in `Judgement`, as are reason, difference, best and difference_to_best.
        reason: All reasons for the verdict.
        macro_f1: Macro-F1 of the report: value, low, high.
        difference: Difference to the champion in macro-F1; None if there was no comparison.
        against: Key of the champion at that time; None if there was no champion, or the report was chosen by hand.
        configuration: First 16 digits of the sha256 of the report's settings.
        best: Key of the best champion at that time, if it was compared; decisions of old versions have none.
        difference_to_best: Difference to the best champion in macro-F1; None if there was no comparison.
    """

    number: int
    date: str
    report: str
    verdict: Literal["promoted", "refused", "chosen"]
    reason: str
    macro_f1: dict[str, float]
    difference: dict[str, float] | None
    against: str | None
    configuration: str
    best: str | None = None
    difference_to_best: dict[str, float] | None = None


def read_decisions(workspace: Workspace) -> list[Decision]:
    """Returns the decisions of a workspace, the oldest first."""
    decisions = read_records("models", workspace, lambda content: Decision(**content))
    return sorted(decisions, key=lambda decision: (decision.number, decision.date))


def find_champion(decisions: Sequence[Decision]) -> Decision | None:
    """Returns the decision that made the present champion, or None if there is no champion."""
    return next(reversed(list_champions(decisions)), None)


def list_champions(decisions: Sequence[Decision]) -> list[Decision]:
    """Returns the decisions that made a champion, the oldest first."""
    return [decision for decision in decisions if decision.verdict != "refused"]


def rank_champions(decisions: Sequence[Decision]) -> list[str]:
    """Returns the reports of champions, the best first, by their measured differences to each other.

    A report that was chosen by hand begins a new ranking, because whoever chose it accepts its score. If it had been
    champion in this ranking before, the ranking goes back to its state right after the
    report had entered it.
    """
    levels: dict[str, float] = {}  # macro-F1 above the first champion of the ranking
    for one in list_champions(decisions):
        if one.verdict == "chosen" and one.report in levels:
            names = list(levels)
            levels = {name: levels[name] for name in names[: names.index(one.report) + 1]}
        elif one.best in levels and one.difference_to_best:
            levels[one.report] = levels[one.best] + one.difference_to_best["value"]
        elif one.against in levels and one.difference:
            levels[one.report] = levels[one.against] + one.difference["value"]
        else:
            levels = {one.report: 0.0}
    latest_first = list(levels)[::-1]
    return sorted(latest_first, key=lambda report: -levels[report])


def describe_decisions(decisions: Sequence[Decision], removed: Collection[str] = ()) -> str:
    """Returns the decisions as a Markdown table, the latest first; the report of the present champion is bold.

    Args:
        decisions: The decisions, the latest last.
        removed: Keys of reports that are not there any more.
    """
    champion = find_champion(decisions)
    lines = [
        "| number | date | report | macro-F1 | difference to the champion then | decision |",
        "|---|---|---|---|---|---|",
    ]
    for one in reversed(decisions):
        report = f"**{one.report}**" if champion and one.number == champion.number else one.report
        report += " (removed)" if one.report in removed else ""
        macro_f1 = "{value:.3f} [{low:.3f}, {high:.3f}]".format_map(one.macro_f1)
        difference = "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format_map(one.difference) if one.difference else "–"
        decision = escape_markdown(f"{one.verdict}: {one.reason}")
        lines.append(f"| {one.number} | {one.date[:16]} | {report} | {macro_f1} | {difference} | {decision} |")
    return "\n".join(lines) + "\n"
