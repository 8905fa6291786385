"""Configuration sections are frozen, complete, and refuse what cannot work."""

import pytest
from pydantic import ValidationError

from birdclef.config.augment import AugmentConfig
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.model import ModelConfig
from birdclef.config.objective import ObjectiveConfig
from birdclef.config.predict import PredictConfig
from birdclef.config.train import TrainConfig
from cache.config.section import ConfigSection

SECTIONS = (ModelConfig, AugmentConfig, ObjectiveConfig, TrainConfig, PredictConfig, EvaluateConfig)
SUBSECTIONS = {"model", "augment", "objective"}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_section_cannot_be_changed(section: type[ConfigSection]) -> None:
    built = section()
    field = next(iter(section.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(built, field, getattr(built, field))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_unknown_key_is_refused(section: type[ConfigSection]) -> None:
    with pytest.raises(ValidationError, match="no_such_key"):
        section.model_validate({"no_such_key": 1})


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_field_has_a_line_of_documentation(section: type[ConfigSection]) -> None:
    plain = {name: field for name, field in section.model_fields.items() if name not in SUBSECTIONS}
    assert [name for name, field in plain.items() if not field.description] == []


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (ModelConfig, {"dropout": 1.1}),
        (ModelConfig, {"normalisation": "imagenet"}),
        (AugmentConfig, {"gain_probability": -0.1}),
        (AugmentConfig, {"gain_db": -1}),
        (AugmentConfig, {"stretch_rate": [0.0, 1.1]}),
        (AugmentConfig, {"background_snr_db": [3.0]}),
        (AugmentConfig, {"background_snr_db": [30.0, 3.0]}),
        (AugmentConfig, {"noise_snr_db": [30.0, 3.0]}),
        (AugmentConfig, {"stretch_rate": [1.1, 0.9]}),
        (ObjectiveConfig, {"temperature": 0}),
        (ObjectiveConfig, {"kind": "triplet"}),
        (TrainConfig, {"ema_decay": 1.0}),
        (TrainConfig, {"views": 0}),
        (TrainConfig, {"folds": [-1]}),
        (TrainConfig, {"seed": 2**63}),
        (PredictConfig, {"aggregation": "median"}),
        (PredictConfig, {"shift_seconds": []}),
        (PredictConfig, {"gain_db": []}),
        (PredictConfig, {"shift_bands": []}),
        (EvaluateConfig, {"seed": -1}),
        (EvaluateConfig, {"seed": 2**32}),
        (EvaluateConfig, {"confidence": 1.0}),
    ],
    ids=str,
)
def test_value_outside_its_range_is_refused(section: type[ConfigSection], values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        section.model_validate(values)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_dumped_section_loads_to_itself(section: type[ConfigSection]) -> None:
    assert section.model_validate(section().model_dump(mode="json")) == section()
