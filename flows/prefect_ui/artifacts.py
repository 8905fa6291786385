"""Shows artefacts in Prefect's UI: the report with its pictures, tables, and a page of the lineage of each artefact."""

import base64
import csv
import json
import re
from pathlib import Path
from typing import Any, cast

from prefect.artifacts import Artifact, create_markdown_artifact, create_table_artifact

from birdclef.report.markdown_text import code_span
from cache.workspace.keys import KINDS
from cache.workspace.provenance import is_finished, read_provenance
from cache.workspace.workspace import Workspace

REPORT = "report"
_LARGEST_PICTURE_BYTES = 1_000_000
_MOST_ROWS = 2_000
_SPECIES_COLUMNS = ("label", "common_name", "recordings", "scored")
_SCORE_COLUMNS = ("precision", "recall", "f1", "average_precision")


def show_page(text: str, key: str, description: str | None = None) -> None:
    """Show a page of Markdown with the present run; does nothing if it is the newest page of its key already.

    A run that changes nothing shows nothing, because its copies would fill Prefect's database: a report with its
    pictures takes half a megabyte.
    """
    if not _is_newest(text, key):
        create_markdown_artifact(text, key=key, description=description)


def show_table(rows: list[dict[str, Any]], key: str, description: str) -> None:
    """Show a table with the present run; does nothing if it is the newest table of its key already."""
    if not _is_newest(json.dumps(rows), key):
        create_table_artifact(rows, key=key, description=description)


def _is_newest(data: str, key: str) -> bool:
    newest = cast("Artifact | None", Artifact.get(key))  # a coroutine only where an event loop runs
    return newest is not None and newest.data == data


def show_report(report: Path, workspace: Workspace) -> None:
    """Show a report with its pictures and lineage, and a table of its species."""
    page = workspace.address(report / "report.html")
    markdown = _embed_pictures((report / "report.md").read_text(), report)
    show_page(
        f"{markdown}\n## Made from\n\n{_list_parts(find_ancestors(report, workspace))}",
        key=REPORT,
        description=f"Full report: {page}",
    )
    rows = [
        {name: row[name] for name in _SPECIES_COLUMNS} | {name: _round(row[name]) for name in _SCORE_COLUMNS}
        for row in _read(report / "per_species.csv")
    ]
    show_table(rows, key="species", description=f"Out-of-fold scores of each species in reports/{report.name}")


def show_quarantine(directory: Path, key: str = "quarantine") -> None:
    """Show a table of the quarantine of a catalogue or a background with the reasons, if it holds anything."""
    rows = _read(directory / "quarantine.csv")
    for row in rows:
        del row["sha256"]  # so long that it would push the reason out of the window
    if rows:
        shown = "" if len(rows) <= _MOST_ROWS else f"; the first {_MOST_ROWS:,} are listed"
        show_table(
            rows[:_MOST_ROWS],
            key=key,
            description=f"{len(rows):,} recordings in quarantine in {directory.parent.name}/{directory.name}{shown}",
        )


def show_lineage(artefact: Path, workspace: Workspace) -> None:
    """Show an artefact on its own page, with links to the pages of its inputs; does nothing if the page exists.

    The page belongs to the run that made the artefact, or to the first run that found it in the workspace.
    """
    if Artifact.get(page_key(artefact)) is not None:
        return
    provenance, inputs = read_provenance(artefact), find_inputs(artefact, workspace)
    address = workspace.address(artefact)
    create_markdown_artifact(
        f"{code_span(address)}, made {provenance['created']} in {provenance['seconds']:,.0f} s.\n\n"
        + (f"Made from:\n\n{_list_parts(inputs)}" if inputs else "Made from audio."),
        key=page_key(artefact),
        description=f"{artefact.parent.name}/{artefact.name}",
    )


def page_key(artefact: Path) -> str:
    """Returns the key of the Prefect artifact that is the page of an artefact; Prefect allows no underscore."""
    return f"{artefact.parent.name.replace('_', '-')}-{artefact.name}"


def find_inputs(artefact: Path, workspace: Workspace) -> list[Path]:
    """Returns the direct inputs of an artefact that have a page."""
    keys = read_provenance(artefact)["inputs"].values()
    kinds = [kind for kind in KINDS if kind != "features"]  # a store has no page: it grows, so no single run made it
    found = (workspace.directory / kind / key for key in keys for kind in kinds)
    return [directory for directory in found if is_finished(directory)]


def find_ancestors(artefact: Path, workspace: Workspace) -> list[Path]:
    """Returns the direct and indirect inputs of an artefact that have a page, in stage order."""
    ancestors: set[Path] = set()
    pending = [artefact]
    while pending:
        inputs = set(find_inputs(pending.pop(), workspace)) - ancestors
        ancestors |= inputs
        pending += inputs
    return sorted(ancestors, key=lambda path: (KINDS.index(path.parent.name), path.name))


def _list_parts(artefacts: list[Path]) -> str:
    # The links are relative, because Prefect has two UIs at two addresses.
    return "".join(f"- [{path.parent.name}/{path.name}](../key/{page_key(path)})\n" for path in artefacts)


def _embed_pictures(markdown: str, directory: Path) -> str:
    """Returns the Markdown with its pictures embedded, because a page cannot read files of the workspace."""

    def embed(found: re.Match[str]) -> str:
        png = (directory / found["path"]).read_bytes()
        if len(png) > _LARGEST_PICTURE_BYTES:
            return f"{found['title']}: `{found['path']}`, too large for this page."
        return f"![{found['title']}](data:image/png;base64,{base64.b64encode(png).decode()})"

    return re.sub(r"!\[(?P<title>[^]\n]*)\]\((?P<path>plots/\w+\.png)\)", embed, markdown)


def _read(table: Path) -> list[dict[str, Any]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _round(score: str) -> float | None:
    return round(float(score), 3) if score else None
