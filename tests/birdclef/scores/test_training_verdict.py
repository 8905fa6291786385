"""Verdicts on scores that are written down here; what is better follows from the intervals by hand."""

import re
from pathlib import Path
from typing import Any

import pytest
from birdnet_installation import skip_unless_loadable

from birdclef.scores.training_verdict import is_ahead, judge_training, read_rivals
from flows.configuration.presets import find_config, is_preset, list_presets
from flows.experiment import load_config

LOG_MEL = {"key": "0", "config": {"n_mels": 64}}
BACKBONES = {"0": "test_resnet", "1": "mean_pool"}
MODEL = {
    "name": "BirdNET V2.4",
    "sha256": "f" * 64,
    "format": "tflite",
    "licence": "CC BY-NC-SA 4.0",
    "sample_rate": 48_000,
    "window_seconds": 3.0,
    "stride_seconds": 3.0,
    "embedding": "embedding",
    "channels": 1024,
}
EMBEDDINGS = {"key": "1", "config": {"kind": "embedding", "model": MODEL}}


def interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def describe(
    members: tuple[float, float, float],
    baseline: tuple[float, float, float],
    own: dict[str, Any] | None = None,
    features: dict[str, Any] = LOG_MEL,
    weights: str = "none",
) -> dict[str, Any]:
    """Returns what of a report counts; `baseline` is the paired difference of the members to the baseline."""
    return {
        "metrics": {"macro_f1": {**interval(*members), "chance": 0.045}},
        "baseline": {
            "metrics": {"macro_f1": {"value": members[0] - baseline[0]}},
            "difference_macro_f1": interval(*baseline),
        },
        "zero_shot": own,
        "coverage": {"recordings_scored": 88, "species_scored": 37},
        "members": [
            {
                "name": "cnn",
                "weights": weights,
                "backbone": BACKBONES[features["key"]],
                "objective": "joint",
                "loss_falls": True,
            }
        ],
        "lineage": {"features": features, "member_features": []},
    }


def judge(report: dict[str, Any]) -> dict[str, Any]:
    return judge_training(report, "logistic regression on log-mel statistics")


def own_labels(
    recordings: int, covered: tuple[float, float, float], everywhere: tuple[float, float, float]
) -> dict[str, Any]:
    """Returns own labels by the paired differences of the members to them, on covered and on all species."""
    return {
        "model": "BirdNET V2.4",
        "recordings": recordings,
        "macro_f1": interval(0.982, 0.95, 1.0),
        "difference_macro_f1": interval(*covered),
        "all_species": {"macro_f1": 0.669 - everywhere[0], "difference_macro_f1": interval(*everywhere)},
    }


def test_own_labels_and_baseline_that_are_ahead_are_named_with_their_lead_and_what_to_use() -> None:
    everywhere = (-0.313, -0.38, -0.25)
    report = describe(
        (0.669, 0.58, 0.72), (-0.061, -0.12, -0.01), own_labels(88, everywhere, everywhere), EMBEDDINGS, "none"
    )
    verdict = judge(report)
    assert verdict["outcome"] == "not_paid"
    assert verdict["sentence"] == (
        "Training did not pay here: the own labels of BirdNET V2.4 reach macro-F1 0.982, and the trained models reach "
        "0.669: they are behind by 0.313 [0.250, 0.380]; logistic regression on log-mel statistics reaches macro-F1 "
        "0.730, and the trained models reach 0.669: they are behind by 0.061 [0.010, 0.120]."
    )
    assert verdict["advice"].startswith("Use BirdNET V2.4 with its own labels for these species")
    assert [rival["kind"] for rival in verdict["rivals"]] == ["own_labels", "baseline", "chance"]


@pytest.mark.parametrize(
    ("baseline", "outcome", "words"),
    [
        (
            (0.2, 0.1, 0.3),
            "paid",
            "reaches macro-F1 0.400, and the trained models reach 0.600: they are ahead by 0.200 [0.100, 0.300]",
        ),
        ((0.02, -0.01, 0.05), "unclear", "ahead by 0.020 [-0.010, 0.050]"),
        ((-0.02, -0.05, 0.01), "unclear", "behind by 0.020 [-0.010, 0.050]"),
        ((-0.06, -0.1, -0.01), "not_paid", "behind by 0.060 [0.010, 0.100]"),
    ],
)
def test_outcome_is_that_of_the_interval_of_the_difference_to_the_baseline(
    baseline: tuple[float, float, float], outcome: str, words: str
) -> None:
    verdict = judge(describe((0.6, 0.5, 0.7), baseline))
    assert verdict["outcome"] == outcome
    assert words in verdict["sentence"]
    assert (verdict["advice"] is None) == (outcome == "paid")


def test_members_that_may_be_as_bad_as_chance_did_not_pay_whatever_the_baseline_does() -> None:
    verdict = judge(describe((0.05, 0.03, 0.07), (0.02, 0.01, 0.03)))
    assert verdict["outcome"] == "not_paid"
    assert "macro-F1 0.050 [0.030, 0.070] is not shown to be better than chance, 0.045" in verdict["sentence"]


def test_own_labels_that_miss_species_pay_in_part_where_they_are_ahead_and_else_say_nothing() -> None:
    everywhere = (0.3, 0.2, 0.4)
    ahead = own_labels(40, (-0.1, -0.2, -0.05), everywhere)
    verdict = judge(describe((0.669, 0.6, 0.7), (0.2, 0.1, 0.3), ahead, EMBEDDINGS))
    assert verdict["outcome"] == "partly"
    assert "reach macro-F1 0.982 on the 40 recordings of species that it knows" in verdict["sentence"]
    assert "behind by 0.100 [0.050, 0.200]" in verdict["sentence"]
    assert "for the species that it knows" in verdict["advice"]
    level = own_labels(40, (0.03, -0.04, 0.1), everywhere)
    assert judge(describe((0.669, 0.6, 0.7), (0.2, 0.1, 0.3), level, EMBEDDINGS))["outcome"] == "paid"
    maybe = judge(
        describe((0.669, 0.6, 0.7), (0.2, 0.1, 0.3), own_labels(40, (-0.03, -0.1, 0.04), everywhere), EMBEDDINGS)
    )
    assert (maybe["outcome"], maybe["advice"]) == ("paid", None)
    assert "they are behind by 0.030 [-0.040, 0.100]" in maybe["sentence"]  # what may be better is not hidden
    without = {"model": "BirdNET V2.4", "recordings": 0}  # it knows no scored species
    assert judge(describe((0.669, 0.6, 0.7), (0.2, 0.1, 0.3), without, EMBEDDINGS))["outcome"] == "paid"


@pytest.mark.parametrize(
    ("features", "weights", "advised"),
    [
        (LOG_MEL, "none", ["birdclef run embeddings", "train.cnn.model.weights=hub", "train.*.epochs"]),
        (LOG_MEL, "hub", ["birdclef run embeddings", "train.*.epochs"]),
        (
            EMBEDDINGS,
            "none",
            ["train.*.epochs", "train.cnn.objective.kind=ce", "train.cnn.model.backbone=attention_pool"],
        ),
    ],
)
def test_advice_names_settings_that_are_not_set_yet(features: dict[str, Any], weights: str, advised: list[str]) -> None:
    verdict = judge(describe((0.6, 0.5, 0.7), (-0.06, -0.1, -0.01), None, features, weights))
    assert all(setting in verdict["advice"] for setting in advised)
    assert ("weights" in verdict["advice"]) == ("train.cnn.model.weights=hub" in advised)
    assert ("embeddings" in verdict["advice"]) == (features is LOG_MEL)


def test_rivals_are_read_back_and_lead_if_that_is_shown_or_as_chance_by_anything() -> None:
    verdict = judge(describe((0.05, 0.045, 0.07), (-0.01, -0.03, 0.01)))
    rivals = {rival.kind: rival for rival in read_rivals({"verdict": verdict}, "report.json")}
    assert not is_ahead(rivals["baseline"])  # its interval holds 0
    assert is_ahead(rivals["chance"])
    with pytest.raises(ValueError, match=r"report\.json has no verdict, because an old version wrote the report"):
        read_rivals({}, "report.json")


def test_advice_does_not_name_what_is_set_already() -> None:
    report = describe((0.6, 0.5, 0.7), (-0.1, -0.2, -0.05), features=EMBEDDINGS)
    report["members"] = [
        {
            "name": "head",
            "weights": "none",
            "backbone": "attention_pool",
            "objective": "ce",
            "select": "best",
            "loss_falls": True,
        }
    ]
    verdict = judge(report)
    assert "attention_pool" not in verdict["advice"]
    assert "objective.kind" not in verdict["advice"]
    assert "chosen on the validation folds" in verdict["sentence"]


@pytest.mark.parametrize("features", [LOG_MEL, EMBEDDINGS])
def test_more_epochs_are_advised_only_if_the_loss_of_a_member_still_fell(features: dict[str, Any]) -> None:
    report = describe((0.6, 0.5, 0.7), (-0.1, -0.2, -0.05), features=features)
    (member,) = report["members"]
    for falls, advised in (([False, False], False), ([False, True], True)):
        report["members"] = [member | {"loss_falls": one} for one in falls]
        assert ("epochs" in judge(report)["advice"]) == advised


def test_one_species_is_nothing_to_tell_apart_and_no_setting_helps() -> None:
    report = describe((1.0, 0.4, 1.0), (0.0, 0.0, 0.0))
    report["coverage"]["species_scored"] = 1
    report["metrics"]["macro_f1"]["chance"] = 1.0
    advice = judge(report)["advice"]
    assert advice == "Only one species is scored, so there is nothing to tell apart: add recordings of more species."


def test_models_that_are_as_good_as_the_baseline_are_said_to_be_level() -> None:
    sentence = judge(describe((0.6, 0.5, 0.7), (0.0, -0.1, 0.1)))["sentence"]
    assert "they are level, 0.000 [-0.100, 0.100]" in sentence


@pytest.mark.parametrize("preset", list_presets())
@pytest.mark.parametrize("objective", ["ce", "joint"])
def test_each_advised_setting_loads_with_each_preset(preset: str, objective: str) -> None:
    path = find_config(Path(preset))
    skip_unless_loadable(path)
    config = load_config(path, [f"train.*.objective.kind={objective}"])
    report = describe((0.6, 0.5, 0.7), (-0.1, -0.2, -0.05))
    report["members"] = [
        {
            "name": name,
            "weights": "none",
            "backbone": each.model.backbone,
            "objective": each.objective.kind,
            "loss_falls": True,
        }
        for name, each in config.train.items()
    ]
    stores = [{"key": "0", "config": config.features_of(name).model_dump()} for name in config.train]
    report["lineage"] = {"features": stores[0], "member_features": stores[1:]}
    advice = judge(report)["advice"]
    settings = re.findall(r"train\.[\w*.]+(?:=\w+)?", advice)
    assert len(settings) >= 2
    for setting in settings:
        overrides = [f"train.*.objective.kind={objective}", setting if "=" in setting else f"{setting}=7"]
        load_config(find_config(Path(preset)), overrides)
    assert all(is_preset(Path(named)) for named in re.findall(r"birdclef run (\w+)", advice))
