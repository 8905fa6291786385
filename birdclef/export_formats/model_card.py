"""Writes the model card of an exported run: data, folds, scores, licences and limits."""

from pathlib import Path

import pandas as pd

from birdclef.model.trained_run import TrainedRun
from birdclef.report.rendering import render
from birdclef.serving.onnx_classifier import embedding_folder
from birdclef.strips.fold import read_labelled_recordings
from cache.folds.groups import is_trained_on, is_unknown
from cache.folds.overlap import measure_overlap
from cache.folds.split_table import split_catalogue
from cache.recordings.catalogue_tables import read_species
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

_UNKNOWN = "not stated in the table"
_HEADING = "# Model card: birdclef run "
"""How each model card begins."""


def is_model_card(path: Path) -> bool:
    """Whether a file is a model card that `describe_model` made; an empty file counts as one."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_HEADING)) in {b"", _HEADING.encode()}


def describe_model(run: Path, workspace: Workspace, trained: TrainedRun, output: Path, size: int) -> str:
    """Returns the model card of an exported run as Markdown.

    Args:
        run: Directory of the run.
        workspace: Workspace of the run.
        trained: The run, loaded.
        output: Path of the exported file.
        size: Size of the exported file in bytes.
    """
    provenance = read_provenance(run)
    split = workspace.artefact("splits", trained.split)
    catalogue = split_catalogue(split, workspace)
    recordings = read_labelled_recordings(split, catalogue)
    used = recordings[is_trained_on(recordings["fold"], trained.fold).to_numpy()]
    scored = (recordings["fold"] == trained.fold).to_numpy()
    log = pd.read_csv(run / "logs" / "metrics.csv")
    scores = {
        title: float(log[column].dropna().iloc[-1])
        for column, title in (("val_macro_f1", "macro-F1"), ("val_accuracy", "accuracy"))
        if column in log and log[column].notna().any()
    }
    counts = used["label"].value_counts()
    species = read_species(catalogue).assign(trained_on=lambda table: table["label"].map(counts).fillna(0).astype(int))
    content = {
        "heading": _HEADING,
        "key": provenance["key"],
        "config": provenance["config"],
        "versions": provenance["packages"],
        "features": trained.features,
        "clip_seconds": trained.clip_seconds,
        "frames": trained.features.count_frames(trained.clip_seconds),
        "folder": embedding_folder(output).name,
        "fold": trained.fold,
        "megabytes": size / 1e6,
        "recordings": len(used),
        "hours": float(used["seconds"].sum()) / 3600,
        "recordists": int(used.loc[~is_unknown(used["recordist"]), "recordist"].nunique()),
        "recordist_known": int((~is_unknown(used["recordist"])).sum()),
        "validated": int(scored.sum()),
        "overlap": measure_overlap(recordings, recordings["fold"].to_numpy(), scored).describe(),
        "scores": scores,
        "licences": _count_licences(used),
        "species": species.to_dict(orient="records"),
    }
    return render("model_card.md.j2", content)


def _count_licences(recordings: pd.DataFrame) -> dict[str, int]:
    """Returns the number of recordings with each licence, the most frequent licence first."""
    stated = recordings["license"] if "license" in recordings else pd.Series("", index=recordings.index)
    counts = stated.fillna("").astype(str).str.strip().replace("", _UNKNOWN).value_counts()
    return {str(licence): int(count) for licence, count in counts.items()}
