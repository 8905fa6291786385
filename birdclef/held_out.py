"""Last figure of a report: its score on the recordings that the split held out, from which nothing was chosen."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from birdclef.config.predict import PredictConfig
from birdclef.scores.earlier_scores import find_earlier_scores
from birdclef.scores.lineage import find_split, report_predictions
from birdclef.scores.looks import record_look, tell_look
from birdclef.scores.report_settings import read_predict_settings
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key, read_provenance
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 2
"""Raised by hand when the same report and predictions give another score."""

FORMAT = 2
"""Version of `held_out.json`."""


@dataclass(frozen=True)
class ReportParts:
    """What predicts the held-out part of a report.

    Attributes:
        split: Split of the report.
        members: Run of each fold by name of the member and number of the fold, with its settings of prediction.
    """

    split: Path
    members: dict[str, dict[int, tuple[Path, PredictConfig]]]

    @property
    def folds(self) -> list[int]:
        """Folds that the members were trained for."""
        return sorted({fold for runs in self.members.values() for fold in runs})


def find_parts(report: Path, workspace: Workspace) -> ReportParts:
    """Returns the split and the runs of a report whose split holds recordings out.

    Raises:
        FileNotFoundError: If the directory is no artefact, or an artefact behind the report is missing.
        ValueError: If the artefact is no report, or its split holds nothing out.
    """
    kind = read_provenance(report)["kind"]
    if kind != "reports":
        raise ValueError(f"{report} holds {kind}. Give 'champion', or the directory of a report.")
    members: dict[str, dict[int, tuple[Path, PredictConfig]]] = {}
    for name, paths in report_predictions(report, workspace).items():
        for path in paths:
            run = workspace.artefact("runs", read_provenance(path)["inputs"]["run"])
            fold = int(read_provenance(run)["config"]["fold"])
            members.setdefault(name, {})[fold] = run, read_predict_settings(path, report)
    split = find_split([run for runs in members.values() for run, _ in runs.values()], workspace)
    if not read_provenance(split)["config"]["test_share"]:
        raise ValueError(
            f"The split {split.name} of report {report.name} holds no recordings out. Set split.test_share=0.1 (or "
            "0.25 to 0.5 if species have few recordings), run the whole pipeline again, and score the new report."
        )
    return ReportParts(split, members)


def score_held_out_part(
    report: Path, members: Mapping[str, Sequence[Path]], baseline: Path, workspace: Workspace
) -> tuple[Path, str]:
    """Returns the directory of a report's held-out score, and sentences on earlier looks at the recordings.

    The directory holds `held_out.json`, `held_out.md`, `held_out.html` and `recordings.csv`. Each report that is scored
    on a held-out part is a look at it; the look is recorded in `looks/`.

    Args:
        report: Directory of the report.
        members: Name of each member to its predictions of the held-out part, one directory per fold.
        baseline: The baseline's predictions of the held-out part, by the folds of the members.
        workspace: Where artefacts lie.

    Raises:
        ValueError: If the members cover different recordings or species.
    """
    inputs = {
        f"{name}/{index}": artefact_key(path) for name, paths in members.items() for index, path in enumerate(paths)
    }
    inputs |= {"report": artefact_key(report), "baseline": artefact_key(baseline)}
    recipe = Recipe("held_out", {}, inputs, VERSION)
    directory = workspace.materialise(
        recipe, lambda staging: _write(report, members, baseline, recipe.key, workspace, staging)
    )
    return directory, _look(directory, workspace)


def _write(
    report: Path,
    members: Mapping[str, Sequence[Path]],
    baseline: Path,
    key: str,
    workspace: Workspace,
    staging: Path,
) -> None:
    # Imported here so that a score that the workspace holds already costs no import of SciPy.
    import json

    from birdclef.metrics.headline import METRIC_TITLES
    from birdclef.report.rendering import render
    from birdclef.scores.held_out_scores import score_held_out
    from birdclef.scores.json_values import replace_nan

    found = score_held_out(report, members, baseline, workspace)
    score = replace_nan({"format": FORMAT, "key": key, **found.score})
    (staging / "held_out.json").write_text(json.dumps(score, indent=2, allow_nan=False) + "\n")
    found.recordings.to_csv(staging / "recordings.csv", index=False)
    content = {
        "score": score,
        "interval": f"{100 * score['confidence']:g} % interval",
        "metric_titles": METRIC_TITLES,
    }
    for name in ("held_out.html", "held_out.md"):
        (staging / name).write_text(render(f"{name}.j2", content))


def _look(directory: Path, workspace: Workspace) -> str:
    import json

    import pandas as pd

    score = json.loads((directory / "held_out.json").read_text())
    recordings = pd.read_csv(directory / "recordings.csv", dtype=str, keep_default_na=False)
    look, earlier = record_look(directory, score, recordings["sha256"].tolist(), workspace)
    told = tell_look(look, earlier, find_earlier_scores(look.report, look.recordings, look.date, workspace))
    macro_f1, same = score["metrics"]["macro_f1"], score["same_species"]
    logger.info(
        "held-out: macro-F1 %.3f [%.3f, %.3f], recordings %d, species %d, out of fold %.3f. %s",
        *(macro_f1["value"], macro_f1["low"], macro_f1["high"], score["recordings"], score["species"]),
        *(score["out_of_fold"]["macro_f1"]["value"], told),
        extra={"report": score["report"], "macro_f1": macro_f1["value"], "same_species": same["species"]},
    )
    return told
