"""Decodes recordings that nobody has decoded before in a child process, which bears what they do to it.

A recording that crashes its decoder, hangs it or fills the memory is unusable audio; the caller goes on.
"""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard
from cache.audio.decoding import UnusableAudioError
from cache.isolation.decoder_child import Decoded, Ready, answer
from cache.isolation.fork_server import ForkedProcess
from cache.isolation.kept_server import KeptServer

SECONDS = 300.0
"""A recording that gives no sample for this time is unusable."""
_START_SECONDS = 120.0  # on a busy machine
_lock = Lock()
# imported before the memory limit is set, which might forbid to load it later
_server = KeptServer(answer, ["av.filter"])


def prepare_decoder() -> None:
    """Start the server of the children now, so that it imports its modules while this process does other work."""
    with _lock:
        _server.living()


def stream_isolated(path: Path, sample_rate: int, heard: Heard | None = None) -> Iterator[NDArray[np.float32]]:
    """Yields the pieces of `stream_waveform`, which a child process decodes while the caller works on the last one.

    Args:
        path: As in `stream_waveform`.
        sample_rate: As in `stream_waveform`.
        heard: As in `stream_waveform`.

    Raises:
        OSError: As in `stream_waveform`.
        UnusableAudioError: As in `stream_waveform`, or with reason `crash`, `timeout` or `too_large`.
    """
    for piece in _ask(("stream", path, sample_rate)):
        if heard:
            heard.reach(piece.seconds)
            heard.sample_rate = piece.sample_rate
        yield piece.values


def decode_isolated(audio: bytes, sample_rate: int) -> NDArray[np.float32]:
    """Returns the waveform of `decode_waveform`, which a child process decodes.

    Args:
        audio: As in `decode_waveform`.
        sample_rate: As in `decode_waveform`.

    Raises:
        UnusableAudioError: As in `decode_waveform`, or with reason `crash`, `timeout` or `too_large`.
    """
    (piece,) = _ask(("decode", audio, sample_rate))
    values: NDArray[np.float32] = piece.values
    return values


def read_header_seconds(paths: Sequence[Path]) -> list[float]:
    """Returns the `header_seconds` of files, which a child process reads; 0 for a file that ends its child."""
    seconds: list[float] = []
    while len(seconds) < len(paths):
        try:
            seconds.extend(_ask(("headers", paths[len(seconds) :])))
        except UnusableAudioError:  # those that came before it are in the list
            seconds.append(0.0)
    return seconds


def _ask(request: tuple[Any, ...]) -> Iterator[Any]:
    """Yields what a new child answers to a request of `answer`."""
    with _lock:
        process = _server.living().fork()
    pid: int | None = None
    try:
        process.connection.send(request)
        while not isinstance(message := _receive(process, pid), Decoded):
            if isinstance(message, Ready):
                pid = message.pid
            elif isinstance(message, Exception):
                raise message
            else:
                yield message
    except (EOFError, ConnectionError) as error:
        status = process.wait()
        ending = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise UnusableAudioError("crash", f"its decoding ended the process ({ending})") from error
    finally:
        process.kill(pid)
        process.close()


def _receive(process: ForkedProcess, pid: int | None) -> Any:
    limit = SECONDS if pid else _START_SECONDS
    if not process.connection.poll(limit):
        if pid is None:
            raise TimeoutError(f"A process that decodes did not start within {limit:g} s.")
        raise UnusableAudioError("timeout", f"no sample was decoded within {limit:g} s")
    return process.connection.recv()
