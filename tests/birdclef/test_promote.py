"""The rule, on reports of tests/conftest.py's members; the difference is held to scikit-learn in test_diff.py."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from birdclef.champion import champion_report, read_decisions, roll_back
from birdclef.comparison.diff import compare_reports
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.promote import PromoteConfig
from birdclef.config.train import TrainConfig
from birdclef.evaluate import evaluate
from birdclef.promote import promote
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


def test_first_report_becomes_champion_and_is_judged_once(
    better: tuple[Path, Path], workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, bad = better
    decision, new = promote(RULE, CONFIG, bad, Workspace(workspace))
    assert (decision.verdict, decision.reason, decision.difference, new) == ("promoted", "first report", None, True)
    with caplog.at_level(logging.INFO):
        again, new = promote(RULE, CONFIG, bad, Workspace(workspace))
    assert (again, new) == (decision, False)
    assert f"nothing changed since report {bad.name}, number 1 (promoted" in caplog.text
    assert len(read_decisions(Workspace(workspace))) == 1


def test_worse_report_is_refused_and_better_one_promoted(better: tuple[Path, Path], workspace: Path) -> None:
    good, bad = better
    promote(RULE, CONFIG, good, Workspace(workspace))
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
    promote(RULE, CONFIG, good, Workspace(workspace))
    for margin, verdict in ((-low - 1e-6, "refused"), (-low + 1e-6, "promoted")):
        for path in (workspace / "models").glob("0002-*.json"):
            path.unlink()
        assert promote(PromoteConfig(margin=margin), CONFIG, bad, Workspace(workspace))[0].verdict == verdict


def test_rolled_back_report_is_not_promoted_again(better: tuple[Path, Path], workspace: Path) -> None:
    good, bad = better
    promote(RULE, CONFIG, bad, Workspace(workspace))
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
    promote(RULE, CONFIG, parts[0], Workspace(workspace))
    decision, _ = promote(RULE, CONFIG, parts[1], Workspace(workspace))
    assert decision.verdict == "refused"
    assert f"`birdclef models promote {parts[1].name}`" in decision.reason


def test_missing_report_of_the_champion_is_told(better: tuple[Path, Path], workspace: Path, tmp_path: Path) -> None:
    good, bad = better
    promote(RULE, CONFIG, good, Workspace(workspace))
    (workspace / "reports").unlink()
    with pytest.raises(FileNotFoundError, match="no such report"):
        promote(RULE, CONFIG, bad, Workspace(workspace))
    assert len(read_decisions(Workspace(workspace))) == 1
