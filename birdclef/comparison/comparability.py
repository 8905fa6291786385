"""Finds why a report cannot take another one's place: other folds, more leaks, selection, or a smaller task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from birdclef.comparison.leaks import Leaks
from birdclef.scores.lineage import read_usable_recordings
from birdclef.scores.report_file import read_report
from cache.config.split import SplitConfig
from cache.folds.groups import is_held_out
from cache.folds.overlap import Overlap
from cache.workspace.workspace import Workspace

_LEAKING_SETTINGS = ("group_by", "fold_column")
"""Settings of a split that decide what leaks. Number of folds, seed and held-out share may differ: the models are then
trained on more or on other recordings, but on none that resemble the validated ones more."""
_LEAKS = {
    "same_recordist_and_species": (
        "a training recording by the same recordist of the same species",
        "group the folds by recordist",
    ),
    "same_sound": (
        "a copy among the training recordings of the same species",
        "remove the copies, or give all copies of a recording one fold",
    ),
}
"""What leaks, by its name in `Overlap`, with the words for it and its remedy."""
_DRIFT = 0.01
"""Growth of a leaking share that new recordings may cause, if something leaked before."""
LEAST_SCORED = 0.9
"""Share of the other report's recordings that a report must have scored too, so that its score tells about them."""
_NAMED_SPECIES = 5


@dataclass(frozen=True)
class Doubts:
    """Why the score of a report is too high beside those of others, as far as `report.json` alone can tell.

    Attributes:
        selected: Whether its epochs were chosen on the validation fold.
        leaking_share: Share of its recordings that leak, if that is more than in the report that leaks least.
        recordings: Number of recordings that it scored, if they are few beside those of the report that scored most.
    """

    selected: bool
    leaking_share: float | None
    recordings: int | None

    @property
    def grounds(self) -> tuple[bool, bool, bool]:
        """Whether there is each doubt, the gravest first; reports are sorted by it, those without doubts first."""
        return self.selected, self.leaking_share is not None, self.recordings is not None

    @property
    def told(self) -> str:
        """The doubts in words; empty if there are none."""
        reasons = []
        if self.selected:
            reasons.append("its epochs were chosen on the validation fold")
        if self.leaking_share is not None:
            reasons.append(f"{100 * self.leaking_share:.1f} % of its recordings leak")
        if self.recordings is not None:
            reasons.append(f"recordings that it scored: only {self.recordings}")
        return ", ".join(reasons)


def find_doubts(reports: Sequence[Path]) -> list[Doubts]:
    """Returns the doubts about the score of each report beside the others; their splits may be gone."""
    contents = [read_report(report) for report in reports]
    leaks = [content["split"]["leak"]["leaking_share"] for content in contents]
    scored = [content["coverage"]["recordings_scored"] for content in contents]
    return [
        Doubts(
            selected=bool(find_selection(report)),
            leaking_share=leak if _grew(leak, min(leaks)) else None,
            recordings=recordings if recordings < LEAST_SCORED * max(scored) else None,
        )
        for report, leak, recordings in zip(reports, leaks, scored, strict=True)
    ]


def find_selection(report: Path) -> list[str]:
    """Returns why the score of a report is too high by itself, in words: epochs chosen on the validation fold."""
    runs = read_report(report)["lineage"]["runs"]
    chosen = sum(run["config"]["select"] == "best" for run in runs)
    reason = (
        f"the epoch of {chosen} of its {len(runs)} models was chosen on the validation fold, so its score is too high: "
        "set train.*.select=last"
    )
    return [reason] if chosen else []


def find_objections(report: Path, other: Path, leaks: Sequence[Leaks], workspace: Workspace) -> list[str]:
    """Returns why the score of a report cannot be compared with that of another one, in words; empty if it can.

    Args:
        report: Directory of the report.
        other: Directory of the report that it is compared with.
        leaks: Leaks of both, from `measure_leaks`.
        workspace: Where the splits of both lie.

    Raises:
        FileNotFoundError: If the split or the catalogue of a report is missing.
    """
    own, others = read_report(report), read_report(other)
    incomparable = _compare_settings(own, others, other.name, leaks) or _compare_leaks(leaks, other.name)
    lost = _find_lost_recordings(report, other, read_usable_recordings(report, workspace))
    return [*incomparable, *_find_lost_species(own, others, other.name), *lost]


def find_advantages(leaks: Sequence[Leaks], name: str) -> list[str]:
    """Returns why the other report's score is too high beside that of a report, in words: its models saw more.

    Only the recordings count that both scored, because the difference is taken on these.

    Args:
        leaks: Leaks of the report and of the other one, from `measure_leaks`.
        name: Key of the other report.
    """
    own, others = (one.common for one in leaks)
    return [
        f"{100 * _share(others, kind):.1f} % of the recordings that both scored have {what} for {name}, and "
        f"{100 * _share(own, kind):.1f} % for this report, so the score of {name} is too high beside it"
        for kind, (what, _) in _LEAKS.items()
        if _leaks_more(others, own, kind)
    ]


def _find_lost_species(own: Mapping[str, Any], others: Mapping[str, Any], name: str) -> list[str]:
    """Returns which species of the other report a report does not know, in words.

    On the recordings that are left a model with fewer species has the easier task, so the paired difference does not
    tell about the loss.
    """
    known = {species["label"] for species in own["per_species"]}
    lost = [species["label"] for species in others["per_species"] if species["label"] not in known]
    if not lost:
        return []
    named = ", ".join(lost[:_NAMED_SPECIES]) + (", …" if len(lost) > _NAMED_SPECIES else "")
    return [f"it does not know {len(lost)} of the {len(others['per_species'])} species of {name}: {named}"]


def _find_lost_recordings(report: Path, other: Path, usable: pd.DataFrame) -> list[str]:
    """Returns how many recordings of the other report a report scored, in words, if they are too few.

    Recordings that the report's split holds out are not expected.

    Args:
        report: Directory of the report.
        other: Directory of the other report.
        usable: sha256 and fold of the recordings of the report's split.
    """
    scored = [
        set(pd.read_csv(one / "recordings.csv", dtype=str)[["sha256", "label"]].itertuples(index=False, name=None))
        for one in (report, other)
    ]
    held_out = set(usable.loc[is_held_out(usable["fold"]), "sha256"])
    expected = {one for one in scored[1] if one[0] not in held_out}
    common, aside = len(scored[0] & expected), len(scored[1]) - len(expected)
    if not expected:
        return [f"its split holds out all recordings that {other.name} scored, so it scored none of them"]
    if common >= LEAST_SCORED * len(expected):
        return []
    but = f" (and {aside} more, which it holds out)" if aside else ""
    return [
        f"it scored only {common} of the {len(expected)} recordings that {other.name} scored{but}, under the same label"
    ]


def _compare_settings(
    own: Mapping[str, Any], others: Mapping[str, Any], name: str, leaks: Sequence[Leaks]
) -> list[str]:
    reasons = []
    for setting in _LEAKING_SETTINGS:
        value, wanted = (_split_setting(one, setting) for one in (own, others))
        if value == wanted:
            continue
        share, before = (_share(one.scored, "same_recordist_and_species") for one in leaks)
        reason = (
            f"its folds have split.{setting}={value} and those of {name} have {wanted}, so their scores cannot be "
            f"compared ({100 * share:.1f} % and {100 * before:.1f} % of the scored recordings have "
            f"{_LEAKS['same_recordist_and_species'][0]})"
        )
        reasons.append(reason if share < before else f"{reason}: set split.{setting}={wanted}")
    return reasons


def _compare_leaks(leaks: Sequence[Leaks], name: str) -> list[str]:
    """Returns of which kinds of leak a report has more than the other one, in words."""
    reasons = []
    for kind, (what, remedy) in _LEAKS.items():
        pairs = {
            "scored recordings": [one.scored for one in leaks],
            f"recordings that {name} scored too": [one.common for one in leaks],
        }
        reasons += [
            f"{100 * _share(own, kind):.1f} % of its {which} have {what}, and {100 * _share(others, kind):.1f} % of "
            f"those of {name}, so its score is too high: {remedy}"
            for which, (own, others) in pairs.items()
            if _leaks_more(own, others, kind)
        ][:1]
    return reasons


def _leaks_more(own: Overlap, others: Overlap, kind: str) -> bool:
    """Whether a leak grew; by recordists it must also have grown among the recordings whose recordist is known.

    Else the recordists of recordings that nobody knew before would seem to be a leak.
    """
    grew = _grew(_share(own, kind), _share(others, kind))
    if kind == "same_sound" or not grew:
        return grew
    return _grew(*(getattr(one, kind) / max(one.recordist_known, 1) for one in (own, others)))


def _share(overlap: Overlap, kind: str) -> float:
    return float(getattr(overlap, kind)) / max(overlap.recordings, 1)


def _grew(share: float, before: float) -> bool:
    return share > before + (_DRIFT if before else 0.0)


def _split_setting(report: Mapping[str, Any], setting: str) -> str:
    value = report["lineage"]["split"]["config"].get(setting, SplitConfig.model_fields[setting].default)
    return "null" if value is None else str(value)
