"""The settings of all stages that a report keeps in `experiment.yaml`, and those that predict again as it did."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from birdclef.config.predict import PredictConfig
from cache.models.yaml_text import read_yaml
from cache.workspace.file_format import DamagedArtefactError, damaged
from cache.workspace.provenance import PROVENANCE, read_provenance

SETTINGS = "experiment.yaml"


def read_predict_settings(predictions: Path, report: Path) -> PredictConfig:
    """Returns the settings of a report's predictions.

    Fields of execution, which the predictions do not keep, are those of the experiment that made the report. A machine
    that ran out of memory then predicts again with as few windows per forward pass.

    Args:
        predictions: Prediction directory of the report.
        report: Directory of the report.

    Raises:
        DamagedArtefactError: If a setting is none that predictions can have.
    """
    execution = _read_execution(report / SETTINGS)
    made = read_provenance(predictions)["config"]
    try:
        return PredictConfig.model_validate({**made, **execution})
    except ValidationError as error:
        ours = {str(place) for one in error.errors() for place in one["loc"][:1]} <= execution.keys()
        raise damaged(report / SETTINGS if ours and execution else predictions / PROVENANCE, error) from error


def _read_execution(path: Path) -> dict[str, Any]:
    """Returns the fields of execution of the predictions, as far as the experiment sets them."""
    experiment = _as_section(read_yaml(path), "the experiment", path)
    chosen = _as_section(experiment.get("predict"), "predict", path)
    return {name: chosen[name] for name in PredictConfig.execution_fields & chosen.keys()}


def _as_section(value: Any, name: str, path: Path) -> Mapping[str, Any]:
    if value is None:  # nothing is set
        return {}
    if not isinstance(value, Mapping):
        raise DamagedArtefactError(
            f"{path} is damaged, because {name} is {reprlib.repr(value)} and no section with keys. Get the report "
            "again from where it was made."
        )
    return value
