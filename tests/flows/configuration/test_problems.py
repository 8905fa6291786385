from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.configuration.problems import describe_problems, known_keys
from flows.experiment import ExperimentConfig

TREE = {"data": {"root": "DIR"}, "train": {"cnn": {}}}


def refuse(tree: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as refused:
        ExperimentConfig.model_validate(tree)
    return describe_problems(refused.value, ExperimentConfig, Path("my.yaml"))


def test_one_problem_is_one_line_and_several_are_a_line_each() -> None:
    one = refuse({**TREE, "split": {"fold": 3}})
    assert one == "my.yaml: split.fold: there is no such key; did you mean folds?"
    both = refuse({**TREE, "split": {"fold": 3, "seed": "x"}}).splitlines()
    assert len(both) == 3
    assert any("split.seed" in line and "'x'" in line for line in both)


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"model": {"weights": "FILE"}}, "model: there is no such key; did you mean train.*.model.weights?"),
        ({"epochs": 3}, "epochs: there is no such key; did you mean train.*.epochs?"),
        (
            {"train": {"cnn": {"temperature": 1}}},
            "train.cnn.temperature: there is no such key; did you mean train.*.objective.temperature?",
        ),
        ({"nonsense": 3}, "nonsense: there is no such key."),
    ],
    ids=str,
)
def test_a_key_in_the_wrong_section_is_told_where_it_belongs(tree: dict[str, object], told: str) -> None:
    assert refuse({**TREE, **tree}) == f"my.yaml: {told}"


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        (
            {"features": {"background_variants": 2}},
            (
                "features.background_variants: there is no such key with features.kind=log_mel; "
                "it needs features.kind=embedding"
            ),
        ),
        (
            {"features": {"model": "birdnet_v2.4"}},
            "features.model: there is no such key with features.kind=log_mel; it needs features.kind=embedding",
        ),
        (
            {"member_features": {"cnn": {"kind": "embedding", "model": "birdnet_v2.4", "n_mels": 64}}},
            (
                "member_features.cnn.n_mels: there is no such key with member_features.cnn.kind=embedding; "
                "it needs member_features.cnn.kind=log_mel"
            ),
        ),
        (
            {"train": {"cnn": {"augment": {"channel_dropout": 0.1, "warp_frames": 3}}}},
            (
                "train.cnn.augment.channel_dropout: this key is for features.kind=embedding, "
                "but train.cnn.model.backbone reads features.kind=log_mel: change one of them"
            ),
        ),
        (
            {"train": {"cnn": {"model": {"backbone": "mean_pool"}, "augment": {"noise_share": 0.1, "warp_frames": 3}}}},
            (
                "train.cnn.augment.warp_frames: this key is for features.kind=log_mel, "
                "but train.cnn.model.backbone reads features.kind=embedding: change one of them"
            ),
        ),
    ],
    ids=str,
)
def test_a_key_of_another_kind_is_told_with_the_kind_that_has_it(tree: dict[str, object], told: str) -> None:
    assert refuse({**TREE, **tree}).splitlines()[-1].strip().removeprefix("my.yaml: ") == told


def test_keys_of_a_section_are_known_at_every_depth() -> None:
    assert "train" in known_keys(ExperimentConfig, ())
    assert "learning_rate" in known_keys(ExperimentConfig, ("train", "any member"))
    assert "temperature" in known_keys(ExperimentConfig, ("train", "any member", "objective"))
    assert known_keys(ExperimentConfig, ("data", "root")) == []


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"features": None}, "features: must be a section with keys such as workers (got None)"),
        ({"features": "log_mel"}, "features: must be a section with keys such as workers (got 'log_mel')"),
        ({"member_features": {"cnn": []}}, "member_features.cnn: must be a section with keys such as workers (got [])"),
        (
            {"train": {"cnn": {"augment": 3}}},
            "train.cnn.augment: must be a section with keys such as gain_probability (got 3)",
        ),
        ({"train": {"cnn": None}}, "train.cnn: must be a section with keys such as model (got None)"),
        ({"split": None}, "split: must be a section with keys such as folds (got None)"),
        ({"train": None}, "train: must be a section with keys (got None)"),
        ({"features": {"kind": "mfcc"}}, "features.kind: Input should be 'log_mel', 'embedding' (got 'mfcc')"),
        (
            {"data": {"root": 2023}},
            'data.root: must be text (got 2023): write it in quotes, as "2023"',
        ),
        (
            {"train": {"a.b": {}}},
            "train: 'a.b' cannot be the name of a member: use letters, digits, _ and - (a dot would separate keys)",
        ),
        (
            {"predict": {"shift_seconds": [float("nan")]}},
            "predict.shift_seconds.0: Input should be a finite number (got nan)",
        ),
    ],
    ids=str,
)
def test_wrong_value_is_one_sentence_with_its_key(tree: dict[str, object], told: str) -> None:
    assert refuse({**TREE, **tree}) == f"my.yaml: {told}"


def test_only_the_steps_that_pydantic_adds_are_left_out_of_a_path() -> None:
    told = refuse(
        {
            **TREE,
            "train": {"embedding": {"learning_rat": 1}, "log_mel": {"augment": {"gain_bd": 1}}},
            "member_features": {"embedding": {"hop_lenght": 1}, "log_mel": {"kind": "embedding", "model": {}}},
        }
    )
    assert "  train.embedding.learning_rat: there is no such key; did you mean learning_rate?" in told
    assert "  train.log_mel.augment.gain_bd: there is no such key; did you mean gain_db?" in told
    assert "  member_features.embedding.hop_lenght: there is no such key; did you mean hop_length?" in told
    assert "  member_features.log_mel.model.embedding: Field required" in told
