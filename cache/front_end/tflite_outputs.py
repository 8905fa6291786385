"""Inner tensors of a TFLite file as outputs of it.

An interpreter gives the values of outputs only: whatever lies between is fused away (or, if it is told to keep all
tensors, costs four times the time and five times the memory with BirdNET V2.4). So the file is given another list of
outputs before it is loaded; nothing else in it changes.
"""

import struct
from collections.abc import Sequence

_SUBGRAPHS, _OUTPUTS = 2, 2
"""Places of these fields in the tables `Model` and `SubGraph` of TensorFlow Lite's schema, version 3."""


def replace_outputs(content: bytes, tensors: Sequence[int]) -> bytes:
    """Returns a TFLite file whose first subgraph gives other tensors.

    The list is appended, and the offset to it written over the one to the list that was there.

    Args:
        content: Of the file, a FlatBuffer.
        tensors: Indices of the tensors.
    """
    buffer = bytearray(content)
    model = _follow(buffer, 0)
    subgraphs = _follow(buffer, _field(buffer, model, _SUBGRAPHS))
    first = _follow(buffer, subgraphs + 4)  # the length of the list comes before its items
    outputs = _field(buffer, first, _OUTPUTS)
    buffer += bytes(-len(buffer) % 4)
    struct.pack_into("<I", buffer, outputs, len(buffer) - outputs)
    buffer += struct.pack(f"<{1 + len(tensors)}I", len(tensors), *tensors)
    return bytes(buffer)


def _follow(buffer: bytearray, place: int) -> int:
    """Returns where the offset at a place leads."""
    return place + int(struct.unpack_from("<I", buffer, place)[0])


def _field(buffer: bytearray, table: int, number: int) -> int:
    """Returns the place of a table's field."""
    fields = table - int(struct.unpack_from("<i", buffer, table)[0])
    return table + int(struct.unpack_from("<H", buffer, fields + 4 + 2 * number)[0])
