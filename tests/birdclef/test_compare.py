"""A comparison on the workspace of tests/conftest.py, against scikit-learn."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from birdclef.baseline import BASELINE, FROZEN_BASELINE
from birdclef.compare import compare
from birdclef.comparison.arms import Trial
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.train import TrainConfig
from cache.workspace.workspace import Workspace

WriteMember = Callable[..., list[Path]]

CONFIG = EvaluateConfig(bootstrap_samples=300, seed=3)


@pytest.fixture(scope="module")
def comparison(write_member: WriteMember, evaluation_baseline: Path, evaluation_workspace: Path) -> Path:
    trials = []
    for arm, kind, skill in (("ce", "ce", 1.5), ("joint", "joint", 3.0), ("same|skill", "supcon", 1.5)):
        for seed in (11, 12):
            config = TrainConfig.model_validate({"seed": seed, "objective": {"kind": kind}})
            trials.append((Trial(arm, 4, seed, config), write_member(config, skill=skill)))
    return compare(CONFIG, trials, {BASELINE: evaluation_baseline}, (), Workspace(evaluation_workspace))


@pytest.fixture(scope="module")
def numbers(comparison: Path) -> dict:
    return json.loads((comparison / "comparison.json").read_text())


def test_arms_stand_in_order_with_their_cost_per_seed(numbers: dict) -> None:
    assert [(entry["name"], entry["epochs"]) for entry in numbers["arms"]] == [
        ("ce", 4),
        ("joint", 4),
        ("same|skill", 4),
    ]
    for entry in numbers["arms"]:
        assert entry["training_seconds"] == pytest.approx(10.5 + 11.5 + 12.5)
        assert entry["views"] == 3 * 4 * 75
        assert entry["peak_memory_mb"] == 502.0
        assert len(entry["by_seed"]) == 2
    assert numbers["recordings"] == 137
    assert [entry["name"] for entry in numbers["baselines"]] == [BASELINE]


def test_values_are_those_of_scikit_learn(
    numbers: dict, write_member: WriteMember, evaluation_split: Path, evaluation_catalogue: Path
) -> None:
    folds = pd.read_csv(evaluation_split / "split.csv", dtype=str, keep_default_na=False)
    species = pd.read_csv(evaluation_catalogue / "species.csv", dtype=str, keep_default_na=False)["label"].tolist()
    for entry, kind, skill in zip(numbers["arms"], ("ce", "joint", "supcon"), (1.5, 3.0, 1.5), strict=True):
        expected = {name: [] for name in ("all", "1-9", "10-99", "100+")}
        for seed in (11, 12):
            config = TrainConfig.model_validate({"seed": seed, "objective": {"kind": kind}})
            predicted, truth = [], []
            for directory in write_member(config, skill=skill):
                table = pd.read_csv(directory / "recordings.csv", dtype=str, keep_default_na=False)
                truth += [species.index(label) for label in table["label"]]
                predicted += np.load(directory / "probabilities.npy").mean(axis=0).argmax(axis=1).tolist()
            each = f1_score(truth, predicted, labels=range(len(species)), average=None, zero_division=0)
            f1 = dict(zip(species, each, strict=True))
            expected["all"].append(np.mean([f1[name] for name in ("abbowl", "barwre", "cdove", "d|<i>finch")]))
            expected["1-9"].append(f1["cdove"])
            expected["10-99"].append((f1["barwre"] + f1["d|<i>finch"]) / 2)
            expected["100+"].append(f1["abbowl"])
        assert entry["macro_f1"]["value"] == pytest.approx(np.mean(expected["all"]), abs=1e-9)
        assert entry["by_seed"] == pytest.approx(expected["all"], abs=1e-9)
        assert entry["seed_deviation"] == pytest.approx(np.std(expected["all"], ddof=1))
        for bucket in entry["buckets"]:
            assert bucket["macro_f1"]["value"] == pytest.approx(np.mean(expected[bucket["bucket"]]), abs=1e-9)
    assert len(folds) == 140


def test_one_seed_has_no_deviation_and_the_table_shows_a_dash(
    write_member: WriteMember, evaluation_baseline: Path, evaluation_workspace: Path
) -> None:
    trials = []
    for arm, skill in (("ce", 1.5), ("joint", 3.0)):
        config = TrainConfig.model_validate({"seed": 11, "objective": {"kind": arm}})
        trials.append((Trial(arm, 4, 11, config), write_member(config, skill=skill)))
    directory = compare(CONFIG, trials, {BASELINE: evaluation_baseline}, (), Workspace(evaluation_workspace))
    numbers = json.loads((directory / "comparison.json").read_text())
    assert numbers["arms"][0]["seed_deviation"] is None
    assert pd.read_csv(directory / "comparison.csv")["seed_deviation"].isna().all()
    header, _, row = [
        line.split("|") for line in (directory / "comparison.md").read_text().splitlines() if "|" in line
    ][:3]
    assert row[header.index(" seeds ± ")] == " – "


def test_a_better_arm_is_told_from_the_reference_and_an_equal_one_is_not(numbers: dict) -> None:
    reference, better, equal = numbers["arms"]
    assert reference["difference"]["value"] == 0
    assert better["difference"]["low"] > 0
    assert equal["difference"]["low"] <= 0 <= equal["difference"]["high"]
    for entry in numbers["arms"]:
        for values in (entry["macro_f1"], *(bucket["macro_f1"] for bucket in entry["buckets"])):
            assert 0 <= values["low"] <= values["value"] <= values["high"] <= 1


def test_all_differences_hold_together_and_the_page_says_so(comparison: Path, numbers: dict) -> None:
    # The third arm has the predictions of the reference, so only one difference varies.
    assert numbers["difference_confidence"] == {"all": 0.95, "1-9": 0.95, "10-99": 0.95, "100+": 0.95}
    text = (comparison / "comparison.md").read_text()
    assert "With 95% probability all 2 intervals of a column hold their true differences at once" in text
    assert "single interval is wider" not in text
    assert "the mean of 2 seeds, with its 95% interval from resampling seeds and recordists" in text


def test_members_beside_the_arms_are_fused_with_each_of_them(
    write_member: WriteMember, evaluation_baseline: Path, evaluation_workspace: Path, evaluation_catalogue: Path
) -> None:
    species = pd.read_csv(evaluation_catalogue / "species.csv", dtype=str, keep_default_na=False)["label"].tolist()
    trials, members = [], {}
    for arm, kind, skill in (("ce", "ce", 1.5), ("joint", "joint", 3.0), ("net", "supcon", 1.5)):
        for seed in (11, 12):
            config = TrainConfig.model_validate({"seed": seed, "objective": {"kind": kind}})
            members[arm, seed] = write_member(config, skill=skill)
            trials.append((Trial(arm, 4, seed, config), members[arm, seed]))
    directory = compare(CONFIG, trials, {BASELINE: evaluation_baseline}, ["net"], Workspace(evaluation_workspace))
    numbers = json.loads((directory / "comparison.json").read_text())
    arms = {entry["name"]: entry for entry in numbers["arms"]}
    assert list(arms) == ["ce", "joint", "net", "ce + net", "joint + net"]
    assert numbers["differences"] == 4
    for single in numbers["difference_confidence"].values():
        assert 0.95 < single <= 1 - 0.05 / 4  # Bonferroni's rule
    for arm in ("ce", "joint"):
        each = []
        for seed in (11, 12):
            truth, predicted = [], []
            for own, other in zip(members[arm, seed], members["net", seed], strict=True):
                table = pd.read_csv(own / "recordings.csv", dtype=str, keep_default_na=False)
                truth += [species.index(label) for label in table["label"]]
                both = [np.load(directory / "probabilities.npy").mean(axis=0) for directory in (own, other)]
                predicted += (both[0] + both[1]).argmax(axis=1).tolist()
            scored = sorted(set(truth))
            each.append(f1_score(truth, predicted, labels=scored, average="macro", zero_division=0))
        fused = arms[f"{arm} + net"]
        assert fused["by_seed"] == pytest.approx(each, abs=1e-9)
        assert fused["training_seconds"] == pytest.approx(2 * (10.5 + 11.5 + 12.5))
        assert fused["views"] == 2 * 3 * 4 * 75
        assert fused["prediction_seconds"] == pytest.approx(
            arms[arm]["prediction_seconds"] + arms["net"]["prediction_seconds"], abs=0.02
        )
    assert "| joint + net |" in (directory / "comparison.md").read_text()


def test_best_arm_is_held_against_each_baseline(comparison: Path, numbers: dict) -> None:
    (baseline,) = numbers["baselines"]
    best, better = baseline["best_arm"], numbers["arms"][1]
    assert (best["name"], best["epochs"]) == ("joint", 4)
    ahead = better["macro_f1"]["value"] - baseline["macro_f1"]["value"]
    assert best["difference"]["value"] == pytest.approx(ahead)
    assert best["difference"]["low"] < ahead < best["difference"]["high"]
    told = f"joint, epochs=4: {ahead:+.3f} [{best['difference']['low']:+.3f}, "
    assert told in (comparison / "comparison.md").read_text()


def test_tables_say_the_same(comparison: Path, numbers: dict) -> None:
    with (comparison / "comparison.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["arm"] for row in rows] == ["ce", "joint", "same|skill", BASELINE]
    assert float(rows[1]["difference"]) == numbers["arms"][1]["difference"]["value"]
    assert rows[-1]["difference"] == ""
    text = (comparison / "comparison.md").read_text()
    better = numbers["arms"][1]["difference"]
    assert f"**{better['value']:+.3f} [{better['low']:+.3f}, {better['high']:+.3f}]**" in text
    assert "| same\\|skill |" in text
    assert "interval from resampling seeds and recordists. A difference" in text
    widths = {
        line.replace("\\|", "").count("|") for line in text.split("**Baselines**")[0].splitlines() if line[:1] == "|"
    }
    assert len(widths) == 1
    assert (comparison / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_predictions_of_another_split_are_refused(
    write_member: WriteMember, evaluation_baseline: Path, evaluation_workspace: Path, evaluation_catalogue: Path
) -> None:
    from cache.config.split import SplitConfig
    from cache.split import build_split

    other = build_split(SplitConfig(folds=3, seed=99), evaluation_catalogue, Workspace(evaluation_workspace))
    config = TrainConfig(seed=11)
    trials = [(Trial("ce", 4, 11, config), write_member(config, skill=1.0, split=other))]
    with pytest.raises(ValueError, match="2 different splits"):
        compare(CONFIG, trials, {BASELINE: evaluation_baseline}, (), Workspace(evaluation_workspace))
    assert FROZEN_BASELINE != BASELINE
