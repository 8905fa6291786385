"""Remembers each look at a held-out part: which reports were scored on it, and when.

The first score on a held-out part is free of selection, unless an earlier report scored these recordings out of fold,
because its split held others out, or none. Whoever scores several reports on the part and keeps the best one selects by
the part. So each look is a file in `looks/`, which never changes and which `birdclef gc` keeps. Each score says how
many reports were scored on at least one of its recordings before.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from birdclef.scores.earlier_scores import EarlierScores, find_earlier_scores
from cache.workspace.records import add_record, read_records
from cache.workspace.workspace import Workspace

_DIGITS = 16
"""Digits of a recording's sha256 that a look keeps."""
_NAMED = 3


@dataclass(frozen=True)
class Look:
    """First score of a report on its held-out part.

    Attributes:
        number: Number of the look in the workspace, from 1.
        date: Time of the look, ISO 8601 in UTC.
        report: Key of the report.
        held_out: Key of the held-out score.
        macro_f1: Macro-F1 on the held-out part: value, low, high.
        out_of_fold: Macro-F1 of the report, out of fold.
        recordings: First 16 digits of the sha256 of each held-out recording.
        scored_before: Number of these recordings that other reports and comparisons had scored out of fold; None in
            looks of old versions, which did not count them.
    """

    number: int
    date: str
    report: str
    held_out: str
    macro_f1: dict[str, float]
    out_of_fold: float
    recordings: tuple[str, ...]
    scored_before: int | None = None


def read_looks(workspace: Workspace) -> list[Look]:
    """Returns the looks of a workspace, the oldest first."""
    looks = read_records(
        "looks", workspace, lambda content: Look(**{**content, "recordings": tuple(content["recordings"])})
    )
    return sorted(looks, key=lambda look: (look.number, look.date))


def record_look(
    held_out: Path, score: dict[str, Any], sha256s: Sequence[str], workspace: Workspace
) -> tuple[Look, list[Look]]:
    """Returns the look of a score, and all earlier looks of other reports at one of its recordings or more.

    A report that was scored before keeps its first look.

    Args:
        held_out: Directory of the held-out score.
        score: Content of its `held_out.json`.
        sha256s: sha256 of each held-out recording.
        workspace: Where artefacts lie.
    """
    folder = workspace.directory / "looks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        looks = read_looks(workspace)
        look = next((one for one in looks if one.report == score["report"]), None)
        if look is None:
            macro_f1 = {name: score["metrics"]["macro_f1"][name] for name in ("value", "low", "high")}
            recordings = tuple(sorted(sha256[:_DIGITS] for sha256 in sha256s))
            date = datetime.now(UTC).isoformat(timespec="seconds")
            look = Look(
                number=1 + max((one.number for one in looks), default=0),
                date=date,
                report=score["report"],
                held_out=held_out.name,
                macro_f1=macro_f1,
                out_of_fold=score["out_of_fold"]["macro_f1"]["value"],
                recordings=recordings,
                scored_before=find_earlier_scores(score["report"], recordings, date, workspace).recordings,
            )
            add_record("looks", look.number, look.report, asdict(look), workspace)
    return look, find_earlier(look, looks)


def find_earlier(look: Look, looks: Sequence[Look]) -> list[Look]:
    """Returns the looks of other reports before a look that share a recording with it."""
    own = set(look.recordings)
    before = (one for one in looks if one.number < look.number and one.report != look.report)
    return [one for one in before if own.intersection(one.recordings)]


def tell_look(look: Look, earlier: Sequence[Look], scored: EarlierScores) -> str:
    """Returns sentences that say how often these recordings were looked at or scored before, and what follows.

    Args:
        look: The look.
        earlier: Earlier looks of other reports at one of its recordings or more.
        scored: What other reports and comparisons scored out of fold before the look.
    """
    total = len(look.recordings)
    before = max(scored.recordings, look.scored_before or 0)  # an artefact may have been removed since the look
    known = (
        f" Recordings scored out of fold before: {before} of {total}, by {_name(scored.by)}. Settings and "
        "models may have been chosen by those scores, so the held-out score may be too high. To prevent this, set "
        "split.test_share from the first run on."
        if before
        else ""
    )
    if scored.missing:
        known += (
            f" Nobody can tell whether {_name(tuple(f'report {key}' for key in scored.missing))} scored some of them, "
            "because the report is gone."
        )
    if earlier:
        listed = ", ".join(f"{one.report} ({one.macro_f1['value']:.3f}, {one.date[:10]})" for one in earlier)
        return (
            f"This is look {len(earlier) + 1} at these recordings: {listed} before. If you choose between these "
            f"reports by their held-out scores, the best score is too high.{known}"
        )
    first = f"This is the first look at these recordings ({total})"
    none = ", and no other report or comparison of this workspace scored any of them, so no choice was made on them"
    return f"{first}.{known}" if known else f"{first}{none}."


def _name(names: Sequence[str]) -> str:
    """Returns the first names as a list in words."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}" if names else "a report or comparison that was removed since"


def describe_looks(looks: Sequence[Look]) -> str:
    """Returns the looks as a Markdown table, the latest first.

    `scored before` counts the held-out recordings that other reports and comparisons had scored out of fold.
    """
    lines = [
        "| look | date | report | recordings | scored before | held-out macro-F1 | out of fold | page |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in reversed(looks):
        value = "{value:.3f} [{low:.3f}, {high:.3f}]".format_map(one.macro_f1)
        number = len(find_earlier(one, looks)) + 1
        page = f"held_out/{one.held_out}/held_out.html"
        before = "–" if one.scored_before is None else one.scored_before
        cells = [number, one.date[:16], one.report, len(one.recordings), before, value, f"{one.out_of_fold:.3f}", page]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
