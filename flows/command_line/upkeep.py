"""The commands that maintain a workspace: `birdclef status`, `verify` and `gc`."""

import json
from dataclasses import asdict
from shutil import disk_usage
from typing import Annotated

import typer

from cache.config.data import DataConfig
from cache.config.features import FeatureConfig
from cache.workspace.workspace import Workspace
from flows.command_line.options import WORKSPACE, Config, Overrides, WorkspaceAddress
from flows.experiment import load_config
from flows.monitoring.runs import format_runs, read_runs
from flows.monitoring.server_api import api_url
from flows.monitoring.status import format_size, format_status, read_status, read_unfinished
from flows.settings import apply_settings, show_messages_here


def status(
    workspace: WorkspaceAddress = WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the runs of the server, and the artefacts of a workspace with lineage, size and age."""
    opened, url = Workspace.open(workspace), api_url()
    try:
        runs, silence = read_runs(url), ""
    except OSError as error:
        runs, silence = None, str(error)
    artefacts, at_work = list(read_status(opened)), opened.is_at_work()
    if as_json:
        found = {
            "workspace": str(workspace),
            "artefacts": [asdict(artefact) for artefact in artefacts],
            "unfinished": read_unfinished(opened),
            "total_bytes": sum(artefact.size_bytes for artefact in artefacts),
            "free_bytes": disk_usage(opened.directory).free if opened.directory.is_dir() else None,
            "at_work": at_work,
            "server": None if runs is None else url,
            "runs": [asdict(run) for run in runs or ()],
        }
        typer.echo(json.dumps(found))
        return
    typer.echo(format_status(artefacts, opened))
    typer.echo(f"{'something' if at_work else 'nothing'} is being built in the workspace")
    typer.echo(silence if runs is None else format_runs(runs, url))


def verify(
    config: Config,
    overrides: Overrides = None,
    workspace: WorkspaceAddress = WORKSPACE,
    share: Annotated[float, typer.Option(help="Share of the parts to read completely.", min=0, max=1)] = 1.0,
    repair: Annotated[bool, typer.Option(help="Compute damaged parts again; remove other damaged artefacts.")] = True,
) -> None:
    """Check an experiment's features, and all artefacts, against digests; the exit status is 1 if damage remains."""
    from cache.features import feature_recipe

    apply_settings()
    show_messages_here()
    experiment, opened = load_config(config, overrides or ()), Workspace.open(workspace)
    every = (experiment.features, *experiment.member_features.values())
    stores = {feature_recipe(features).key: features for features in every}
    sound = []
    for features in stores.values():
        sound.append(_verify(experiment.data, features, opened, share, repair=repair))
        sound.append(_verify_copies(experiment.data, features, opened, share, repair=repair))
    sound.append(_verify_artefacts(opened, repair=repair))
    if not all(sound):
        raise typer.Exit(1)


def _verify_artefacts(workspace: Workspace, *, repair: bool) -> bool:
    """Returns whether all artefacts are sound and complete; prints which files are damaged, and what is missing."""
    from birdclef.scores.lineage import find_incomplete_reports
    from birdclef.scores.report_file import read_report
    from cache.verify import verify_artefacts

    damaged = verify_artefacts(workspace, repair=repair)
    for artefact, files in damaged.items():
        typer.echo(f"{artefact.parent.name}/{artefact.name}: not what was published: {', '.join(files)}")
    if damaged and repair:
        typer.echo("The artefacts above were removed. The commands that made them make them again.")
    elif damaged:
        typer.echo("The artefacts above are damaged. To remove them, leave out --no-repair.")
    incomplete = find_incomplete_reports(workspace)
    for report, runs in incomplete.items():
        typer.echo(
            f"{report.parent.name}/{report.name} cannot predict, because it lacks runs/{', runs/'.join(runs)}. To make "
            f"what is missing again: {read_report(report)['command']}"
        )
    if not damaged and not incomplete:
        typer.echo(f"All artefacts in {workspace.directory} are sound.")
    return not damaged and not incomplete


def _verify_copies(
    data: DataConfig, features: FeatureConfig, workspace: Workspace, share: float, *, repair: bool
) -> bool:
    """Returns whether the stores of the noisy copies are sound after the check; prints their damage.

    The features must be checked before, because their strips decide which noise the copies hold.
    """
    from cache.background import list_copies
    from cache.store.fragment import DamagedPartError

    try:
        copies = list_copies(data, features, workspace)
    except DamagedPartError:
        typer.echo("The noisy copies were not checked: the damaged parts above must be computed again first.")
        return False
    sound = [_verify(data, copy, workspace, share, repair=repair) for copy in copies]  # all are checked
    return all(sound)


def _verify(data: DataConfig, features: FeatureConfig, workspace: Workspace, share: float, *, repair: bool) -> bool:
    """Returns whether no damage remains in a store after the check; prints what was wrong.

    Lost strips of another data set remain damage, because only a build of that data set brings them back.
    """
    from cache.verify import verify

    verdict = verify(data, features, workspace, share, repair=repair)
    for damage in verdict.damages:
        typer.echo(f"part {damage.part}: {damage.problem} ({len(damage.strips)} strips)")
    for recording in verdict.changed:
        typer.echo(f"{recording}: the audio changed, but its size and modification time did not")
    if verdict.intact:
        typer.echo(f"{verdict.store.path} is sound.")
        return True
    found = {"damaged parts": verdict.damages, "changed audio files": verdict.changed}
    wrong = " and the ".join(name for name, items in found.items() if items)
    if not repair:
        state = "is damaged" if verdict.damages else "is not damaged, but audio files have changed"
        typer.echo(f"{verdict.store.path} {state}. To compute the {wrong} above again, leave out --no-repair.")
        return False
    typer.echo(f"{verdict.store.path}: the {wrong} above were computed again.")
    if verdict.lost:
        typer.echo(
            f"{len(verdict.lost)} strips of another data set were lost: run `birdclef features` for that data set."
        )
    return not verdict.lost


def gc(
    workspace: WorkspaceAddress = WORKSPACE,
    keep_reports: Annotated[
        int | None,
        typer.Option(
            help="Number of newest reports to keep, besides the champion, the one before and the best; default: all.",
            min=1,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without confirmation.")] = False,
) -> None:
    """List the artefacts that no report or run needs, and remove them after confirmation."""
    from birdclef.champion import old_reports
    from cache.garbage import collect_garbage, find_garbage

    opened = Workspace.open(workspace)
    dropped = [] if keep_reports is None else old_reports(opened, keep_reports)
    garbage = find_garbage(opened, dropped)
    for item in garbage:
        typer.echo(f"{format_size(item.size_bytes):>9}  {item.path.relative_to(opened.directory)}: {item.why}")
    if not garbage:
        typer.echo(f"There is nothing to remove in {workspace}.")
        return
    if not yes:
        typer.confirm(f"Remove {format_size(sum(item.size_bytes for item in garbage))}?", abort=True)
    collect_garbage(opened, garbage, dropped)
