"""Options that several commands share."""

from typing import Annotated

import typer

Workspace = Annotated[
    str,
    typer.Option(envvar="BIRDCLEF_WORKSPACE", help="Directory of the artefacts, or a URL such as s3://bucket/folder."),
]
WORKSPACE = "workspace"
