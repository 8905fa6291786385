"""Makes inner tensors of a TFLite file its outputs.

An interpreter gives the values of outputs only, because it fuses the tensors in between. It can keep all tensors, but
with BirdNET V2.4 this takes four times the time and five times the memory. So the list of outputs in the file is
replaced before the file is loaded; nothing else in the file changes.
"""

import struct
from collections.abc import Sequence

_SUBGRAPHS, _OUTPUTS = 2, 2
"""Numbers of these fields in the tables `Model` and `SubGraph` of TensorFlow Lite's schema, version 3."""


def replace_outputs(content: bytes, tensors: Sequence[int]) -> bytes:
    """Returns a TFLite file whose first subgraph has the given tensors as outputs.

    The new list is appended to the file, and the offset to the old list is overwritten with the offset to the new one.

    Args:
        content: Content of the file, a FlatBuffer.
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
    """Returns the place that the offset at `place` points to."""
    return place + int(struct.unpack_from("<I", buffer, place)[0])


def _field(buffer: bytearray, table: int, number: int) -> int:
    """Returns the place of field `number` of the table at `table`."""
    fields = table - int(struct.unpack_from("<i", buffer, table)[0])
    return table + int(struct.unpack_from("<H", buffer, fields + 4 + 2 * number)[0])
