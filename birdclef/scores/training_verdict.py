"""Judges whether training paid: compares the members with chance, the baseline and a model's own labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from birdclef.config.model import POOLS
from birdclef.scores.lineage import list_embedding_stores

Outcome = Literal["paid", "partly", "unclear", "not_paid"]

_OPENINGS: dict[Outcome, str] = {
    "paid": "Training paid here",
    "partly": "Training paid only in part",
    "unclear": "It is unclear whether training paid here",
    "not_paid": "Training did not pay here",
}
_SELECTED = (
    " The score of the trained models is too high, because their epochs were chosen on the validation folds "
    "(train.*.select=best)."
)
_LONGER = "more epochs (train.*.epochs, or train.*.max_epochs with epochs=auto)"


@dataclass(frozen=True)
class Rival:
    """Something that the members have to beat.

    Attributes:
        kind: What it is.
        name: Its name in sentences.
        complete: Whether it was compared on all scored species; False: on the species that an embedding model's own
            labels cover, which are not all of them.
        macro_f1: Its macro-F1.
        members_macro_f1: Macro-F1 of the members on the same recordings and species.
        lead: Macro-F1 of the rival minus that of the members: value, low, high. For chance the interval is that of the
            members alone.
        sentence: All of this in words.
    """

    kind: Literal["chance", "baseline", "own_labels"]
    name: str
    complete: bool
    macro_f1: float
    members_macro_f1: float
    lead: dict[str, float]
    sentence: str


def judge_training(report: Mapping[str, Any], classifier: str) -> dict[str, Any]:
    """Returns whether training paid, in words and figures: outcome, sentence, advice, and the rivals.

    The rivals are chance, the baseline and an embedding model's own labels, the one that is furthest ahead first.
    Outcomes: `paid`, the members are better than every rival on all scored species; `not_paid`, a rival is better than
    the members there, or the members are not better than chance; `partly`, own labels are better on the species that
    they cover, but do not cover all; `unclear`, anything else. Better means that the interval leaves out zero.

    Args:
        report: Content of `report.json` so far: metrics, baseline, zero_shot, members and lineage.
        classifier: Name of the baseline's classifier.
    """
    rivals = sorted(_list_rivals(report, classifier), key=lambda rival: -rival.lead["value"])
    ahead = [rival for rival in rivals if is_ahead(rival)]
    close = [rival for rival in rivals if rival.complete and not is_ahead(rival) and rival.lead["high"] >= 0]
    outcome: Outcome = "unclear" if close else "paid"
    if ahead:
        outcome = "not_paid" if any(rival.complete for rival in ahead) else "partly"
    told = ahead or close or [rival for rival in rivals if rival.kind == "baseline"]
    partly_before = [rival for rival in rivals if not rival.complete and rival.lead["value"] > 0]
    told = [*told, *(rival for rival in partly_before if rival not in told)]
    selected = any(member.get("select") == "best" for member in report["members"])
    return {
        "outcome": outcome,
        "sentence": f"{_OPENINGS[outcome]}: {'; '.join(rival.sentence for rival in told)}.{selected * _SELECTED}",
        "advice": None if outcome == "paid" else _advise(told[0], report),
        "rivals": [asdict(rival) for rival in rivals],
    }


def is_ahead(rival: Rival) -> bool:
    """Returns whether a rival is better than the members; for chance, whether it may be as good."""
    return rival.lead["high"] >= 0 if rival.kind == "chance" else rival.lead["low"] > 0


def read_rivals(report: Mapping[str, Any], origin: str) -> list[Rival]:
    """Returns the rivals in the content of a `report.json`.

    Args:
        report: Content of the file.
        origin: Name of the file, for the message.

    Raises:
        ValueError: If there are none, because an old version wrote the report.
    """
    if "verdict" not in report:
        raise ValueError(f"{origin} has no verdict, because an old version wrote the report. Evaluate it again.")
    return [Rival(**rival) for rival in report["verdict"]["rivals"]]


def _list_rivals(report: Mapping[str, Any], classifier: str) -> list[Rival]:
    macro_f1, baseline, zero_shot = report["metrics"]["macro_f1"], report["baseline"], report["zero_shot"]
    rivals = [
        _chance(macro_f1),
        _rival("baseline", classifier, baseline["metrics"]["macro_f1"]["value"], baseline["difference_macro_f1"]),
    ]
    if not zero_shot or "macro_f1" not in zero_shot:
        return rivals
    name = f"the own labels of {zero_shot['model']}"
    everywhere = zero_shot["all_species"]
    complete = zero_shot["recordings"] == report["coverage"]["recordings_scored"]
    rivals.append(_rival("own_labels", name, everywhere["macro_f1"], everywhere["difference_macro_f1"]))
    if not complete:
        scope = f" on the {zero_shot['recordings']} recordings of species that it knows"
        own = zero_shot["macro_f1"]["value"], zero_shot["difference_macro_f1"]
        rivals.append(_rival("own_labels", name, *own, scope))
    return rivals


def _chance(macro_f1: Mapping[str, float]) -> Rival:
    value, chance = macro_f1["value"], macro_f1["chance"]
    lead = {"value": chance - value, "low": chance - macro_f1["high"], "high": chance - macro_f1["low"]}
    better = "is better" if lead["high"] < 0 else "is not shown to be better"
    interval = f"[{macro_f1['low']:.3f}, {macro_f1['high']:.3f}]"
    sentence = f"macro-F1 {value:.3f} {interval} {better} than chance, {chance:.3f}"
    return Rival("chance", "chance", True, chance, value, lead, sentence)


def _rival(
    kind: Literal["baseline", "own_labels"],
    name: str,
    macro_f1: float,
    difference: Mapping[str, float],
    scope: str = "",
) -> Rival:
    """Returns a rival.

    Args:
        kind: What it is.
        name: Its name in sentences.
        macro_f1: Its macro-F1.
        difference: Macro-F1 of the members minus its own, paired: value, low, high.
        scope: Recordings that both are compared on, in words; empty: all scored recordings.
    """
    lead = {"value": -difference["value"], "low": -difference["high"], "high": -difference["low"]}
    shown, place = (lead, "behind by") if lead["value"] > 0 else (difference, "ahead by")
    if round(difference["value"], 3) == 0:
        place = "level,"
    members = macro_f1 + difference["value"]
    verb = "reach" if kind == "own_labels" else "reaches"
    sentence = (
        f"{name} {verb} macro-F1 {macro_f1:.3f}{scope}, and the trained models reach {members:.3f}: "
        f"they are {place} {shown['value']:.3f} [{shown['low']:.3f}, {shown['high']:.3f}]"
    )
    return Rival(kind, name, not scope, macro_f1, members, lead, sentence)


def _advise(rival: Rival, report: Mapping[str, Any]) -> str:
    """Returns what to use or to try instead of the members, as a sentence."""
    if rival.kind == "own_labels":
        model = report["zero_shot"]["model"]
        species = "these species" if rival.complete else "the species that it knows"
        return (
            f"Use {model} with its own labels for {species}, as the program of its makers does. It may have been "
            "trained on these recordings; then the score of its labels is too high."
        )
    if report["coverage"]["species_scored"] == 1:
        return "Only one species is scored, so there is nothing to tell apart: add recordings of more species."
    return f"Try {', or '.join(_list_trials(report['members'], report['lineage']))}."


def _list_trials(members: Sequence[Mapping[str, Any]], lineage: Mapping[str, Any]) -> list[str]:
    """Returns settings that may help members which are behind a simple classifier; each names the member it is for.

    More epochs are among them only if a loss still fell.
    """
    longer = [_LONGER] if any(member["loss_falls"] for member in members) else []
    on_embeddings = bool(list_embedding_stores(lineage))
    trials = []
    for member in members:
        own = f"train.{member['name']}"
        if member["objective"] != "ce" and on_embeddings and member["backbone"] in POOLS:
            trials.append(f"{own}.objective.kind=ce")
        if member["backbone"] == "mean_pool":
            trials.append(f"{own}.model.backbone=attention_pool")
        if member["backbone"] not in POOLS and member["weights"] == "none":
            trials.append(f"pretrained weights ({own}.model.weights=hub)")
    if on_embeddings:
        return [*trials, *longer, "more recordings of each species"]
    embeddings = "`birdclef run embeddings` with the same data.root, which starts from a model that knows birds"
    return [*longer, embeddings, *trials]
