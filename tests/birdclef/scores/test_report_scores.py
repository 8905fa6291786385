"""The workspace of tests/conftest.py, scored again with scikit-learn on a table that the test assembles itself."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import foldnorm, t
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)

from birdclef.baseline import predict_baseline
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.train import TrainConfig
from birdclef.metrics.calibration import calibrate, fit_temperature
from birdclef.metrics.thresholds import fit_thresholds
from birdclef.report.mistakes import list_errors
from birdclef.scores.report_scores import Scored, score_members
from cache.catalogue import build_catalogue
from cache.config.data import DataConfig
from cache.config.split import SplitConfig
from cache.recordings.catalogue_tables import feature_directory
from cache.split import build_split
from cache.workspace.workspace import Workspace

SPECIES = ["abbowl", "barwre", "cdove", "d|<i>finch", "eremit"]
CONFIG = EvaluateConfig(bootstrap_samples=200, permutations=20)
SCRATCH, PRETRAINED = "scratch", "hub|<script>alert(3)</script>"

Members = dict[str, list[Path]]


@pytest.fixture(scope="module")
def scored(evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path) -> Scored:
    return score_members(CONFIG, evaluation_members, evaluation_baseline, Workspace(evaluation_workspace))


@pytest.fixture(scope="module")
def report(scored: Scored) -> dict[str, Any]:
    return scored.report


@pytest.fixture(scope="module")
def split(evaluation_split: Path) -> pd.DataFrame:
    return pd.read_csv(evaluation_split / "split.csv", dtype=str, keep_default_na=False).set_index("recording_id")


def read_views(predictions: list[Path]) -> dict[str, np.ndarray]:
    """Returns (views, classes) of each recording."""
    rows = {}
    for path in predictions:
        names = pd.read_csv(path / "recordings.csv", dtype=str, keep_default_na=False)["recording_id"]
        rows.update(zip(names, np.load(path / "probabilities.npy").transpose(1, 0, 2), strict=True))
    return rows


def read_mean(predictions: list[Path], names: list[str]) -> np.ndarray:
    rows = read_views(predictions)
    return np.stack([rows[name].mean(axis=0) for name in names])


@pytest.fixture(scope="module")
def names(split: pd.DataFrame) -> list[str]:
    return sorted(split.index[split["fold"] != "-1"])


@pytest.fixture(scope="module")
def truth(split: pd.DataFrame, names: list[str]) -> np.ndarray:
    return np.array([SPECIES.index(label) for label in split.loc[names, "label"]])


@pytest.fixture(scope="module")
def fold(split: pd.DataFrame, names: list[str]) -> np.ndarray:
    return split.loc[names, "fold"].to_numpy(str)


@pytest.fixture(scope="module")
def combined(evaluation_members: Members, names: list[str]) -> np.ndarray:
    return np.mean([read_mean(paths, names).astype(float) for paths in evaluation_members.values()], axis=0)


def supported_f1(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return f1_score(truth, probabilities.argmax(axis=1), labels=np.unique(truth), average="macro", zero_division=0)


def decide(truth: np.ndarray, probabilities: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Temperature and thresholds of a fold from the others."""
    decisions = np.zeros(probabilities.shape, bool)
    for one in np.unique(fold):
        own = fold == one
        temperature = fit_temperature(probabilities[~own], truth[~own])
        thresholds = fit_thresholds(calibrate(probabilities[~own], temperature), truth[~own])
        decisions[own] = calibrate(probabilities[own], temperature) >= thresholds
    return decisions


def headline(truth: np.ndarray, probabilities: np.ndarray, fold: np.ndarray) -> dict[str, float]:
    present = np.eye(5)[truth]
    padding = np.ones((5, 5))
    decisions = decide(truth, probabilities, fold)
    supported = np.unique(truth)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.ceil(confidence * 15)
    error = 0.0
    for own in (bins == one for one in np.unique(bins)):  # Kumar et al. 2019: twice the gap, less the mean of |normal|
        accuracy, gap = correct[own].mean(), abs(correct[own].mean() - confidence[own].mean())
        deviation = np.sqrt(accuracy * (1 - accuracy) / own.sum())
        folded = foldnorm.mean(gap / deviation, scale=deviation) if deviation > 0 else gap
        error += own.mean() * (2 * gap - folded)
    return {
        "macro_f1": supported_f1(truth, probabilities),
        "macro_f1_by_thresholds": f1_score(present, decisions, average="macro", labels=supported, zero_division=0),
        "micro_f1": f1_score(truth, probabilities.argmax(axis=1), average="micro"),
        "micro_f1_by_thresholds": f1_score(present, decisions, average="micro"),
        "accuracy": accuracy_score(truth, probabilities.argmax(axis=1)),
        "top_3_accuracy": top_k_accuracy_score(truth, probabilities, k=3, labels=range(5)),
        "top_5_accuracy": 1,
        "macro_roc_auc": np.mean([roc_auc_score(present[:, one], probabilities[:, one]) for one in np.unique(truth)]),
        "padded_cmap": average_precision_score(
            np.vstack([present, padding]), np.vstack([probabilities, padding]), average="macro"
        ),
        "expected_calibration_error": max(error, 0),
    }


def test_scored_table_is_the_mean_of_views_and_members(
    scored: Scored, names: list[str], truth: np.ndarray, combined: np.ndarray
) -> None:
    assert scored.recordings["recording_id"].tolist() == names
    assert scored.recordings["label_index"].tolist() == truth.tolist()
    assert scored.species["label"].tolist() == SPECIES
    assert len(scored.catalogue) == 140
    np.testing.assert_allclose(scored.probabilities, combined, atol=1e-6)


def test_headline_metrics_are_those_of_the_assembled_table(
    report: dict[str, Any], truth: np.ndarray, combined: np.ndarray, fold: np.ndarray
) -> None:
    values = {name: estimate["value"] for name, estimate in report["metrics"].items()}
    assert values == pytest.approx(headline(truth, combined, fold))
    assert 0.5 < values["macro_f1"] < 0.98


def test_geometric_ensemble_is_scored_by_its_own_mean(
    evaluation_members: Members,
    evaluation_baseline: Path,
    evaluation_workspace: Path,
    names: list[str],
    truth: np.ndarray,
    combined: np.ndarray,
    fold: np.ndarray,
) -> None:
    config = EvaluateConfig(bootstrap_samples=5, permutations=2, ensemble="geometric")
    geometric = score_members(config, evaluation_members, evaluation_baseline, Workspace(evaluation_workspace))
    logarithms = [np.log(read_mean(paths, names).astype(float)) for paths in evaluation_members.values()]
    product = np.exp(np.mean(logarithms, axis=0))
    product /= product.sum(axis=1, keepdims=True)
    values = {name: estimate["value"] for name, estimate in geometric.report["metrics"].items()}
    assert values == pytest.approx(headline(truth, product, fold))
    assert values["padded_cmap"] != pytest.approx(headline(truth, combined, fold)["padded_cmap"])
    assert geometric.report["ensemble"]["method"] == "geometric"


def test_intervals_are_those_of_a_plain_bootstrap_over_groups(
    report: dict[str, Any], split: pd.DataFrame, names: list[str], truth: np.ndarray, combined: np.ndarray
) -> None:
    groups = split.loc[names, "group"].to_numpy(str)
    rows_of = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    correct = combined.argmax(axis=1) == truth
    generator = np.random.default_rng(11)
    resampled, resampled_apart = [], []
    for _ in range(1000):
        drawn = generator.integers(0, len(rows_of), len(rows_of))
        resampled.append(correct[np.concatenate([rows_of[group] for group in drawn])].mean())
        resampled_apart.append(correct[generator.integers(0, len(correct), len(correct))].mean())
    accuracy = report["metrics"]["accuracy"]
    value = correct.mean()
    half = t.ppf(0.975, len(rows_of) - 1) * np.std(resampled) / (value * (1 - value))
    expected = expit(logit(value) + np.array([-half, half]))
    assert [accuracy["low"], accuracy["high"]] == pytest.approx(expected, abs=0.02)
    assert np.std(resampled) > 1.5 * np.std(resampled_apart)  # recordings by one recordist are wrong together
    for name, estimate in report["metrics"].items():
        if name != "top_5_accuracy":  # of five species
            assert estimate["low"] < estimate["value"] < estimate["high"]
    assert report["confidence"] == 0.95


def test_chance_is_what_shuffled_predictions_score(
    report: dict[str, Any], truth: np.ndarray, combined: np.ndarray, fold: np.ndarray
) -> None:
    generator = np.random.default_rng(12)
    shuffled = [headline(truth, generator.permutation(combined), fold) for _ in range(20)]
    for name, estimate in report["metrics"].items():
        if not name.endswith("by_thresholds"):  # here the thresholds were fitted to what is shuffled
            assert estimate["chance"] == pytest.approx(np.mean([scores[name] for scores in shuffled]), abs=0.04)
    assert report["metrics"]["macro_roc_auc"]["chance"] == pytest.approx(0.5, abs=0.04)


def test_same_seed_gives_the_same_report_and_another_seed_other_intervals(
    evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path, report: dict[str, Any]
) -> None:
    again = score_members(CONFIG, evaluation_members, evaluation_baseline, Workspace(evaluation_workspace)).report
    assert again["metrics"] == report["metrics"]
    other_config = CONFIG.model_copy(update={"seed": 1})
    other = score_members(other_config, evaluation_members, evaluation_baseline, Workspace(evaluation_workspace)).report
    for name, estimate in report["metrics"].items():
        assert other["metrics"][name]["value"] == estimate["value"]
        if name != "top_5_accuracy":
            assert other["metrics"][name]["chance"] != estimate["chance"]


def test_baseline_is_scored_on_the_same_recordings(
    report: dict[str, Any],
    evaluation_baseline: Path,
    names: list[str],
    truth: np.ndarray,
    combined: np.ndarray,
    fold: np.ndarray,
) -> None:
    probabilities = read_mean([evaluation_baseline], names)
    baseline = report["baseline"]
    assert baseline["name"] == "logistic regression on log-mel statistics, same folds"
    values = {name: estimate["value"] for name, estimate in baseline["metrics"].items()}
    assert values == pytest.approx(headline(truth, probabilities, fold), abs=1e-6)
    difference = baseline["difference_macro_f1"]
    assert difference["value"] == pytest.approx(supported_f1(truth, combined) - supported_f1(truth, probabilities))
    assert difference["low"] < difference["value"] < difference["high"]


def test_coverage_counts_recordings_and_species(report: dict[str, Any]) -> None:
    # counted from the table in tests/conftest.py
    assert report["coverage"] == {
        "recordings": 144,
        "recordings_usable": 140,
        "recordings_scored": 137,
        "species": 6,
        "species_scored": 4,
        "pairs_ignored": 0,
        "species_not_scored": [
            {
                "label": "eremit",
                "why": "too few groups of usable recordings to spread over folds, so it is always in training",
            },
            {"label": "lostlark", "why": "all its recordings are quarantined"},
        ],
    }


def test_buckets_hold_the_species_by_usable_recordings(
    report: dict[str, Any], truth: np.ndarray, combined: np.ndarray
) -> None:
    # 1-9: cdove, eremit; 10-99: barwre, d|<i>finch; 100+: abbowl
    inside = {"1-9": [2], "10-99": [1, 3], "100+": [0]}
    counts = [(entry["bucket"], entry["species"], entry["species_scored"]) for entry in report["buckets"]]
    assert counts == [("1-9", 2, 1), ("10-99", 2, 2), ("100+", 1, 1)]
    assert [entry["recordings_scored"] for entry in report["buckets"]] == [9, 24, 104]
    for entry in report["buckets"]:
        expected = f1_score(
            truth, combined.argmax(axis=1), labels=inside[entry["bucket"]], average="macro", zero_division=0
        )
        assert entry["macro_f1"] == pytest.approx(expected)
        assert entry["low"] <= entry["macro_f1"] <= entry["high"]


def test_each_species_is_scored_alone(report: dict[str, Any], truth: np.ndarray, combined: np.ndarray) -> None:
    entries = report["per_species"]
    assert [entry["label"] for entry in entries] == SPECIES
    assert [entry["recordings"] for entry in entries] == [104, 14, 9, 10, 3]
    assert [entry["scored"] for entry in entries] == [104, 14, 9, 10, 0]
    assert entries[1]["common_name"] == "<script>alert(1)</script>"
    assert entries[2]["scientific_name"] == "Columba | cauta"
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, combined.argmax(axis=1), labels=range(5), zero_division=np.nan
    )
    for index, entry in enumerate(entries[:4]):
        present = truth == index
        assert [entry["precision"], entry["recall"], entry["f1"]] == pytest.approx(
            [precision[index], recall[index], f1[index]]
        )
        assert entry["roc_auc"] == pytest.approx(roc_auc_score(present, combined[:, index]))
        assert entry["average_precision"] == pytest.approx(average_precision_score(present, combined[:, index]))
    assert entries[4]["precision"] == 0  # taken once for it, never right
    assert np.isnan([entries[4][name] for name in ("recall", "f1", "roc_auc", "average_precision")]).all()


def test_member_entries_carry_metrics_of_their_own(
    report: dict[str, Any],
    evaluation_members: Members,
    names: list[str],
    truth: np.ndarray,
    fold: np.ndarray,
) -> None:
    assert [entry["name"] for entry in report["members"]] == [SCRATCH, PRETRAINED]
    for entry in report["members"]:
        own = read_mean(evaluation_members[entry["name"]], names)
        values = {name: estimate["value"] for name, estimate in entry["metrics"].items()}
        assert values == pytest.approx(headline(truth, own, fold), abs=1e-6)


def test_member_entries_carry_their_training(report: dict[str, Any]) -> None:
    scratch, pretrained = report["members"]
    assert [scratch[name] for name in ("backbone", "objective", "weights", "parameters")] == [
        "tf_efficientnet_b0",
        "joint",
        "none",
        1_000_000,
    ]
    assert [pretrained[name] for name in ("backbone", "objective", "weights", "parameters")] == [
        "test|<b>net",
        "ce",
        "hub",
        2_000_000,
    ]
    assert scratch["training_seconds"] == pytest.approx(10.5 + 11.5 + 12.5)


def test_member_entries_carry_each_fold(
    report: dict[str, Any], evaluation_members: Members, names: list[str], truth: np.ndarray, fold: np.ndarray
) -> None:
    for entry in report["members"]:
        own = read_mean(evaluation_members[entry["name"]], names)
        expected = {one: supported_f1(truth[fold == one], own[fold == one]) for one in ("0", "1", "2")}
        assert entry["macro_f1_per_fold"] == pytest.approx(expected)


def test_member_entries_carry_each_view(
    report: dict[str, Any], evaluation_members: Members, names: list[str], truth: np.ndarray
) -> None:
    scratch, pretrained = report["members"]
    rows = read_views(evaluation_members[SCRATCH])
    expected = [supported_f1(truth, np.stack([rows[name][view] for name in names])) for view in (0, 1)]
    assert [view["view"] for view in scratch["views"]] == ["gain +0 dB", "gain -6 dB"]
    assert [view["macro_f1"] for view in scratch["views"]] == pytest.approx(expected)
    assert [view["seconds"] for view in scratch["views"]] == pytest.approx([0.75, 0.75])  # 3 folds of 0.25 s
    assert len(pretrained["views"]) == 1


def test_gain_is_what_the_ensemble_loses_without_the_member(
    report: dict[str, Any], evaluation_members: Members, names: list[str], truth: np.ndarray, combined: np.ndarray
) -> None:
    for entry, other in zip(report["members"], (PRETRAINED, SCRATCH), strict=True):
        without = supported_f1(truth, read_mean(evaluation_members[other], names))
        gain = entry["gain_over_others_macro_f1"]
        assert gain["value"] == pytest.approx(supported_f1(truth, combined) - without)
        assert gain["low"] < gain["value"] < gain["high"]


def test_gain_interval_is_paired(
    evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path
) -> None:
    # the same predictions twice: every paired resample differs by 0, unpaired ones would not
    twins = {"one": evaluation_members[SCRATCH], "two": evaluation_members[SCRATCH]}
    report = score_members(CONFIG, twins, evaluation_baseline, Workspace(evaluation_workspace)).report
    for entry in report["members"]:
        assert entry["gain_over_others_macro_f1"] == {"value": 0, "low": 0, "high": 0}
    assert report["metrics"]["macro_f1"]["low"] < report["metrics"]["macro_f1"]["high"]


def test_single_member_has_no_gain(
    evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path
) -> None:
    alone = {SCRATCH: evaluation_members[SCRATCH]}
    (entry,) = score_members(CONFIG, alone, evaluation_baseline, Workspace(evaluation_workspace)).report["members"]
    assert entry["gain_over_others_macro_f1"] is None


def test_gain_of_one_of_three_is_over_the_other_two(
    evaluation_members: Members,
    evaluation_baseline: Path,
    evaluation_workspace: Path,
    write_member: Callable[..., list[Path]],
    names: list[str],
    truth: np.ndarray,
) -> None:
    third = write_member(TrainConfig(seed=3), skill=0.5)
    members = {**evaluation_members, "third": third}
    report = score_members(CONFIG, members, evaluation_baseline, Workspace(evaluation_workspace)).report
    means = {name: read_mean(paths, names).astype(float) for name, paths in members.items()}
    everything = supported_f1(truth, np.mean(list(means.values()), axis=0))
    for entry, pair in zip(report["members"], list(itertools.combinations(means.values(), 2))[::-1], strict=True):
        expected = everything - supported_f1(truth, np.mean(pair, axis=0))
        assert entry["gain_over_others_macro_f1"]["value"] == pytest.approx(expected)


def test_member_trained_on_some_folds_is_scored_on_those_only(
    evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path, split: pd.DataFrame
) -> None:
    partial = {SCRATCH: evaluation_members[SCRATCH][1:]}
    scored = score_members(CONFIG, partial, evaluation_baseline, Workspace(evaluation_workspace))
    own = sorted(split.index[split["fold"].isin(["1", "2"])])
    truth = np.array([SPECIES.index(label) for label in split.loc[own, "label"]])
    assert scored.recordings["recording_id"].tolist() == own
    assert scored.report["coverage"]["recordings_scored"] == len(own)
    assert list(scored.report["members"][0]["macro_f1_per_fold"]) == ["1", "2"]
    for metrics, paths in (
        (scored.report["metrics"], partial[SCRATCH]),
        (scored.report["baseline"]["metrics"], [evaluation_baseline]),
    ):
        values = {name: estimate["value"] for name, estimate in metrics.items()}
        assert values == pytest.approx(
            headline(truth, read_mean(paths, own), split.loc[own, "fold"].to_numpy(str)), abs=1e-6
        )


def test_members_on_other_folds_are_refused(
    evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path
) -> None:
    members = {SCRATCH: evaluation_members[SCRATCH], PRETRAINED: evaluation_members[PRETRAINED][:2]}
    with pytest.raises(ValueError, match="cannot be combined"):
        score_members(CONFIG, members, evaluation_baseline, Workspace(evaluation_workspace))


def test_bucket_without_scored_recordings_has_no_score(
    evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path, split: pd.DataFrame
) -> None:
    fold_of_dove = set(split.loc[split["label"] == "cdove", "fold"])
    folds = [fold for fold in range(3) if str(fold) not in fold_of_dove]
    assert len(folds) == 1  # two recordists stand in two folds
    partial = {SCRATCH: [evaluation_members[SCRATCH][fold] for fold in folds]}
    rare = score_members(CONFIG, partial, evaluation_baseline, Workspace(evaluation_workspace)).report["buckets"][0]
    assert rare == {"bucket": "1-9", "species": 2, "species_scored": 0, "recordings_scored": 0}


def test_quarantine_is_counted_by_reason(report: dict[str, Any]) -> None:
    quarantine = report["quarantine"]
    assert quarantine["count"] == 4
    assert quarantine["by_reason"] == {"undecodable": 2, "too_short": 1, "silent": 1}
    assert [entry["recording_id"] for entry in quarantine["recordings"]] == [
        "abbowl/short.ogg",
        "barwre/silent.ogg",
        "lostlark/0.ogg",
        "lostlark/1.ogg",
    ]
    assert quarantine["recordings"][3]["detail"] == "header <b>broken</b> | no frame decodes"


def test_likely_duplicates_are_counted_and_listed(report: dict[str, Any], split: pd.DataFrame) -> None:
    duplicates = report["duplicates"]
    assert duplicates["count"] == len(duplicates["pairs"]) == sum(duplicates["by_reason"].values()) > 0
    for pair in duplicates["pairs"]:
        assert split.loc[pair["recording_id"], "group"] == split.loc[pair["other_recording_id"], "group"]
        assert pair["why"] == "same label, recordist and duration"


def test_split_is_summed_up_without_its_counts(report: dict[str, Any], split: pd.DataFrame) -> None:
    assert report["split"]["folds"] == 3
    assert report["split"]["groups"] == split["group"].nunique()
    assert report["split"]["leak"]["shared_pairs"] == 0
    assert "class_counts_per_fold" not in report["split"]


def test_lineage_names_all_predictions(scored: Scored, evaluation_members: Members, evaluation_workspace: Path) -> None:
    paths = [path for paths in evaluation_members.values() for path in paths]
    assert scored.report["lineage"]["predictions"] == [path.name for path in paths]
    assert list(scored.members) == [SCRATCH, PRETRAINED]
    assert [run.parent for runs in scored.members.values() for run in runs] == [evaluation_workspace / "runs"] * 6
    assert [run for runs in scored.members.values() for run in runs] == list(scored.lineage.runs)


HEARD_TOO = ["abbowl/003.ogg", "abbowl/011.ogg", "abbowl/019.ogg"]  # every member takes these for barwre


@pytest.fixture(scope="module")
def scored_with_secondary(
    evaluation_catalogue: Path, evaluation_workspace: Path, write_member: Callable[..., list[Path]]
) -> Scored:
    """The same recordings; barwre sings in three of those that are taken for it, and in one of its own."""
    workspace = Workspace(evaluation_workspace)
    table = pd.read_csv(evaluation_catalogue / "recordings.csv", dtype=str, keep_default_na=False)
    marked = table["recording_id"].isin([*HEARD_TOO, "barwre/003.ogg"])
    columns = ["recording_id", "label", "recordist", "scientific_name", "common_name", "sha256"]
    secondary = table[columns].assign(size=1, version="1", secondary_labels=np.where(marked, "barwre lostlark", ""))
    store = feature_directory(evaluation_catalogue, workspace)
    catalogue = build_catalogue(secondary, DataConfig(root="unused", max_quarantined_share=1), store, workspace)
    split = build_split(SplitConfig(folds=3), catalogue, workspace)
    members = {"scratch": write_member(TrainConfig(seed=41), skill=2.5, split=split)}
    return score_members(CONFIG, members, predict_baseline(split, workspace), workspace)


def test_secondary_species_are_no_errors_anywhere_in_a_report(scored_with_secondary: Scored) -> None:
    report, recordings = scored_with_secondary.report, scored_with_secondary.recordings
    truth = recordings["label_index"].to_numpy()
    left = scored_with_secondary.probabilities.copy()
    heard = recordings["recording_id"].isin(HEARD_TOO).to_numpy()
    assert (left[heard].argmax(axis=1) == 1).all()
    left[heard, 1] = 0
    assert report["coverage"]["pairs_ignored"] == 3
    assert report["metrics"]["macro_f1"]["value"] == pytest.approx(supported_f1(truth, left))
    assert report["metrics"]["macro_f1"]["value"] > supported_f1(truth, scored_with_secondary.probabilities)
    predicted = left.argmax(axis=1)
    (confusion,) = [one for one in report["confusions"] if (one["label"], one["predicted"]) == ("abbowl", "barwre")]
    assert confusion["recordings"] == ((truth == 0) & (predicted == 1)).sum()
    assert set(list_errors(scored_with_secondary)["recording_id"]) == set(
        recordings["recording_id"][predicted != truth]
    )
    (member,) = report["members"]
    per_fold = [
        supported_f1(truth[own], left[own]) for own in (recordings["fold"].to_numpy() == fold for fold in range(3))
    ]
    assert list(member["macro_f1_per_fold"].values()) == pytest.approx(per_fold)
    assert member["views"][0]["macro_f1"] == pytest.approx(supported_f1(truth, left))
