"""Writes reports that hold what decisions read: scores, species, settings, predictions, and the split behind them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

SPECIES = 20
RECORDINGS = 1500
RECORDISTS = 250


def list_recordings() -> pd.DataFrame:
    """Returns 1,500 recordings of 20 species by 250 recordists, each recordist in one of four folds."""
    generator = np.random.default_rng(3)
    recordist = generator.integers(RECORDISTS, size=RECORDINGS)
    return pd.DataFrame(
        {
            "recording_id": [f"{number}.ogg" for number in range(RECORDINGS)],
            "sha256": [f"{number:064}" for number in range(RECORDINGS)],
            "label": [f"s{number:02}" for number in generator.integers(SPECIES, size=RECORDINGS)],
            "recordist": [f"r{number}" for number in recordist],
            "fold": recordist % 4,
            "group": recordist,
        }
    )


def write_report(
    workspace: Path, name: str, recordings: pd.DataFrame, wrong: np.ndarray, **changes: Any
) -> tuple[Path, float]:
    """Returns a report, and its macro-F1 by scikit-learn.

    Args:
        workspace: Directory of the workspace.
        name: Name that tells the report from others.
        recordings: As `list_recordings` returns them.
        wrong: Whether each recording is taken for the next species, (recordings,).
        changes: `split`: settings of the split; `select` of the runs; `rivals`: of the verdict; `leaking_share`: of the
            report; `usable`: the recordings of the split, also those that are only trained on (fold -1) or held out
            (-2), and with a column `sound` if some are copies.
    """
    species = sorted(set(recordings["label"]))
    truth = recordings["label"].map(species.index).to_numpy()
    predicted = np.where(wrong, (truth + 1) % len(species), truth)
    macro_f1 = float(f1_score(truth, predicted, average="macro"))
    content = {
        "metrics": {"macro_f1": {"value": macro_f1, "low": macro_f1 - 0.02, "high": macro_f1 + 0.02, "chance": 0.025}},
        "coverage": {"recordings_scored": len(recordings)},
        "split": {"leak": {"leaking_share": changes.get("leaking_share", 0.0)}},
        "per_species": [{"label": label, "common_name": "", "scientific_name": ""} for label in species],
        "lineage": {
            "split": {
                "key": artefact_key(write_split(Workspace(workspace), changes.get("usable", recordings))),
                "config": {"group_by": "recordist", **changes.get("split", {})},
            },
            "runs": [{"config": {"select": "last"}}, {"config": {"select": changes.get("select", "last")}}],
        },
        "verdict": {
            "outcome": "paid",
            "sentence": "Training paid.",
            "advice": None,
            "rivals": changes.get("rivals", []),
        },
    }
    recipe = Recipe("reports", {"name": name}, {}, 1)

    def write(staging: Path) -> None:
        (staging / "report.json").write_text(json.dumps({"format": 1, "key": recipe.key, **content}))
        (staging / "experiment.yaml").write_text(name)
        recordings.to_csv(staging / "recordings.csv", index=False)
        np.savez(staging / "oof.npz", species=species, probabilities=np.eye(len(species))[predicted])

    return Workspace(workspace).materialise(recipe, write), macro_f1


def write_split(workspace: Workspace, usable: pd.DataFrame) -> Path:
    """Returns a split, and writes its catalogue; every recording is its own sound unless a column `sound` says which.

    Args:
        workspace: Where artefacts lie.
        usable: recording_id, sha256, label, recordist, fold and group of each recording.
    """
    content = str(int(pd.util.hash_pandas_object(usable).sum()))
    columns = ["recording_id", "sha256", "label", "recordist", "sound"]
    sounds = usable if "sound" in usable else usable.assign(sound=usable["recording_id"])
    table = sounds[columns].assign(secondary_labels="", frames=100, seconds=3.2)
    folds = usable[["recording_id", "label", "fold", "group"]].assign(pinned=usable["fold"] == -1)
    catalogue = workspace.materialise(
        Recipe("catalogues", {"content": content}, {}, 1),
        lambda staging: table.to_csv(staging / "recordings.csv", index=False),
    )
    return workspace.materialise(
        Recipe("splits", {}, {"catalogue": artefact_key(catalogue)}, 1),
        lambda staging: folds.to_csv(staging / "split.csv", index=False),
    )
