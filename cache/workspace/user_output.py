"""Files that a user names as output: they replace no file of another kind, no part of a workspace, and no device."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from cache.workspace.atomic_files import replace_atomically
from cache.workspace.keys import KINDS
from cache.workspace.provenance import is_finished

OutputKind = Literal["text", "png", "onnx"]
"""What an output holds."""
_STANDARD_OUTPUT = 1
"""Descriptor of the standard output."""
_DASH = Path("-")
_DESCRIPTORS = ("/dev/fd", "/proc/self/fd")
"""Folders that list the open descriptors of this process."""
_MAX_LINKS = 40
_WORK = (".staging", ".work")
"""Folders that show that their parent is a workspace."""
_OWN = (*KINDS, *_WORK, "models", "looks", "hashes", "similarities")
"""Folders of a workspace."""
_HEAD_BYTES = 2048
_NOT_IN_TEXT = bytes((*range(7), *range(14, 27), *range(28, 32), 127))
"""Control characters that text has in no encoding; file(1) tells text from data by the same characters."""
_FIRST_BYTES = {"png": b"\x89PNG\r\n\x1a\n", "onnx": b"\x08"}
"""How a file of each kind begins; a file of ONNX begins with the field `ir_version`."""
_OTHER_KIND = {
    "text": "not text: it may be a recording",
    "png": "no PNG picture",
    "onnx": "no ONNX model",
}


def check_output(output: Path, inputs: Iterable[Path] = (), kind: OutputKind = "text") -> None:
    """Check a file that a user names as output.

    Args:
        output: File to write; `-` is the standard output.
        inputs: Files that the output is made from, and folders to which no file may be added.
        kind: What the output holds. It replaces only a file of the same kind.

    Raises:
        ValueError: If it is one of the inputs or lies in one, is there already and of another kind, lies in an artefact
            or in a folder of a workspace, or is a descriptor that is not open.
        IsADirectoryError: If it is a folder.
        NotADirectoryError: If it lies below a file.
    """
    inputs = [each for each in inputs if each.exists()]
    descriptor = _own_descriptor(output)
    try:
        status = output.stat() if descriptor is None else os.fstat(descriptor)
    except OSError:
        status = None
    if status and any(os.path.samestat(each.stat(), status) for each in inputs if each.is_file()):
        raise ValueError(f"The output {output} is one of the files to read. Name another file.")
    if descriptor is not None:
        if not status:
            raise ValueError(f"The output {output} is not open. Name a file, or - for the standard output.")
        return
    if output.is_dir():
        raise IsADirectoryError(f"The output {output} is a folder. Name a file in it.")
    if output.is_file() and not _is_of_kind(output, kind):
        raise ValueError(
            f"The output {output} would replace a file that is {_OTHER_KIND[kind]}. Name another file, or remove this "
            "one first."
        )
    _check_folders(output, [each.resolve() for each in inputs])


def _check_folders(output: Path, inputs: list[Path]) -> None:
    """Check the folders above an output."""
    for folder in output.resolve().parents:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(
                f"The output {output} cannot lie in {folder}, which is a file and no folder. Name a file in a folder."
            )
        of_workspace = folder.name in _OWN and any((folder.parent / name).is_dir() for name in _WORK)
        if of_workspace or is_finished(folder):
            raise ValueError(
                f"The output {output} lies in {folder}, which belongs to a workspace and must not change. Name a file "
                "elsewhere."
            )
        if folder in inputs:
            raise ValueError(f"The output {output} lies in {folder}, a folder of files to read. Name a file elsewhere.")


def _is_of_kind(path: Path, kind: OutputKind) -> bool:
    """Whether a file begins as files of this kind do; an empty file is of every kind."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if kind == "text":
        return head.translate(None, _NOT_IN_TEXT) == head
    return not head or head.startswith(_FIRST_BYTES[kind])


def _own_descriptor(output: Path) -> int | None:
    """Returns the descriptor of this process that a path stands for: 1 for `-` and /dev/stdout; None for a file."""
    if output == _DASH:
        return _STANDARD_OUTPUT
    folders = {os.path.realpath(folder) for folder in _DESCRIPTORS}
    path = output
    for _ in range(_MAX_LINKS):
        folder = os.path.realpath(path.parent)
        if folder in folders and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder) / path.readlink()
    return None


def is_standard_output(output: Path) -> bool:
    """Whether an output is the standard output, so that messages must go elsewhere."""
    return _own_descriptor(output) == _STANDARD_OUTPUT


def is_regular(output: Path) -> bool:
    """Whether an output is or becomes a regular file, and no standard output, device or FIFO."""
    return _own_descriptor(output) is None and (output.is_file() or not output.exists())


@contextmanager
def write_output(output: Path, inputs: Iterable[Path] = (), kind: OutputKind = "text") -> Iterator[BinaryIO]:
    """Yields the stream to write for a file that a user names as output; missing folders are made.

    A regular file appears complete or not at all, also behind a link. Into anything else, such as the standard output,
    /dev/null or a FIFO, the block writes directly.

    Arguments and errors are those of `check_output`.
    """
    if is_regular(output):
        with replace_output(output, inputs, kind) as partial, partial.open("wb") as stream:
            yield stream
        return
    check_output(output, inputs, kind)
    descriptor = _own_descriptor(output)
    # a file behind a descriptor goes on where it is: opened by its name, it would be emptied
    with output.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb") as stream:
        yield stream


@contextmanager
def replace_output(output: Path, inputs: Iterable[Path] = (), kind: OutputKind = "text") -> Iterator[Path]:
    """Yields the path to write for an output that is or becomes a regular file; missing folders are made.

    The file appears complete or not at all, also behind a link. Arguments and errors are those of `check_output`.
    """
    check_output(output, inputs, kind)
    target = output.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(target) as partial:
        yield partial
