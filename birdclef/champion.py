"""The champion, which is the report whose models predict: who it is, and how it changes.

The folder `models/` of a workspace holds a JSON file per decision, which never changes. The last decision that is not a
refusal names the champion, so the rename or PUT that publishes its file changes the champion at once.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from birdclef.decisions import Decision, Judgement, find_champion, list_champions, rank_champions, read_decisions
from birdclef.scores.report_file import read_report
from birdclef.scores.report_settings import SETTINGS
from cache.config.split import SplitConfig
from cache.workspace.atomic_files import replace_atomically
from cache.workspace.keys import file_key
from cache.workspace.provenance import is_finished, read_provenance
from cache.workspace.records import add_record
from cache.workspace.workspace import Workspace

CHAMPION = "champion"
"""Name of the link, and the value in settings that means the champion."""
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems without symbolic links answer: exFAT and FAT, CIFS, and network file systems."""


def champion_report(workspace: Workspace) -> Path:
    """Returns the champion's report.

    Raises:
        FileNotFoundError: If there is no champion, or its report is missing.
    """
    decisions = read_decisions(workspace)
    if champion := find_champion(decisions):
        return _find_report(champion.report, workspace)
    if decisions and (advice := advise_on_choice(decisions, workspace)):
        raise FileNotFoundError(
            f"{workspace.address()} has no champion yet, because no report was promoted. {advice}. To predict with a "
            "report that is no champion, give its directory."
        )
    raise FileNotFoundError(
        f"{workspace.address()} has no champion yet. Run the full pipeline once with `birdclef run`, or choose a "
        "report with `birdclef models promote REPORT`."
    )


def advise_on_choice(decisions: Sequence[Decision], workspace: Workspace) -> str:
    """Returns which report is the best where there is no champion, why it was refused, and how to take it all the same.

    If the workspace is at a URL, the reports on this machine are considered, and those that have a decision, which are
    fetched. The sentences have no full stop at the end; empty if there is no such report.
    """
    keys = {path.name for path in workspace.artefacts("reports")} | {one.report for one in decisions}
    reports = [path for path in (workspace.artefact("reports", key) for key in sorted(keys)) if is_finished(path)]
    if not reports:
        return ""
    # Imported here because a champion that is there needs no SciPy.
    from birdclef.comparison.standing import rank_reports

    (best, *_), told = rank_reports(reports)
    refused = next((one for one in reversed(decisions) if one.report == best), None)
    why = f". Report {best} was refused: {refused.reason}" if refused else ""
    return f"{told}{why}. {explain_choice(best)}"


def explain_choice(report: str) -> str:
    """Returns how to make a refused report the champion, in words.

    Args:
        report: Key of the report.
    """
    return f"`birdclef models promote {report}` takes it all the same"


def best_report(decisions: Sequence[Decision], workspace: Workspace) -> Path | None:
    """Returns the report of the best champion so far, among the reports that are still there; None if there is none.

    `rank_champions` says which champion is the best.
    """
    reports = (workspace.artefact("reports", key) for key in rank_champions(decisions))
    return next((report for report in reports if is_finished(report)), None)


def old_reports(workspace: Workspace, newest: int) -> list[str]:
    """Returns the keys of all reports except the `newest` newest ones and three champions.

    These are the present champion, the champion before it, and the best champion so far.
    """
    reports = list(workspace.artefacts("reports"))
    by_age = sorted(reports, key=lambda path: read_provenance(path)["created"], reverse=True)
    decisions = read_decisions(workspace)
    champions = list_champions(decisions)
    stay = {champions[-1].report, *(one.report for one in _before(champions)[-1:])} if champions else set()
    if best := best_report(decisions, workspace):
        stay.add(best.name)
    return [path.name for path in by_age[newest:] if path.name not in stay]


def keep_champion_folds(split: SplitConfig, workspace: Workspace) -> SplitConfig:
    """Returns the settings of a split, with the key of the champion's split for `keep_folds_of: champion`."""
    if split.keep_folds_of != CHAMPION:
        return split
    if find_champion(read_decisions(workspace)) is None:
        return split.model_copy(update={"keep_folds_of": None})
    report = read_report(champion_report(workspace))
    return split.model_copy(update={"keep_folds_of": report["lineage"]["split"]["key"]})


@contextmanager
def deciding(workspace: Workspace) -> Iterator[list[Decision]]:
    """Yields the decisions so far; meanwhile no other process on this machine can decide."""
    folder = workspace.directory / "models"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield read_decisions(workspace)


def record(report: Path, judgement: Judgement, decisions: Sequence[Decision], workspace: Workspace) -> Decision:
    """Publish a decision and set the link `models/champion`; returns the decision.

    Args:
        report: Directory of the report.
        judgement: Verdict on the report, with its reasons.
        decisions: Decisions that `deciding` yields, in whose context this must be called.
        workspace: Where artefacts lie.
    """
    champion = find_champion(decisions)
    macro_f1 = read_report(report)["metrics"]["macro_f1"]
    decision = Decision(
        number=1 + max((decision.number for decision in decisions), default=0),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        report=report.name,
        macro_f1={name: macro_f1[name] for name in ("value", "low", "high")},
        against=champion.report if champion and judgement.verdict != "chosen" else None,
        configuration=file_key(report / SETTINGS)[:16],
        **vars(judgement),
    )
    add_record("models", decision.number, report.name, asdict(decision), workspace)
    link_champion([*decisions, decision], workspace)
    return decision


def link_champion(decisions: Sequence[Decision], workspace: Workspace) -> None:
    """Set the link `models/champion` to the champion's report.

    A workspace at a URL gets a file with the address. So does a folder whose file system has no links, such as exFAT.
    """
    champion = find_champion(decisions)
    link = workspace.directory / "models" / CHAMPION
    if champion is None:
        return
    if mirror := workspace.mirror:
        mirror.write(link, f"{workspace.address(workspace.directory / 'reports' / champion.report)}\n".encode())
    report = Path("..") / "reports" / champion.report
    with replace_atomically(link) as partial:
        try:
            partial.symlink_to(report)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            partial.write_text(f"{report}\n")


def choose_report(key: str, workspace: Workspace) -> Decision:
    """Make a report the champion by hand; returns the decision.

    Raises:
        FileNotFoundError: If the workspace has no such report.
        ValueError: If the report is the champion already.
    """
    with deciding(workspace) as decisions:
        return _choose(key, "by hand", decisions, workspace)


def roll_back(number: int | None, workspace: Workspace) -> Decision:
    """Make an earlier champion the champion again; returns the decision.

    Args:
        number: Number of the decision that made that champion; None: the champion before the present one.
        workspace: Where artefacts lie.

    Raises:
        ValueError: If there is no earlier champion, or the decision made no champion.
        FileNotFoundError: If the report of that champion is missing.
    """
    with deciding(workspace) as decisions:
        champions = list_champions(decisions)
        if number is None:
            before = _before(champions)
            if not before:
                raise ValueError(
                    f"There is no champion before the present one in {workspace.address()}. Choose a report with "
                    "`birdclef models promote REPORT`."
                )
            target = before[-1]
        else:
            numbers = {decision.number: decision for decision in champions}
            if number not in numbers:
                raise ValueError(
                    f"Decision {number} made no champion. These did: {', '.join(map(str, numbers)) or 'none'}. "
                    "Choose any other report with `birdclef models promote REPORT`."
                )
            target = numbers[number]
        return _choose(target.report, f"back to number {target.number}", decisions, workspace)


def _before(champions: Sequence[Decision]) -> list[Decision]:
    """Returns the decisions for earlier champions, up to the first decision for the present champion's report."""
    first = next((place for place, one in enumerate(champions) if one.report == champions[-1].report), 0)
    return list(champions[:first])


def _choose(key: str, reason: str, decisions: Sequence[Decision], workspace: Workspace) -> Decision:
    champion = find_champion(decisions)
    if champion and champion.report == key:
        raise ValueError(f"Report {key} is the champion already, by decision {champion.number}. Choose another report.")
    return record(_find_report(key, workspace), Judgement("chosen", reason), decisions, workspace)


def _find_report(key: str, workspace: Workspace) -> Path:
    report = workspace.artefact("reports", key)
    if not is_finished(report):
        raise FileNotFoundError(
            f"{workspace.address(report)}: no such report. Restore it from a backup, or choose another with "
            "`birdclef models promote REPORT`; `birdclef status` lists all reports."
        )
    return report
