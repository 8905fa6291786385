"""Default and meaning of each setting."""

import pytest

from flows.configuration.explanation import explain_settings
from flows.experiment import ExperimentConfig


def headings(key: str | None) -> list[str]:
    return [line for line in explain_settings(ExperimentConfig, key).splitlines() if line[:1].strip()]


def test_setting_has_its_default_and_its_meaning() -> None:
    assert explain_settings(ExperimentConfig, "data.min_seconds") == (
        "data.min_seconds: 0.5\n    Recordings shorter than this are quarantined.\n"
    )


@pytest.mark.parametrize("key", ["epochs", "train.cnn.epochs", "train.*.epochs"])
def test_setting_is_found_by_its_last_steps_and_below_any_member(key: str) -> None:
    assert headings(key) == ["train.*.epochs: 30"]


def test_section_has_all_its_settings_and_those_of_one_kind_say_so() -> None:
    shown = headings("features")
    assert "features.hop_length: 512  (only with kind log_mel)" in shown
    assert "features.model.licence  (only with kind embedding)" in shown
    assert "features.memory_gb: 8.0" in shown
    assert all(line.startswith("features") for line in shown)


def test_every_setting_of_an_experiment_is_explained() -> None:
    text = explain_settings(ExperimentConfig, None)
    for section in ("data", "features", "split", "train.*.objective", "predict", "evaluate", "promote"):
        assert f"\n{section}." in f"\n{text}"
    blocks = text.split("\n\n")
    assert all("\n    " in block for block in blocks)  # no setting without a meaning
    assert len({block.splitlines()[0] for block in blocks}) == len(blocks)


def test_unknown_setting_is_refused_with_a_near_one() -> None:
    with pytest.raises(ValueError, match=r"no setting train\.cnn\.epoch; did you mean epochs"):
        explain_settings(ExperimentConfig, "train.cnn.epoch")
