"""Stage 3, second half: combines and scores the members' out-of-fold predictions, and writes the report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from birdclef.config.evaluate import EvaluateConfig
from birdclef.scores.lineage import trace
from birdclef.scores.report_file import read_report
from cache.config.data import DataConfig
from cache.recordings.catalogue_tables import read_species
from cache.recordings.class_list import find_species_without_recordings
from cache.workspace.keys import Recipe, content_key
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 8
"""Raised by hand when the same predictions and settings give another report."""


def evaluate(
    config: EvaluateConfig,
    members: Mapping[str, Sequence[Path]],
    baseline: Path,
    experiment: Mapping[str, Any],
    workspace: Workspace,
    zero_shot: Path | None = None,
) -> Path:
    """Returns the directory of the report on one member or several.

    Args:
        config: How members are combined, how intervals are computed, and what the report shows.
        members: Name of each member to its prediction directories, one per fold.
        baseline: Predictions of the baseline on the same split.
        experiment: Settings of all stages, by section; they repeat the report. The section `data` says where the
            recordings lie, which the report takes sounds from, and where a list of further species may lie.
        workspace: Where artefacts lie.
        zero_shot: Predictions by an embedding model's own labels; None: the features have no such model.

    Raises:
        ValueError: If the members cover different recordings or species, or come from different splits.
    """
    inputs = {
        f"{name}/{index}": artefact_key(path) for name, paths in members.items() for index, path in enumerate(paths)
    }
    others = {"baseline": baseline} | ({"zero_shot": zero_shot} if zero_shot else {})
    inputs |= {name: artefact_key(path) for name, path in others.items()}
    lineage = trace([path for paths in members.values() for path in paths], baseline, workspace)
    species = read_species(lineage.catalogue)["label"].tolist()
    unheard = find_species_without_recordings(DataConfig(**experiment["data"]), species)
    if unheard:
        inputs["species_without_recordings"] = content_key(unheard)
    recipe = Recipe("reports", config.identity(), inputs, VERSION)

    def write(staging: Path) -> None:
        # Imported here so that a report that the workspace holds already costs no import of matplotlib.
        from birdclef.report.page import write_report
        from birdclef.scores.report_scores import score_members

        scored = score_members(config, members, baseline, workspace, zero_shot)
        scored = replace(scored, report={**scored.report, "species_without_recordings": unheard})
        write_report(scored, config, experiment, recipe.key, workspace, staging)

    report = workspace.materialise(recipe, write)
    _log_result(read_report(report))
    return report


def _log_result(report: Mapping[str, Any]) -> None:
    """Log whether training paid, as a warning if it did not, and the score with its coverage."""
    verdict, macro_f1, coverage = report["verdict"], report["metrics"]["macro_f1"], report["coverage"]
    level = logging.WARNING if verdict["outcome"] in ("not_paid", "partly") else logging.INFO
    logger.log(level, "evaluate: %s", " ".join(filter(None, (verdict["sentence"], verdict["advice"]))))
    logger.info(
        "evaluate: macro-F1 %.3f [%.3f, %.3f]; %d of %d species, %d of %d usable recordings scored",
        *(macro_f1[name] for name in ("value", "low", "high")),
        *(coverage[name] for name in ("species_scored", "species", "recordings_scored", "recordings_usable")),
        extra={"report": report["key"], "macro_f1": macro_f1["value"]},
    )
