"""Writes headers for sound whose own header states a wrong size."""

import struct
from collections.abc import Mapping

LARGEST = 0xFFFF_FFFF
"""Size that says that the real one is unknown, or stands elsewhere."""


def write_header(kind: str, chunks: Mapping[bytes, bytes], header: bytes, size: int) -> bytes | None:
    """Returns a header for the same samples with another size; None if no header can state that.

    Args:
        kind: FFmpeg's name of the kind of file: wav, w64, aiff or caf.
        chunks: Bodies of the chunks in front of the sound, by the first four letters of their names.
        header: All bytes in front of the sound.
        size: Size of the sound in bytes.
    """
    if kind == "caf":
        return header[:-12] + struct.pack(">Q", size + 4) + header[-4:]
    if kind == "aiff":
        return _write_au(chunks[b"COMM"])
    return _write_wave(chunks[b"fmt "], size)


def _write_wave(form: bytes, size: int) -> bytes:
    """Returns the header of a WAV file, or of an RF64 file (EBU Tech 3306) if the sound is too long for it.

    Args:
        form: Body of the chunk `fmt `.
        size: Size of the sound in bytes.
    """
    chunk = struct.pack("<4sI", b"fmt ", len(form)) + form + bytes(len(form) % 2)
    whole = len(chunk) + size + 12
    if whole < LARGEST:
        return struct.pack("<4sI4s", b"RIFF", whole, b"WAVE") + chunk + struct.pack("<4sI", b"data", size)
    samples = size // max(1, struct.unpack_from("<H", form, 12)[0])
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, whole, size, samples, 0)
    return struct.pack("<4sI4s", b"RF64", LARGEST, b"WAVE") + sizes + chunk + struct.pack("<4sI", b"data", LARGEST)


def _write_au(comm: bytes) -> bytes | None:
    """Returns the header of an AU file of unknown size: it holds the samples of AIFF files, which end at 4 GiB.

    Args:
        comm: Body of the chunk `COMM`.

    Returns:
        None if AU files cannot hold such samples.
    """
    width = -(-struct.unpack_from(">H", comm, 6)[0] // 8)
    compression = comm[18:22] or b"NONE"
    if compression in {b"NONE", b"twos", b"sowt"}:
        encoding = {1: 2, 2: 3, 3: 4, 4: 5}.get(width)
    else:
        encoding = {b"fl32": 6, b"FL32": 6, b"fl64": 7, b"FL64": 7, b"ulaw": 1, b"alaw": 27}.get(compression)
    rate, channels = read_extended(comm[8:18]), struct.unpack_from(">H", comm)[0]
    if encoding is None or rate > LARGEST:
        return None
    name, order = (b"dns.", "<") if compression == b"sowt" else (b".snd", ">")
    return name + struct.pack(order + "5I", 24, LARGEST, encoding, rate, channels)


def read_extended(number: bytes) -> int:
    """Returns the whole part of a positive number of 80 bits (IEEE 754, extended precision, big-endian)."""
    exponent, mantissa = struct.unpack(">HQ", number)
    return int(mantissa >> max(0, 16_383 + 63 - exponent))
