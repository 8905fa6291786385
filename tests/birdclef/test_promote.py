"""The rule, on reports of tests/conftest.py's members; the difference is held to scikit-learn in test_diff.py.

Leak, selection, baselines and the drift over many promotions are tested on reports that tests/builders writes.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from written_reports import RECORDINGS, list_recordings, write_report

from birdclef.champion import champion_report, choose_report, roll_back
from birdclef.comparison.diff import compare_reports
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.promote import PromoteConfig
from birdclef.config.train import TrainConfig
from birdclef.decisions import read_decisions
from birdclef.evaluate import evaluate
from birdclef.promote import promote
from cache.workspace.keys import file_key
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

CONFIG = EvaluateConfig(bootstrap_samples=100, permutations=2, worst_errors=0, map_recordings=0)
RULE = PromoteConfig()


@pytest.fixture(scope="module")
def better(
    evaluation_baseline: Path, evaluation_workspace: Path, evaluation_members: dict[str, list[Path]]
) -> tuple[Path, Path]:
    """The good report and the bad one, that has much less skill."""
    good, bad = (
        evaluate(
            CONFIG, {name: paths}, evaluation_baseline, {"data": {"root": "/nowhere"}}, Workspace(evaluation_workspace)
        )
        for name, paths in evaluation_members.items()
    )
    return good, bad


@pytest.fixture
def workspace(evaluation_workspace: Path, tmp_path: Path) -> Path:
    """The same artefacts, without any decision."""
    for kind in evaluation_workspace.iterdir():
        if kind.is_dir() and kind.name not in (".staging", ".work", "models"):
            (tmp_path / kind.name).symlink_to(kind)
    return tmp_path


def rival(kind: str, lead: tuple[float, float, float], complete: bool = True) -> dict[str, Any]:
    """Returns a rival of a verdict by its lead over the members: value, low, high."""
    interval = dict(zip(("value", "low", "high"), lead, strict=True))
    scores = {"macro_f1": 0.7 + lead[0], "members_macro_f1": 0.7}
    return {"kind": kind, "name": kind, "complete": complete, **scores, "lead": interval, "sentence": f"{kind} leads"}


MIXED = list_recordings().assign(fold=np.random.default_rng(0).integers(4, size=RECORDINGS))
"""The recordings of `list_recordings` in folds that divide recordists."""

BEHIND = [rival("baseline", (-0.3, -0.4, -0.2)), rival("chance", (-0.6, -0.7, -0.5))]


def choose_wrong(share: float, before: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Returns which recordings are taken for another species: those of `before`, and a share of others at random."""
    wrong = np.zeros(RECORDINGS, bool) if before is None else before.copy()
    right = np.flatnonzero(~wrong)
    wrong[np.random.default_rng(seed).choice(right, round(share * RECORDINGS), replace=False)] = True
    return wrong


def test_without_a_champion_the_best_report_is_named_and_not_the_newest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rivals = [rival("baseline", (0.3, 0.2, 0.4)), BEHIND[1]]
    wrong = choose_wrong(0.1)
    good, _ = write_report(tmp_path, "good", list_recordings(), wrong, rivals=rivals)
    bad, _ = write_report(tmp_path, "bad", list_recordings(), choose_wrong(0.4, wrong), rivals=rivals)
    for report in (good, bad):
        promote(RULE, CONFIG, report, Workspace(tmp_path))
    with pytest.raises(FileNotFoundError) as told:
        champion_report(Workspace(tmp_path))
    message = str(told.value)
    assert (
        f"on the recordings that all reports scored ({RECORDINGS}), the best report is {good.name} with 0." in message
    )
    assert f"before {bad.name} with 0." in message
    assert f"`birdclef models promote {good.name}` takes it all the same" in message
    assert f"promote {bad.name}" not in message + caplog.text
    assert f"promote {good.name}" in caplog.records[-1].getMessage()


def test_report_is_judged_once(better: tuple[Path, Path], workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = better
    choose_report(good.name, Workspace(workspace))
    decision, new = promote(RULE, CONFIG, bad, Workspace(workspace))
    assert new
    with caplog.at_level(logging.INFO):
        again, new = promote(RULE, CONFIG, bad, Workspace(workspace))
    assert (again, new) == (decision, False)
    assert f"nothing changed since report {bad.name}, number 2 (refused" in caplog.text
    assert f"the champion is {good.name}" in caplog.text
    assert len(read_decisions(Workspace(workspace))) == 2


@pytest.mark.parametrize(
    ("rivals", "changes", "objection"),
    [
        (BEHIND, {}, None),
        ([*BEHIND, rival("own_labels", (0.3, 0.2, 0.4), complete=False)], {}, None),  # they do not cover all species
        ([rival("baseline", (0.01, -0.03, 0.05)), BEHIND[1]], {}, None),  # not shown to be better
        ([rival("baseline", (0.03, 0.001, 0.06)), BEHIND[1]], {}, "baseline leads"),
        ([*BEHIND, rival("own_labels", (0.313, 0.25, 0.38))], {}, "own_labels leads"),
        ([BEHIND[0], rival("chance", (-0.001, -0.01, 0.0))], {}, "chance leads"),
        (BEHIND, {"select": "best"}, "was chosen on the validation fold"),
    ],
)
def test_first_report_is_promoted_only_if_it_beats_chance_and_is_not_worse_than_what_needs_no_training(
    rivals: list[dict[str, Any]], changes: dict[str, Any], objection: str | None, tmp_path: Path
) -> None:
    report, _ = write_report(tmp_path, "first", list_recordings(), choose_wrong(0.1), rivals=rivals, **changes)
    decision, _ = promote(RULE, CONFIG, report, Workspace(tmp_path))
    if objection is None:
        assert (decision.verdict, decision.reason) == ("promoted", "first report; baseline leads")
        assert champion_report(Workspace(tmp_path)) == report
        return
    assert decision.verdict == "refused"
    assert objection in decision.reason
    with pytest.raises(FileNotFoundError, match=f"`birdclef models promote {report.name}` takes it all the same"):
        champion_report(Workspace(tmp_path))
    assert promote(RULE, CONFIG, report, Workspace(tmp_path)) == (decision, False)
    assert "promote" not in decision.reason.split("; ")[-1]  # a better report may come, and no champion with it
    choose_report(report.name, Workspace(tmp_path))
    assert champion_report(Workspace(tmp_path)) == report


def test_leak_of_a_first_champion_is_told(tmp_path: Path) -> None:
    changes = {"rivals": [rival("baseline", (-0.1, -0.2, 0.0))], "leaking_share": 0.714}
    report, _ = write_report(tmp_path, "first", list_recordings(), choose_wrong(0.1), **changes)
    decision, _ = promote(RULE, CONFIG, report, Workspace(tmp_path))
    assert decision.verdict == "promoted"
    assert decision.reason.endswith("; 71.4 % of its recordings leak, so its score is too high")


def test_real_report_without_skill_is_no_first_champion(
    write_member: Callable[..., list[Path]], evaluation_baseline: Path, evaluation_workspace: Path, workspace: Path
) -> None:
    guesses = {"guesses": write_member(TrainConfig(seed=43), skill=0.0)}
    report = evaluate(
        CONFIG, guesses, evaluation_baseline, {"data": {"root": "/nowhere"}}, Workspace(evaluation_workspace)
    )
    decision, _ = promote(RULE, CONFIG, report, Workspace(workspace))
    assert decision.verdict == "refused"
    assert "chance" in decision.reason


def test_worse_report_is_refused_and_better_one_promoted(better: tuple[Path, Path], workspace: Path) -> None:
    good, bad = better
    choose_report(good.name, Workspace(workspace))
    refused, _ = promote(RULE, CONFIG, bad, Workspace(workspace))
    measured = compare_reports([good, bad], CONFIG)["metrics"]["macro_f1"][1]["difference"]
    assert refused.verdict == "refused"
    assert refused.difference == measured
    assert refused.against == good.name
    assert "it may be worse by more than 0.02" in refused.reason
    assert champion_report(Workspace(workspace)).name == good.name


def test_rule_is_the_lower_end_of_the_interval_against_the_margin(better: tuple[Path, Path], workspace: Path) -> None:
    good, bad = better
    low = compare_reports([good, bad], CONFIG)["metrics"]["macro_f1"][1]["difference"]["low"]
    choose_report(good.name, Workspace(workspace))
    for margin, verdict in ((-low - 1e-6, "refused"), (-low + 1e-6, "promoted")):
        for path in (workspace / "models").glob("0002-*.json"):
            path.unlink()
        assert promote(PromoteConfig(margin=margin), CONFIG, bad, Workspace(workspace))[0].verdict == verdict


def test_rolled_back_report_is_not_promoted_again(better: tuple[Path, Path], workspace: Path) -> None:
    good, bad = better
    choose_report(bad.name, Workspace(workspace))
    assert promote(RULE, CONFIG, good, Workspace(workspace))[0].verdict == "promoted"
    roll_back(None, Workspace(workspace))
    assert promote(RULE, CONFIG, good, Workspace(workspace))[1] is False
    assert champion_report(Workspace(workspace)).name == bad.name


def test_report_on_other_recordings_is_refused_with_what_to_do(
    evaluation_baseline: Path, write_member: Callable[..., list[Path]], workspace: Path
) -> None:
    parts = [
        evaluate(CONFIG, {"x": [path]}, evaluation_baseline, {"data": {"root": "/nowhere"}}, Workspace(workspace))
        for path in write_member(TrainConfig(seed=31), skill=1.0)[:2]
    ]
    choose_report(parts[0].name, Workspace(workspace))
    decision, _ = promote(RULE, CONFIG, parts[1], Workspace(workspace))
    assert decision.verdict == "refused"
    assert f"`birdclef models promote {parts[1].name}`" in decision.reason


def test_missing_report_of_the_champion_is_told(better: tuple[Path, Path], workspace: Path, tmp_path: Path) -> None:
    good, bad = better
    choose_report(good.name, Workspace(workspace))
    (workspace / "reports").unlink()
    with pytest.raises(FileNotFoundError, match="no such report"):
        promote(RULE, CONFIG, bad, Workspace(workspace))
    assert len(read_decisions(Workspace(workspace))) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"split": {"group_by": "recording"}}, "0.0 % of the scored recordings"),
        ({"usable": MIXED}, "% of its scored recordings have a training recording by the same recordist"),
        ({"select": "best"}, "was chosen on the validation fold"),
    ],
)
def test_better_report_with_more_leak_or_selected_epochs_is_refused_with_all_reasons(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    honest, _ = write_report(tmp_path, "honest", list_recordings(), choose_wrong(0.176), rivals=BEHIND)
    leaky, _ = write_report(tmp_path, "leaky", list_recordings(), choose_wrong(0.091), **changes)
    assert promote(RULE, CONFIG, honest, Workspace(tmp_path))[0].verdict == "promoted"
    decision, _ = promote(RULE, CONFIG, leaky, Workspace(tmp_path))
    assert decision.verdict == "refused"
    assert decision.difference is not None
    assert decision.difference["low"] > 0
    found, *reasons, by_hand = decision.reason.split("; ")
    assert "it is not worse by more than 0.02" in found
    assert reason in "; ".join(reasons)
    assert by_hand == f"`birdclef models promote {leaky.name}` takes it all the same"
    assert champion_report(Workspace(tmp_path)) == honest


def test_reason_says_that_the_champions_score_is_too_high_if_its_recordists_are_known_later(tmp_path: Path) -> None:
    inflated, _ = write_report(tmp_path, "inflated", MIXED.assign(recordist=""), choose_wrong(0.05), rivals=BEHIND)
    honest, _ = write_report(tmp_path, "honest", list_recordings(), choose_wrong(0.2))
    assert promote(RULE, CONFIG, inflated, Workspace(tmp_path))[0].verdict == "promoted"
    decision, _ = promote(RULE, CONFIG, honest, Workspace(tmp_path))
    assert decision.verdict == "refused"
    found, advantage, by_hand = decision.reason.split("; ")
    assert "it may be worse by more than 0.02" in found
    assert f"so the score of {inflated.name} is too high beside it" in advantage
    assert by_hand == f"`birdclef models promote {honest.name}` takes it all the same"


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (lambda recordings: recordings["label"] < "s08", "it does not know 12 of the 20 species of"),
        (lambda recordings: recordings["fold"] != 0, "it scored only"),
    ],
    ids=["fewer species", "fewer folds"],
)
def test_a_report_on_less_does_not_take_the_champions_place(
    kept: Callable[[pd.DataFrame], "pd.Series[bool]"], reason: str, tmp_path: Path
) -> None:
    recordings = list_recordings()
    inside = kept(recordings).to_numpy()
    whole, _ = write_report(tmp_path, "whole", recordings, choose_wrong(0.2), rivals=BEHIND)
    easier, _ = write_report(tmp_path, "easier", recordings[inside], choose_wrong(0.1)[inside])
    assert promote(RULE, CONFIG, whole, Workspace(tmp_path))[0].verdict == "promoted"
    decision, _ = promote(RULE, CONFIG, easier, Workspace(tmp_path))
    assert decision.verdict == "refused"
    assert "is not worse by more than 0.02" in decision.reason
    assert reason in decision.reason


def test_losses_of_26_weeks_do_not_add_up_to_more_than_the_margin(tmp_path: Path) -> None:
    recordings, wrong = list_recordings(), choose_wrong(0.1)
    first, at_first = write_report(tmp_path, "week 0", recordings, wrong, rivals=BEHIND)
    promote(RULE, CONFIG, first, Workspace(tmp_path))
    now, verdicts = at_first, []
    for week in range(1, 27):
        candidate = choose_wrong(0.01, wrong, seed=week)  # 1 % worse than the champion of this week
        report, macro_f1 = write_report(tmp_path, f"week {week}", recordings, candidate)
        decision, _ = promote(RULE, CONFIG, report, Workspace(tmp_path))
        assert decision.difference is not None
        assert decision.difference["low"] > -RULE.margin  # beside the champion alone, all are good enough
        verdicts.append(decision.verdict)
        if decision.verdict == "promoted":
            wrong, now = candidate, macro_f1
    assert verdicts.count("promoted") == 1
    assert at_first - now <= RULE.margin
    assert f"against the best so far, {first.name}" in decision.reason
    assert "it may be worse by more than 0.02" in decision.reason


def test_candidate_as_good_as_the_best_champion_is_promoted_after_losses(tmp_path: Path) -> None:
    recordings, wrong = list_recordings(), choose_wrong(0.1)
    for name, share in (("first", 0.0), ("less", 0.01), ("again", 0.002)):
        report, _ = write_report(tmp_path, name, recordings, choose_wrong(share, wrong), rivals=BEHIND)
        decision, _ = promote(RULE, CONFIG, report, Workspace(tmp_path))
        assert decision.verdict == "promoted"
    assert decision.best == read_decisions(Workspace(tmp_path))[0].report
    assert decision.difference is not None
    assert decision.difference_to_best is not None
    assert decision.difference["value"] > 0 > decision.difference_to_best["value"]


def test_reason_says_if_training_of_a_later_champion_did_not_pay(tmp_path: Path) -> None:
    wrong = choose_wrong(0.1)
    first, _ = write_report(tmp_path, "first", list_recordings(), wrong, rivals=BEHIND)
    later, _ = write_report(tmp_path, "later", list_recordings(), wrong)
    content = json.loads((later / "report.json").read_text())
    verdict = {"outcome": "not_paid", "sentence": "Training did not pay here: A is better."}
    (later / "report.json").write_text(json.dumps({**content, "verdict": verdict}))
    provenance = read_provenance(later)
    provenance["files"]["report.json"] = file_key(later / "report.json")
    (later / "provenance.json").write_text(json.dumps(provenance))
    promote(RULE, CONFIG, first, Workspace(tmp_path))
    decision, _ = promote(RULE, CONFIG, later, Workspace(tmp_path))
    assert decision.verdict == "promoted"
    assert decision.reason.endswith("; Training did not pay here: A is better")
