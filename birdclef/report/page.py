"""Writes a report: JSON for programs, Markdown for Prefect, and a self-contained HTML page for people."""

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.classification import confusion_matrix
from birdclef.metrics.headline import METRIC_TITLES
from birdclef.metrics.predictions import Predictions
from birdclef.report import plots
from birdclef.report.embedding_map import map_embeddings
from birdclef.report.mistakes import list_errors, show_mistakes
from birdclef.report.rendering import render
from birdclef.scores.report_scores import Scored
from cache.config.data import DataConfig
from cache.workspace.artefact import read_provenance
from cache.workspace.workspace import Workspace

PICTURE_TITLES = {
    "f1_against_count": "F1 of each species against its number of recordings",
    "learning_curves": "Learning curves",
    "confusion": "Confusions, as shares of the true species",
    "reliability": "Accuracy against confidence",
    "embeddings": "Map of the embeddings",
}
SETTINGS = "experiment.yaml"
FORMAT = 1
"""Version of `report.json`, which templates/report.schema.json describes."""


def write_report(
    scored: Scored,
    config: EvaluateConfig,
    experiment: Mapping[str, Any],
    key: str,
    workspace: Workspace,
    directory: Path,
) -> None:
    """Write all files of a report.

    These are report.json, report.md, report.html, experiment.yaml (settings that repeat the report), recordings.csv,
    per_species.csv, errors.csv, oof.npz and plots/.

    Args:
        scored: Numbers of the report.
        config: Settings of the evaluation.
        experiment: Settings of all stages, by section.
        key: Key of the report.
        workspace: Workspace that will hold the report.
        directory: Where the files are written.
    """
    settings = workspace.directory / "reports" / key / SETTINGS
    command = f"birdclef run {shlex.quote(str(settings))} --workspace {shlex.quote(str(workspace.directory))}"
    report = replace_nan({"format": FORMAT, "key": key, "command": command, **scored.report})
    (directory / SETTINGS).write_text(yaml.safe_dump(dict(experiment), sort_keys=False, allow_unicode=True))
    (directory / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    per_species = pd.DataFrame(scored.report["per_species"])
    per_species.to_csv(directory / "per_species.csv", index=False)
    errors = list_errors(scored)
    errors.to_csv(directory / "errors.csv", index=False)
    _list_recordings(scored).to_csv(directory / "recordings.csv", index=False)
    np.savez(
        directory / "oof.npz",
        recording_id=scored.recordings["recording_id"].to_numpy(str),
        label=scored.recordings["label"].to_numpy(str),
        species=scored.species["label"].to_numpy(str),
        probabilities=scored.probabilities,
    )
    pictures = _draw_pictures(scored, config, per_species)
    (directory / "plots").mkdir()
    for name, png in pictures.items():
        (directory / "plots" / f"{name}.png").write_bytes(png)
    data = DataConfig(**experiment["data"])
    content = {
        "report": report,
        "interval": f"{100 * config.confidence:g} % interval",
        "metric_titles": METRIC_TITLES,
        "picture_titles": PICTURE_TITLES,
        "pictures": pictures,
        "mistakes": show_mistakes(errors.head(config.worst_errors), scored, config, data),
        "mistaken": len(errors),
    }
    for name in ("report.html", "report.md"):
        (directory / name).write_text(render(f"{name}.j2", content))


def replace_nan(value: Any) -> Any:
    """Returns a JSON value in which NaN and infinite numbers are replaced by null."""
    if isinstance(value, dict):
        return {key: replace_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _list_recordings(scored: Scored) -> pd.DataFrame:
    """Returns the table of scored recordings, with the most probable species beside the secondary ones."""
    names = scored.species["label"].to_numpy()
    columns = ["recording_id", "sha256", "label", "secondary_labels", "recordist", "fold", "group"]
    return scored.recordings[columns].assign(
        predicted=names[Predictions(scored.probabilities, None, scored.ignored).chosen],
        confidence=Predictions(scored.calibrated, None, scored.ignored).confidence.round(4),
    )


def _draw_pictures(scored: Scored, config: EvaluateConfig, per_species: pd.DataFrame) -> dict[str, bytes]:
    predictions = Predictions(scored.probabilities, None, scored.ignored)
    matrix = confusion_matrix(predictions, scored.recordings["label_index"].to_numpy())
    involved = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    names = scored.species["label"].to_numpy()[involved].tolist()
    pictures = {
        "f1_against_count": plots.plot_f1_against_count(per_species),
        "confusion": plots.plot_confusion(matrix[np.ix_(involved, involved)], names),
        "reliability": plots.plot_reliability(scored.report["calibration"]),
        "learning_curves": plots.plot_learning_curves(scored.members),
    }
    first = next(iter(scored.predictions))
    folds = [int(read_provenance(run)["config"]["fold"]) for run in scored.members[first]]
    maps = map_embeddings(scored.predictions[first], folds, config.map_recordings, config.seed)
    return {**pictures, "embeddings": plots.plot_embeddings(maps)} if maps else pictures
