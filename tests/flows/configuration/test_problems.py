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


def test_keys_of_a_section_are_known_at_every_depth() -> None:
    assert "train" in known_keys(ExperimentConfig, ())
    assert "learning_rate" in known_keys(ExperimentConfig, ("train", "any member"))
    assert "temperature" in known_keys(ExperimentConfig, ("train", "any member", "objective"))
    assert known_keys(ExperimentConfig, ("data", "root")) == []
