"""Writes a report: JSON for programs, Markdown for Prefect, and a self-contained HTML page for people."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.headline import METRIC_TITLES
from birdclef.metrics.predictions import Predictions
from birdclef.report.mistakes import list_errors, show_mistakes
from birdclef.report.pictures import PICTURE_TITLES, draw_pictures
from birdclef.report.rendering import render
from birdclef.report.species_names import name_species
from birdclef.report.spreadsheet_fields import escape_fields
from birdclef.scores.json_values import replace_nan
from birdclef.scores.lineage import list_embedding_stores
from birdclef.scores.report_file import REPORT, REPORT_FORMAT
from birdclef.scores.report_scores import Scored
from birdclef.scores.report_settings import SETTINGS
from cache.config.data import DataConfig
from cache.workspace.workspace import Workspace


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
    report = replace_nan({"format": REPORT_FORMAT.number, "key": key, "command": command, **scored.report})
    (directory / SETTINGS).write_text(yaml.safe_dump(dict(experiment), sort_keys=False, allow_unicode=True))
    (directory / REPORT).write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    per_species = pd.DataFrame(scored.report["per_species"])
    escape_fields(per_species).to_csv(directory / "per_species.csv", index=False)
    errors = list_errors(scored)
    escape_fields(errors).to_csv(directory / "errors.csv", index=False)
    _list_recordings(scored).to_csv(directory / "recordings.csv", index=False)
    np.savez(
        directory / "oof.npz",
        recording_id=scored.recordings["recording_id"].to_numpy(str),
        label=scored.recordings["label"].to_numpy(str),
        species=scored.species["label"].to_numpy(str),
        probabilities=scored.probabilities,
    )
    names = name_species(scored.species)
    pictures = draw_pictures(scored, config, names)
    (directory / "plots").mkdir()
    for name, png in pictures.drawn.items():
        (directory / "plots" / f"{name}.png").write_bytes(png)
    data = DataConfig(**experiment["data"])
    content = {
        "report": report,
        "interval": f"{100 * config.confidence:g} % interval",
        "metric_titles": METRIC_TITLES,
        "picture_titles": PICTURE_TITLES,
        "pictures": pictures.drawn,
        "left_out": pictures.left_out,
        "names": names,
        "embedding_stores": list_embedding_stores(report["lineage"]),
        "mistakes": show_mistakes(errors.head(config.worst_errors), scored, config, data),
        "mistaken": len(errors),
    }
    for name in ("report.html", "report.md"):
        (directory / name).write_text(render(f"{name}.j2", content))


def _list_recordings(scored: Scored) -> pd.DataFrame:
    """Returns the table of scored recordings, with the most probable species beside the secondary ones."""
    names = scored.species["label"].to_numpy()
    columns = ["recording_id", "sha256", "label", "secondary_labels", "recordist", "fold", "group"]
    return scored.recordings[columns].assign(
        predicted=names[Predictions(scored.probabilities, None, scored.ignored).chosen],
        confidence=Predictions(scored.calibrated, None, scored.ignored).confidence.round(4),
    )
