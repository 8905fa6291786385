"""The flow of `birdclef sweep`: one report for every combination of settings."""

from prefect import flow

from flows.configuration.overrides import as_overrides
from flows.configuration.presets import read_argument
from flows.experiment import expand_grid, load_config
from flows.input_check import check_inputs
from flows.prefect_ui.failures import fail_in_one_sentence
from flows.settings import show_stage_messages
from flows.stages import DEFAULT_CONFIG, HOOKS, keep_folds, make_report, resolve_workspace
from flows.tasks import sweep_task


@flow(name="birdclef-sweep", **HOOKS)
@fail_in_one_sentence
def sweep_flow(config: str = DEFAULT_CONFIG, overrides: list[str] | None = None, workspace: str | None = None) -> str:
    """Run the pipeline for every combination of settings in one workspace; returns the comparison's address.

    Args:
        config: Name of a preset, such as small, or path of a YAML file.
        overrides: Alternatives of each setting, as `section.key=[value, value]`.
        workspace: Directory or URL of the artefacts; if empty, $BIRDCLEF_WORKSPACE, else `workspace`.
    """
    show_stage_messages()
    path, opened = read_argument(config), resolve_workspace(workspace)
    settings = expand_grid(path, overrides or ())
    with opened.at_work():
        experiments = [load_config(path, as_overrides(setting)) for setting in settings]
        check_inputs(experiments, opened)
        reports = [make_report(keep_folds(experiment, opened), opened) for experiment in experiments]
        return opened.address(sweep_task(settings, reports, opened))
