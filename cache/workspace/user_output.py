"""Files that a user names as output: they replace no recording, no part of a workspace, and no device."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cache.workspace.atomic_files import replace_atomically
from cache.workspace.keys import KINDS
from cache.workspace.provenance import is_finished

STANDARD_OUTPUT = Path("-")
_WORK = (".staging", ".work")
"""Folders that show that their parent is a workspace."""
_OWN = (*KINDS, *_WORK, "models", "looks", "hashes", "similarities")
"""Folders of a workspace."""
_BINARY = (".onnx", ".png")
"""Suffixes of outputs that are no text."""
_HEAD_BYTES = 2048


def check_output(output: Path, inputs: Iterable[Path] = ()) -> None:
    """Check a file that a user names as output.

    Args:
        output: File to write; `-` is the standard output.
        inputs: Files that the output is made from.

    Raises:
        ValueError: If it is one of the inputs, is there already and is neither text nor a model or picture, or lies in
            an artefact or in a folder of a workspace.
        IsADirectoryError: If it is a folder.
    """
    if output == STANDARD_OUTPUT:
        return
    if output.is_dir():
        raise IsADirectoryError(f"The output {output} is a folder. Name a file in it.")
    if output.exists() and any(each.exists() and each.samefile(output) for each in inputs):
        raise ValueError(f"The output {output} is one of the files to read. Name another file.")
    if output.is_file() and output.suffix not in _BINARY and _is_binary(output):
        raise ValueError(
            f"The output {output} would replace a file that is not text: it may be a recording. Name another file, or "
            "remove this one first."
        )
    for folder in output.resolve().parents:
        of_workspace = folder.name in _OWN and any((folder.parent / name).is_dir() for name in _WORK)
        if of_workspace or is_finished(folder):
            raise ValueError(
                f"The output {output} lies in {folder}, which belongs to a workspace and must not change. Name a file "
                "elsewhere."
            )


def _is_binary(path: Path) -> bool:
    """Whether a file begins as recordings, models and archives do, but no text."""
    with path.open("rb") as stream:
        return b"\0" in stream.read(_HEAD_BYTES)


def is_regular(output: Path) -> bool:
    """Whether an output is or becomes a regular file, and no standard output, device or FIFO."""
    return output != STANDARD_OUTPUT and (output.is_file() or not output.exists())


@contextmanager
def write_output(output: Path, inputs: Iterable[Path] = ()) -> Iterator[Path]:
    """Yields the path to write for a file that a user names as output; missing folders are made.

    A regular file appears complete or not at all, also behind a link. Into anything else, such as /dev/null or a FIFO,
    the block writes directly.

    Raises:
        ValueError, IsADirectoryError: As `check_output`.
    """
    check_output(output, inputs)
    if output == STANDARD_OUTPUT:
        yield Path("/dev/stdout")
    elif not is_regular(output):
        yield output
    else:
        target = output.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_atomically(target) as partial:
            yield partial
