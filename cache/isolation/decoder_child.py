"""The child's side of `cache.isolation.decoder`: a process that answers one request."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard, is_plausible
from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.audio.streaming import header_seconds, stream_waveform
from cache.isolation.limits import end_with, limit_memory
from cache.isolation.messages import Raised, Ready


@dataclass(frozen=True)
class Piece:
    """Message: a piece of a waveform.

    Attributes:
        values: Piece of the waveform, (samples,).
        seconds: Seconds of the recording that are decoded so far.
        sample_rate: Sample rate of the recording itself, Hz.
    """

    values: NDArray[np.float32]
    seconds: float = 0.0
    sample_rate: int = 0


@dataclass(frozen=True)
class Decoded:
    """Message: that was all."""


def answer(connection: Connection, server: int) -> None:
    """Answer one request: `Ready`, then the answers, and at the end `Decoded` or `Raised`.

    Args:
        connection: Connection to the parent. It brings the GB of memory that the child may take, and `"stream", path,
            sample_rate` or `"decode", bytes, sample_rate` or `"headers", paths`. Pieces go back, and for headers the
            seconds of each file.
        server: Process id of the fork server.
    """
    end_with(server)
    connection.send(Ready(os.getpid()))
    memory_gb, task, source, *settings = connection.recv()
    limit_memory(memory_gb)
    outcome: Any = Decoded()
    try:
        for message in _TASKS[task](source, *settings):
            connection.send(message)
    except MemoryError:
        outcome = Raised(UnusableAudioError("too_large", f"decoding takes more than {memory_gb:g} GB of memory"))
    except Exception as error:  # the parent raises it again
        outcome = Raised.from_error(error)
    connection.send(outcome)


def _stream(path: Any, sample_rate: int) -> Iterator[Piece]:
    heard, size = Heard(), path.stat().st_size
    for waveform in stream_waveform(path, sample_rate, heard):
        if not is_plausible(round(heard.seconds * heard.sample_rate), size):
            told = f"after {heard.seconds / 3600:.1f} h there are more samples than {size:,} bytes can hold"
            raise UnusableAudioError("too_large", told)
        yield Piece(waveform, heard.seconds, heard.sample_rate)


def _decode(audio: bytes, sample_rate: int) -> Iterator[Piece]:
    yield Piece(decode_waveform(audio, sample_rate))


def _headers(paths: Any) -> Iterator[float]:
    return map(header_seconds, paths)


_TASKS: dict[str, Any] = {"stream": _stream, "decode": _decode, "headers": _headers}
