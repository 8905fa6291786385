"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from flows.configuration.presets import read_argument

WorkspaceAddress = Annotated[
    str,
    typer.Option(envvar="BIRDCLEF_WORKSPACE", help="Directory of the artefacts, or a URL such as s3://bucket/folder."),
]
WORKSPACE = "workspace"

Config = Annotated[
    Path, typer.Argument(parser=read_argument, help="Preset, such as small, or YAML file of an experiment.")
]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as section.key=value; repeat for more.")]
