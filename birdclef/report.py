"""The report: JSON for machines, Markdown for Prefect, and one self-contained HTML page for people."""

import base64
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from birdclef import plots
from birdclef.config import EvaluateConfig
from birdclef.metrics import confusion_matrix
from birdclef.scoring import Scored
from cache.store import StripStore

METRIC_NAMES = {
    "macro_f1": "Macro-F1",
    "accuracy": "Accuracy",
    "macro_roc_auc": "Macro ROC-AUC",
    "padded_cmap": "Padded cmAP(5)",
}
_PICTURE_SECONDS = 5.0


@dataclass(frozen=True)
class Mistake:
    """A recording taken for another species, with pictures of both sides.

    Attributes:
        recording_id: Of the mistaken recording.
        label: Its species.
        predicted: The species it was taken for.
        confidence: Probability given to that species.
        own_picture: PNG of the recording's strip.
        other_recording_id: A recording of the predicted species.
        other_picture: PNG of that recording's strip.
    """

    recording_id: str
    label: str
    predicted: str
    confidence: float
    own_picture: bytes
    other_recording_id: str
    other_picture: bytes


def write_report(scored: Scored, config: EvaluateConfig, key: str, directory: Path) -> None:
    """Write report.json, report.md, report.html, per_species.csv, errors.csv, oof.npz and plots/."""
    report = replace_nan({"key": key, **scored.report})
    (directory / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    per_species = pd.DataFrame(scored.report["per_species"])
    per_species.to_csv(directory / "per_species.csv", index=False)
    errors = list_errors(scored)
    errors.to_csv(directory / "errors.csv", index=False)
    np.savez(
        directory / "oof.npz",
        recording_id=scored.recordings["recording_id"].to_numpy(str),
        label=scored.recordings["label"].to_numpy(str),
        species=scored.species["label"].to_numpy(str),
        probabilities=scored.probabilities,
    )
    pictures = _draw_pictures(scored, per_species, directory / "plots")
    mistakes = _show_mistakes(errors.head(config.worst_errors), scored)
    interval = f"{100 * config.confidence:g} % interval"
    content = {
        "report": report,
        "interval": interval,
        "metric_names": METRIC_NAMES,
        "pictures": pictures,
        "mistakes": mistakes,
    }
    for name in ("report.html", "report.md"):
        (directory / name).write_text(render(f"{name}.j2", content))


def render(template: str, content: dict[str, Any]) -> str:
    """Returns a filled template; whatever comes from the data is escaped in HTML."""
    environment = Environment(
        loader=PackageLoader("birdclef", "templates"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"png": _data_uri, "number": _format_number, "cell": _escape_markdown_cell}
    return environment.get_template(template).render(content)


def list_errors(scored: Scored) -> pd.DataFrame:
    """Returns the mistaken recordings: recording_id, label, predicted, confidence; the most confident first."""
    predicted = scored.probabilities.argmax(axis=1)
    wrong = predicted != scored.recordings["label_index"].to_numpy()
    errors = pd.DataFrame(
        {
            "recording_id": scored.recordings["recording_id"][wrong],
            "label": scored.recordings["label"][wrong],
            "predicted": scored.species["label"].to_numpy()[predicted[wrong]],
            "confidence": scored.probabilities.max(axis=1)[wrong].round(4),
        }
    )
    return errors.sort_values(["confidence", "recording_id"], ascending=[False, True]).reset_index(drop=True)


def replace_nan(value: Any) -> Any:
    """Returns a JSON value in which every undefined number is null."""
    if isinstance(value, dict):
        return {key: replace_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _draw_pictures(scored: Scored, per_species: pd.DataFrame, directory: Path) -> dict[str, bytes]:
    matrix = confusion_matrix(scored.probabilities, scored.recordings["label_index"].to_numpy())
    involved = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    names = scored.species["label"].to_numpy()[involved].tolist()
    pictures = {
        "f1_against_count": plots.plot_f1_against_count(per_species),
        "confusion": plots.plot_confusion(matrix[np.ix_(involved, involved)], names),
        "learning_curves": plots.plot_learning_curves(scored.members),
    }
    directory.mkdir(exist_ok=True)
    for name, png in pictures.items():
        (directory / f"{name}.png").write_bytes(png)
    return pictures


def _show_mistakes(errors: pd.DataFrame, scored: Scored) -> list[Mistake]:
    store = StripStore(scored.lineage.features)
    features = scored.report["lineage"]["features"]["config"]
    frames = round(_PICTURE_SECONDS * features["sample_rate"] / features["hop_length"])
    sha256_of = dict(zip(scored.catalogue["recording_id"], scored.catalogue["sha256"], strict=True))

    def draw(recording_id: str) -> bytes:
        return plots.plot_strip(store.read(sha256_of[recording_id]), frames)

    mistakes = []
    for recording_id, label, predicted, confidence in zip(*(errors[column] for column in errors), strict=True):
        typical = _find_typical(predicted, scored)
        pictures = draw(recording_id), draw(typical)
        mistakes.append(Mistake(recording_id, label, predicted, float(confidence), pictures[0], typical, pictures[1]))
    return mistakes


def _find_typical(label: str, scored: Scored) -> str:
    """Returns the recording of a species that is recognised best, or its first one if none was scored."""
    index = scored.species["label"].tolist().index(label)
    own = np.flatnonzero(scored.recordings["label_index"] == index)
    if len(own):
        return str(scored.recordings["recording_id"].iloc[own[scored.probabilities[own, index].argmax()]])
    return str(scored.catalogue.loc[scored.catalogue["label"] == label, "recording_id"].iloc[0])


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _format_number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _escape_markdown_cell(text: object) -> str:
    escaped = str(text).replace("&", "&amp;").replace("<", "&lt;").replace("\\", "\\\\").replace("|", "\\|")
    return escaped.replace("\n", " ")
