"""Reports of tests/conftest.py's members, held against each other; expected numbers are scikit-learn's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score

from birdclef.comparison.diff import NothingInCommonError, compare_reports, describe_diff
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.train import TrainConfig
from birdclef.evaluate import evaluate
from cache.workspace.file_format import DamagedArtefactError
from cache.workspace.provenance import PROVENANCE
from cache.workspace.workspace import Workspace

CONFIG = EvaluateConfig(bootstrap_samples=100, permutations=2, worst_errors=0, map_recordings=0)
EXPERIMENT = {"data": {"root": "/nowhere"}}

Report = Callable[[dict[str, list[Path]]], Path]


@pytest.fixture(scope="module")
def make_report(evaluation_baseline: Path, evaluation_workspace: Path) -> Report:
    return lambda members: evaluate(CONFIG, members, evaluation_baseline, EXPERIMENT, Workspace(evaluation_workspace))


@pytest.fixture(scope="module")
def reports(make_report: Report, evaluation_members: dict[str, list[Path]]) -> list[Path]:
    """The better member first."""
    return [make_report({name: paths}) for name, paths in evaluation_members.items()]


def read(report: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    with np.load(report / "oof.npz") as archive:
        species = archive["species"].tolist()
        return np.array([species.index(label) for label in archive["label"]]), archive["probabilities"], species


def test_metrics_and_differences_are_those_of_the_predictions(reports: list[Path]) -> None:
    diff = compare_reports(reports, CONFIG)
    assert diff["reports"] == [report.name for report in reports]
    assert diff["recordings"] == 137
    assert diff["same_folds"]
    alone = compare_reports(reports, CONFIG, ["macro_f1"])["metrics"]
    assert alone == {"macro_f1": diff["metrics"]["macro_f1"]}
    truth = read(reports[0])[0]
    taken = [read(report)[1].argmax(axis=1) for report in reports]
    options = {"average": "macro", "labels": np.unique(truth), "zero_division": 0}
    for name, expected in (
        ("macro_f1", [f1_score(truth, own, **options) for own in taken]),
        ("accuracy", [accuracy_score(truth, own) for own in taken]),
    ):
        first, second = diff["metrics"][name]
        assert [first["value"], second["value"]] == pytest.approx(expected)
        assert first["difference"] is None
        assert second["difference"]["value"] == pytest.approx(expected[1] - expected[0])
        assert second["difference"]["low"] < second["difference"]["value"] < second["difference"]["high"]
        assert second["difference"]["high"] < 0  # much less skill


def test_species_are_listed_from_the_largest_gain_to_the_largest_loss(reports: list[Path]) -> None:
    diff = compare_reports(reports[::-1], CONFIG)
    truth, _, species = read(reports[0])
    each = [f1_score(truth, read(report)[1].argmax(axis=1), labels=range(5), average=None) for report in reports[::-1]]
    gains = [one["gain"] for one in diff["species"]]
    assert gains == sorted(gains, reverse=True)
    assert {one["label"] for one in diff["species"]} == set(species[:4])  # eremit is in training only
    for one in diff["species"]:
        index = species.index(one["label"])
        assert one["f1"] == pytest.approx([each[0][index], each[1][index]])
        assert one["gain"] == pytest.approx(each[1][index] - each[0][index])


def test_report_against_itself_differs_by_nothing(reports: list[Path]) -> None:
    diff = compare_reports([reports[0], reports[0]], CONFIG)
    for _, second in diff["metrics"].values():
        assert second["difference"] == {"value": 0, "low": 0, "high": 0}


def test_damaged_report_is_named(reports: list[Path], tmp_path: Path) -> None:
    torn = shutil.copytree(reports[0], tmp_path / "torn")
    (torn / "oof.npz").write_bytes(b"")
    with pytest.raises(DamagedArtefactError, match=f"{torn} is damaged: oof.npz is not what was published there"):
        compare_reports([reports[0], torn], CONFIG, ["macro_f1"])


def test_other_models_that_make_the_same_errors_may_differ_on_others(reports: list[Path], tmp_path: Path) -> None:
    other = shutil.copytree(reports[0], tmp_path / "other")
    (other / "provenance.json").unlink()  # it has the digests of the probabilities
    with np.load(other / "oof.npz") as archive:
        content = dict(archive)
    content["probabilities"] = content["probabilities"] ** 0.9
    np.savez(other / "oof.npz", **content)
    diff = compare_reports([reports[0], other], CONFIG, ["macro_f1"])
    unseen = binomtest(0, 20).proportion_ci(0.95, "exact").high  # of the 20 recordists none is judged otherwise
    assert diff["metrics"]["macro_f1"][1]["difference"] == pytest.approx({"value": 0, "low": -unseen, "high": unseen})


def test_recordings_of_one_report_only_are_left_out(
    make_report: Report, reports: list[Path], evaluation_members: dict[str, list[Path]]
) -> None:
    part = make_report({"scratch": evaluation_members["scratch"][:2]})
    diff = compare_reports([reports[0], part], CONFIG)
    assert 0 < diff["recordings"] < 137
    assert diff["left_out"] == {reports[0].name: 137 - diff["recordings"], part.name: 0}
    assert f"without {137 - diff['recordings']} of {reports[0].name}" in describe_diff(diff)
    assert diff["metrics"]["macro_f1"][1]["difference"]["value"] == 0  # the same predictions


def test_other_folds_are_told(reports: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("report.json", "oof.npz"):
        (other / name).write_bytes((reports[1] / name).read_bytes())
    table = pd.read_csv(reports[1] / "recordings.csv", dtype=str)
    table.assign(fold=table["fold"].sample(frac=1, random_state=0).tolist()).to_csv(
        other / "recordings.csv", index=False
    )
    assert "**The folds differ**" in describe_diff(compare_reports([reports[0], other], CONFIG))
    table.assign(fold=table["fold"].map({"0": "2", "1": "0", "2": "1"})).to_csv(other / "recordings.csv", index=False)
    assert "The folds differ" not in describe_diff(compare_reports([reports[0], other], CONFIG))


def test_score_that_is_too_high_by_leaks_or_by_the_choice_of_epochs_is_told(
    reports: list[Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(reports[1], other)
    (other / PROVENANCE).unlink()  # it has the digests of the files
    assert "too high" not in describe_diff(compare_reports([reports[0], other], CONFIG))
    content = json.loads((other / "report.json").read_text())
    content["split"]["leak"]["leaking_share"] += 0.25
    for run in content["lineage"]["runs"]:
        run["config"]["select"] = "best"
    (other / "report.json").write_text(json.dumps(content))
    share = 100 * content["split"]["leak"]["leaking_share"]
    told = f"its epochs were chosen on the validation fold, {share:.1f} % of its recordings leak."
    page = describe_diff(compare_reports([reports[0], other], CONFIG))
    assert f"**The score of {content['key']} is too high beside the others**: {told}" in page
    assert page.count("too high") == 1


def test_species_that_one_report_calls_secondary_counts_in_none(reports: list[Path], tmp_path: Path) -> None:
    truth, probabilities, species = read(reports[1])
    wrong = probabilities.argmax(axis=1) != truth
    told = tmp_path / "told"
    told.mkdir()
    for name in ("report.json", "oof.npz"):
        (told / name).write_bytes((reports[1] / name).read_bytes())
    table = pd.read_csv(reports[1] / "recordings.csv", dtype=str, keep_default_na=False)
    taken = [species[index] for index in probabilities.argmax(axis=1)]
    table.assign(secondary_labels=np.where(wrong, taken, "")).to_csv(told / "recordings.csv", index=False)
    untold = tmp_path / "untold"  # written by a version that did not know secondary labels
    untold.mkdir()
    for name in ("report.json", "oof.npz"):
        (untold / name).write_bytes((reports[0] / name).read_bytes())
    old = pd.read_csv(reports[0] / "recordings.csv", dtype=str, keep_default_na=False)
    old.drop(columns="secondary_labels").to_csv(untold / "recordings.csv", index=False)
    first, second = compare_reports([untold, told], CONFIG)["metrics"]["accuracy"]
    for found, report in ((first, reports[0]), (second, reports[1])):
        left = read(report)[1].copy()
        left[wrong, probabilities.argmax(axis=1)[wrong]] = 0
        assert found["value"] == pytest.approx(accuracy_score(truth, left.argmax(axis=1)))


def test_table_names_winners_and_losers(reports: list[Path]) -> None:
    text = describe_diff(compare_reports(reports, CONFIG))
    assert f"# {reports[1].name} against {reports[0].name}" in text
    assert "| Macro-F1 | " in text
    (downward,) = [line for line in text.splitlines() if "lower is better" in line]
    assert downward.startswith("| Expected calibration error, uncalibrated (lower is better) | ")
    assert "## Species that lost most" in text
    assert "| D \\| Finch | " in text
    assert "Each 95 % interval comes from resampling recordists, and" in text


def test_intervals_are_said_to_resample_what_the_first_report_groups(reports: list[Path], tmp_path: Path) -> None:
    content = json.loads((reports[0] / "report.json").read_text())
    content["lineage"]["split"]["config"]["group_by"] = "site"
    (tmp_path / "report.json").write_text(json.dumps(content))
    for name in ("oof.npz", "recordings.csv"):
        (tmp_path / name).write_bytes((reports[0] / name).read_bytes())
    text = describe_diff(compare_reports([tmp_path, reports[1]], CONFIG))
    assert "interval comes from resampling groups of recordings with the same site, and" in text
    table = pd.read_csv(reports[1] / "recordings.csv", dtype=str, keep_default_na=False)
    table.assign(recordist="").to_csv(tmp_path / "recordings.csv", index=False)
    content["lineage"]["split"]["config"]["group_by"] = "recordist"
    (tmp_path / "report.json").write_text(json.dumps(content))
    text = describe_diff(compare_reports([tmp_path, reports[1]], CONFIG))
    assert "resampling recordings, because no recordist is known, and" in text


def test_what_does_not_compare_is_refused(
    reports: list[Path], tmp_path: Path, write_member: Callable[..., list[Path]], make_report: Report
) -> None:
    with pytest.raises(ValueError, match="two reports or more, but 1 was given"):
        compare_reports(reports[:1], CONFIG)
    with pytest.raises(FileNotFoundError, match=r"has no report\.json: it is not a report"):
        compare_reports([reports[0], tmp_path], CONFIG)
    for content in (b"", b"no archive", b"PK\x05\x06" + bytes(18)):
        torn = tmp_path / "torn"
        shutil.copytree(reports[0], torn, dirs_exist_ok=True)
        (torn / PROVENANCE).unlink(missing_ok=True)  # as a report that was copied file by file
        (torn / "oof.npz").write_bytes(content)
        with pytest.raises(DamagedArtefactError, match=r"torn/oof\.npz holds no predictions"):
            compare_reports([reports[0], torn], CONFIG)
    part = [make_report({"x": [path]}) for path in write_member(TrainConfig(seed=21), skill=1.0)[:2]]
    with pytest.raises(NothingInCommonError, match="have no recording in common"):
        compare_reports(part, CONFIG)


def test_new_species_costs_a_report_only_the_recordings_that_it_takes_for_it(
    reports: list[Path], tmp_path: Path
) -> None:
    truth, probabilities, species = read(reports[0])
    right = int(np.flatnonzero(probabilities.argmax(axis=1) == truth)[0])
    new = np.zeros(len(truth))
    new[right] = 2
    grown = tmp_path / "grown"
    grown.mkdir()
    for name in ("report.json", "recordings.csv"):
        (grown / name).write_bytes((reports[0] / name).read_bytes())
    with np.load(reports[0] / "oof.npz") as archive:
        columns = {"species": np.array(["a new one", *species]), "probabilities": np.c_[new, archive["probabilities"]]}
        np.savez(grown / "oof.npz", **{**archive, **columns})
    diff = compare_reports([reports[0], grown], CONFIG)
    assert diff["recordings"] == 137
    assert diff["metrics"]["accuracy"][1]["difference"]["value"] == pytest.approx(-1 / 137)
    assert "a new one" not in {one["label"] for one in diff["species"]}
