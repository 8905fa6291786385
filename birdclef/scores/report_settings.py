"""The settings of all stages that a report keeps in `experiment.yaml`, and those that predict again as it did."""

from pathlib import Path

from birdclef.config.predict import PredictConfig
from cache.models.yaml_text import read_yaml
from cache.workspace.provenance import read_provenance

SETTINGS = "experiment.yaml"


def read_predict_settings(predictions: Path, report: Path) -> PredictConfig:
    """Returns the settings of a report's predictions.

    Fields of execution, which the predictions do not keep, are those of the experiment that made the report. A machine
    that ran out of memory then predicts again with as few windows per forward pass.

    Args:
        predictions: Prediction directory of the report.
        report: Directory of the report.
    """
    chosen = (read_yaml(report / SETTINGS) or {}).get("predict", {})
    execution = {name: chosen[name] for name in PredictConfig.execution_fields & chosen.keys()}
    return PredictConfig(**read_provenance(predictions)["config"], **execution)
