"""Finds why a report cannot take another one's place: other folds, more leaks, selection, or a smaller task."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from birdclef.scores.lineage import read_usable_recordings
from cache.config.split import SplitConfig
from cache.folds.groups import count_leaks, is_held_out
from cache.workspace.workspace import Workspace

_LEAKING_SETTINGS = ("group_by", "fold_column")
"""Settings of a split that decide what leaks. Number of folds, seed and held-out share may differ: the models are then
trained on more or on other recordings, but on none that resemble the validated ones more."""
_DRIFT = 0.01
"""Growth of a leaking share that new recordings may cause, if something leaked before."""
_LEAST_SCORED = 0.9
"""Share of the other report's recordings that a report must have scored too, so that its score tells about them."""
_NAMED_SPECIES = 5


def find_selection(report: Path) -> list[str]:
    """Returns why the score of a report is too high by itself, in words: epochs chosen on the validation fold."""
    runs = _read(report)["lineage"]["runs"]
    chosen = sum(run["config"]["select"] == "best" for run in runs)
    reason = (
        f"the epoch of {chosen} of its {len(runs)} models was chosen on the validation fold, so its score is too high: "
        "set train.*.select=last"
    )
    return [reason] if chosen else []


def find_objections(report: Path, other: Path, workspace: Workspace) -> list[str]:
    """Returns why the score of a report cannot be compared with that of another one, in words; empty if it can.

    Args:
        report: Directory of the report.
        other: Directory of the report that it is compared with.
        workspace: Where the splits of both lie.

    Raises:
        FileNotFoundError: If the split or the catalogue of a report is missing.
    """
    own, others = _read(report), _read(other)
    incomparable = _compare_settings(own, others, other.name) or _compare_leaks(own, others, report, other)
    lost = _find_lost_recordings(report, other, read_usable_recordings(report, workspace))
    return [*incomparable, *_find_lost_species(own, others, other.name), *lost]


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
    if common >= _LEAST_SCORED * len(expected):
        return []
    but = f" (and {aside} more, which it holds out)" if aside else ""
    return [
        f"it scored only {common} of the {len(expected)} recordings that {other.name} scored{but}, under the same label"
    ]


def _compare_settings(own: Mapping[str, Any], others: Mapping[str, Any], name: str) -> list[str]:
    reasons = []
    for setting in _LEAKING_SETTINGS:
        value, wanted = (_split_setting(one, setting) for one in (own, others))
        if value == wanted:
            continue
        share, before = (_leaking_share(one) for one in (own, others))
        reason = (
            f"its folds have split.{setting}={value} and those of {name} have {wanted}, so their scores cannot be "
            f"compared ({100 * share:.1f} % and {100 * before:.1f} % of the validated recordings have a training "
            "recording by the same recordist of the same species)"
        )
        reasons.append(reason if share < before else f"{reason}: set split.{setting}={wanted}")
    return reasons


def _compare_leaks(own: Mapping[str, Any], others: Mapping[str, Any], report: Path, other: Path) -> list[str]:
    whole = [_leaking_share(one) for one in (own, others)]
    common = _measure_common_leaks(report, other)
    return [
        f"{100 * share:.1f} % of its {which} have a training recording by the same recordist of the same species, and "
        f"{100 * before:.1f} % of those of {other.name}, so its score is too high: group the folds by recordist"
        for which, (share, before) in (
            ("validated recordings", whole),
            (f"recordings that {other.name} scored too, with the recordists that were known then,", common),
        )
        if _grew(share, before)
    ][:1]


def _measure_common_leaks(report: Path, other: Path) -> list[float]:
    """Returns the leaking shares of both reports among the recordings that both scored, with the other's recordists.

    So folds leak by the recordists that the other report knew, even if the table of recordings has lost them since.
    """
    columns = ["sha256", "label", "recordist", "fold"]
    tables = [
        pd.read_csv(one / "recordings.csv", dtype=str, keep_default_na=False)[columns].drop_duplicates("sha256")
        for one in (report, other)
    ]
    common = tables[0].merge(tables[1], on=["sha256", "label"], suffixes=("_own", ""))
    recordings = common.assign(sound=common["sha256"])
    return [count_leaks(recordings, common[fold].to_numpy("int64"))["leaking_share"] for fold in ("fold_own", "fold")]


def _grew(share: float, before: float) -> bool:
    return share > before + (_DRIFT if before else 0.0)


def _leaking_share(report: Mapping[str, Any]) -> float:
    return float(report["split"]["leak"]["leaking_share"])


def _split_setting(report: Mapping[str, Any], setting: str) -> str:
    value = report["lineage"]["split"]["config"].get(setting, SplitConfig.model_fields[setting].default)
    return "null" if value is None else str(value)


def _read(report: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((report / "report.json").read_text())
    return content
