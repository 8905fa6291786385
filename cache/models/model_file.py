"""Checks files of models before a runtime loads them: size, and whether all content lies in the one file."""

import struct
from pathlib import Path
from typing import Any

MOST_BYTES = 2**31 - 1
"""Largest size of a model's file: Protocol Buffers (ONNX) and FlatBuffers (TFLite) hold no more in one file."""
_ONNX_EXTRA = "A model in ONNX needs onnx and onnxruntime. Run: pip install 'birdclef[onnx]'."
_EXTERNAL_GROUPS, _EXTERNAL_BUFFERS = 8, 9
"""Numbers of these fields of the table `Model` in TensorFlow Lite's schema."""


def check_size(path: Path) -> None:
    """Refuse a model's file that is larger than its format allows, before the file is read.

    Raises:
        ValueError: If the file is no regular file, or larger than `MOST_BYTES`.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no regular file. Give the file of a model.")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(
            f"{path} has {size:,} bytes, but a model's file holds {MOST_BYTES:,} at most. Give a smaller model."
        )


def check_onnx(path: Path) -> None:
    """Refuse an ONNX file whose tensors lie in other files, or that is too large.

    ONNX Runtime would read these other files. A digest of the ONNX file does not cover them, and they may be any file
    that the user can read.

    Raises:
        ImportError: If the package onnx is not installed.
        ValueError: If the file is too large, is no ONNX file, or names another file.
    """
    check_size(path)
    try:
        import onnx
        from google.protobuf.message import DecodeError, Message
    except ImportError as error:
        raise ImportError(_ONNX_EXTRA) from error
    try:
        model = onnx.load_model(path, load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{path} is not a readable ONNX file ({error}).") from error

    def is_external(message: Any) -> bool:
        """Returns whether a tensor in a protocol buffer, at any depth, lies in another file."""
        if isinstance(message, onnx.TensorProto):
            return bool(message.data_location) or bool(message.external_data)
        fields = [value for field, value in message.ListFields() if field.message_type is not None]
        return any(any(map(is_external, [value] if isinstance(value, Message) else value)) for value in fields)

    if is_external(model):
        raise ValueError(
            f"{path} keeps weights in another file, and birdclef reads one file only. If you trust the model, put all "
            "weights into one file: onnx.save(onnx.load(path), path)."
        )


def check_tflite(path: Path, content: bytes) -> None:
    """Refuse a TFLite file whose weights lie in other files.

    Args:
        path: Path of the file, for messages.
        content: Content of the file.

    Raises:
        ValueError: If the file names another file, or is no FlatBuffer.
    """
    try:
        external = [_is_set(content, field) for field in (_EXTERNAL_GROUPS, _EXTERNAL_BUFFERS)]
    except struct.error as error:
        raise ValueError(f"{path} is not a readable TFLite file ({error}).") from error
    if any(external):
        raise ValueError(
            f"{path} keeps weights in another file, and birdclef reads one file only. Convert the model to one file."
        )


def _is_set(content: bytes, field: int) -> bool:
    """Returns whether a field of the root table of a FlatBuffer is set."""
    (table,) = struct.unpack_from("<I", content, 0)
    (back,) = struct.unpack_from("<i", content, table)
    fields = table - back
    (size,) = struct.unpack_from("<H", content, fields)  # of the table of fields, which omits the last unset ones
    place = 4 + 2 * field
    return place + 2 <= size and bool(struct.unpack_from("<H", content, fields + place)[0])
