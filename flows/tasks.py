"""The tasks. Each task calls one stage and shows the result in Prefect's UI, if it is not the newest one there already.

The keys of the artefacts decide what is computed again, so Prefect's own cache is off.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import State, Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff

from birdclef.baseline import predict_baseline, predict_frozen_baseline
from birdclef.compare import compare
from birdclef.comparison.arms import Trial
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.predict import DetectionFormat, PredictConfig
from birdclef.config.promote import PromoteConfig
from birdclef.config.train import TrainConfig
from birdclef.decisions import describe_decisions, read_decisions
from birdclef.evaluate import evaluate
from birdclef.held_out import score_held_out_part
from birdclef.predict import predict
from birdclef.promote import promote
from birdclef.report.markdown_text import escape_markdown
from birdclef.sweep import compare_settings
from birdclef.train import train
from birdclef.zero_shot import predict_zero_shot
from cache.background import build_background
from cache.config.data import DataConfig
from cache.config.features import FeatureConfig
from cache.config.split import SplitConfig
from cache.features import build_features
from cache.split import build_split
from cache.workspace.workspace import Workspace
from flows.monitoring.notify import Notification, notify
from flows.prefect_ui.artifacts import find_inputs, show_lineage, show_page, show_quarantine, show_report
from flows.prefect_ui.progress import show_progress

CHAMPION_ARTIFACT = "champion"

Sources = tuple[Path | None, Path | None]
"""What a member is trained on: the catalogue of its own features (None: that of the split), and the background."""

_PERMANENT = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
    ArithmeticError,
    FileNotFoundError,
    PermissionError,
)


def can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 - Prefect's arguments
    """Returns whether a retry may help: not after wrong input, a missing file, a defect or an arithmetic error."""
    return not isinstance(state.result(raise_on_failure=False), _PERMANENT)


STAGE: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=10),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": can_pass,
}
"""Settings of every task: retries after 10, 20 and 40 s, each up to 50 % longer, if `can_pass`."""


@task(name="features", **STAGE)
def build_features_task(data: DataConfig, features: FeatureConfig, workspace: Workspace) -> Path:
    """Compute the missing strips; returns the catalogue."""
    with show_progress("features progress"):
        catalogue = build_features(data, features, workspace)
    show_quarantine(catalogue)
    show_lineage(catalogue, workspace)
    return catalogue


@task(name="background", **STAGE)
def build_background_task(data: DataConfig, features: FeatureConfig, workspace: Workspace) -> Path:
    """Compute the missing strips of the background, and noisy copies for embeddings; returns the background."""
    with show_progress("background progress"):
        background = build_background(data, features, workspace)
    show_quarantine(background, key="background-quarantine")
    for part in (*find_inputs(background, workspace), background):  # the stage makes catalogues of noisy copies too
        show_lineage(part, workspace)
    return background


@task(name="split", **STAGE)
def build_split_task(split: SplitConfig, catalogue: Path, workspace: Workspace) -> Path:
    """Assign recordings to folds; returns the split."""
    directory = build_split(split, catalogue, workspace)
    show_lineage(directory, workspace)
    return directory


@task(name="train", task_run_name="train {member} fold {fold}", **STAGE)
def train_task(
    member: str, config: TrainConfig, split: Path, fold: int, workspace: Workspace, sources: Sources = (None, None)
) -> Path:
    """Train one member on one fold; returns the run. Reads the catalogue's features, or those of the split."""
    with show_progress(f"train {member} fold {fold} progress"):
        run = train(config, split, fold, workspace, *sources)
    show_lineage(run, workspace)
    return run


@task(name="predict", task_run_name="predict {member} fold {fold}", **STAGE)
def predict_task(
    member: str,  # noqa: ARG001 - in the name of the task
    fold: int,  # noqa: ARG001
    config: PredictConfig,
    run: Path,
    workspace: Workspace,
    held_out: bool = False,
) -> Path:
    """Predict the validation recordings of a run, or those that its split holds out; returns the predictions."""
    predictions = predict(config, run, workspace, held_out=held_out)
    show_lineage(predictions, workspace)
    return predictions


@task(name="baseline", **STAGE)
def baseline_task(split: Path, workspace: Workspace, held_out_by: Sequence[int] = ()) -> Path:
    """Predict with logistic regression on the same folds, or by some folds the held-out part; returns the directory."""
    predictions = predict_baseline(split, workspace, held_out_by=held_out_by)
    show_lineage(predictions, workspace)
    return predictions


@task(name="zero-shot", **STAGE)
def zero_shot_task(split: Path, catalogue: Path | None, workspace: Workspace) -> Path | None:
    """Predict with the labels of an embedding model; returns the predictions, or None if no model has labels."""
    predictions = predict_zero_shot(split, workspace, catalogue)
    if predictions:
        show_lineage(predictions, workspace)
    return predictions


@task(name="evaluate", **STAGE)
def evaluate_task(
    config: EvaluateConfig,
    members: dict[str, list[Path]],
    baseline: Path,
    experiment: dict[str, Any],
    workspace: Workspace,
    zero_shot: Path | None = None,
) -> Path:
    """Score and combine the members; returns the report. Prefect's UI shows the report."""
    report = evaluate(config, members, baseline, experiment, workspace, zero_shot)
    show_report(report, workspace)
    return report


@task(name="held-out", **STAGE)
def held_out_task(report: Path, members: dict[str, list[Path]], baseline: Path, workspace: Workspace) -> Path:
    """Score a report on its held-out part; returns the score. Prefect's UI shows the score with the number of looks."""
    directory, told = score_held_out_part(report, members, baseline, workspace)
    show_lineage(directory, workspace)
    page = (directory / "held_out.md").read_text()
    show_page(f"{page}\n{told}\n", key="held-out", description=f"Held-out score of {report.name}")
    return directory


@task(name="promote", **STAGE)
def promote_task(config: PromoteConfig, evaluation: EvaluateConfig, report: Path, workspace: Workspace) -> None:
    """Promote the report if the rule of promotion allows it. Prefect's UI shows the decisions."""
    decision, new = promote(config, evaluation, report, workspace)
    if new:
        told = f"report {decision.report}, number {decision.number}: {decision.reason}"
        notify(Notification("model", flow_run.flow_name, flow_run.name, decision.verdict, told, flow_run.ui_url))
    history = describe_decisions(read_decisions(workspace))
    show_page(f"**{decision.verdict}**: {escape_markdown(decision.reason)}\n\n{history}", key=CHAMPION_ARTIFACT)


@task(name="sweep", **STAGE)
def sweep_task(settings: list[dict[str, Any]], reports: list[Path], workspace: Workspace) -> Path:
    """Compare the reports of a sweep; returns the comparison. Prefect's UI shows the comparison."""
    directory = compare_settings(settings, reports, workspace)
    show_page((directory / "sweep.md").read_text(), key="sweep", description="Comparison of settings")
    return directory


@task(name="baseline on frozen features", **STAGE)
def frozen_baseline_task(config: TrainConfig, split: Path, workspace: Workspace) -> Path:
    """Predict with logistic regression on features of a frozen pretrained backbone; returns the predictions."""
    return predict_frozen_baseline(config, split, workspace)


@task(name="compare", **STAGE)
def compare_task(
    config: EvaluateConfig,
    trials: list[tuple[Trial, list[Path]]],
    baselines: dict[str, Path],
    companions: list[str],
    workspace: Workspace,
) -> Path:
    """Compare the arms with the reference; returns the comparison. Prefect's UI shows the comparison."""
    directory = compare(config, trials, baselines, companions, workspace)
    show_page((directory / "comparison.md").read_text(), key="comparison", description="Comparison of objectives")
    return directory


@task(name="predict recordings", **STAGE)
def predict_recordings_task(
    source: Path, recordings: list[Path], output: Path, form: DetectionFormat, threshold: float | None
) -> dict[str, str]:
    """Predict new recordings; returns the recordings that failed, with the reasons."""
    # Imported here so that other flows do not load torch.
    from birdclef.predict_recordings import predict_with

    outcome = predict_with(source, recordings, output, form, threshold)
    get_run_logger().info("predict: %s: %s", outcome.describe(), output)
    return {str(recording): reason for recording, reason in outcome.failures.items()}
