"""Remembers each look at a held-out part: which reports were scored on it, and when.

A figure of a held-out part is free of selection once. Whoever scores several reports on it and keeps the best selects
on it. So each look is a file in `looks/`, which never changes and which `birdclef gc` leaves. Each score says how many
reports were scored on its recordings before.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from cache.workspace.records import add_record, read_records
from cache.workspace.workspace import Workspace

_DIGITS = 16
"""Digits of a recording's sha256 that a look keeps."""


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
    """

    number: int
    date: str
    report: str
    held_out: str
    macro_f1: dict[str, float]
    out_of_fold: float
    recordings: tuple[str, ...]


def read_looks(workspace: Workspace) -> list[Look]:
    """Returns the looks of a workspace, the oldest first."""
    found = read_records("looks", workspace)
    looks = [Look(**{**one, "recordings": tuple(one["recordings"])}) for one in found]
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
            look = Look(
                number=1 + max((one.number for one in looks), default=0),
                date=datetime.now(UTC).isoformat(timespec="seconds"),
                report=score["report"],
                held_out=held_out.name,
                macro_f1=macro_f1,
                out_of_fold=score["out_of_fold"]["macro_f1"]["value"],
                recordings=tuple(sorted(sha256[:_DIGITS] for sha256 in sha256s)),
            )
            add_record("looks", look.number, look.report, asdict(look), workspace)
    return look, find_earlier(look, looks)


def find_earlier(look: Look, looks: Sequence[Look]) -> list[Look]:
    """Returns the looks of other reports before a look that share a recording with it."""
    own = set(look.recordings)
    before = (one for one in looks if one.number < look.number and one.report != look.report)
    return [one for one in before if own.intersection(one.recordings)]


def tell_look(look: Look, earlier: Sequence[Look]) -> str:
    """Returns a sentence that says how many reports were scored on these recordings, and what follows."""
    if not earlier:
        return f"This is the first look at these {len(look.recordings)} recordings, so no choice was made on them."
    listed = ", ".join(f"{one.report} ({one.macro_f1['value']:.3f}, {one.date[:10]})" for one in earlier)
    return (
        f"This is look {len(earlier) + 1} at these recordings: {listed} before. If you choose between these reports by "
        "their held-out scores, the best score is too high."
    )


def describe_looks(looks: Sequence[Look]) -> str:
    """Returns the looks as a Markdown table, the latest first."""
    lines = [
        "| look | date | report | recordings | held-out macro-F1 | out of fold | page |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in reversed(looks):
        value = "{value:.3f} [{low:.3f}, {high:.3f}]".format_map(one.macro_f1)
        number = len(find_earlier(one, looks)) + 1
        page = f"held_out/{one.held_out}/held_out.html"
        cells = [number, one.date[:16], one.report, len(one.recordings), value, f"{one.out_of_fold:.3f}", page]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
