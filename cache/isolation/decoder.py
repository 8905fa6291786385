"""Decodes untrusted recordings in a child process, so that a crash, a hang or full memory ends only the child.

A recording that crashes its decoder, hangs it or fills the memory is unusable audio; the caller goes on. The child
bounds what a recording costs, and keeps crashes away from the caller. It is no sandbox: it has the rights of its user.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard
from cache.audio.decoding import UnusableAudioError
from cache.isolation.decoder_child import Decoded, answer
from cache.isolation.endings import describe_ending, is_from_outside
from cache.isolation.fork_server import ForkedProcess
from cache.isolation.kept_server import KeptServer
from cache.isolation.limits import Limits
from cache.isolation.messages import Raised, Ready

_START_SECONDS = 120.0  # on a busy machine
_STARTS = 3
"""Attempts to start a child: a server that ends because it was idle may take a request with it."""
_lock = Lock()
# imported before the memory limit is set, which might forbid to load it later
_server = KeptServer(answer, ["av.filter"])


def prepare_decoder() -> None:
    """Start the server of the children now, so that it imports its modules while this process does other work."""
    with _lock:
        _server.living()


def stream_isolated(
    path: Path, sample_rate: int, limits: Limits, heard: Heard | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yields the pieces of `stream_waveform`, which a child process decodes while the caller works on the last one.

    Args:
        path: As in `stream_waveform`.
        sample_rate: As in `stream_waveform`.
        limits: Limits of the child.
        heard: As in `stream_waveform`.

    Raises:
        OSError: As in `stream_waveform`.
        RuntimeError: If no child starts.
        UnusableAudioError: As in `stream_waveform`, or with reason `crash`, `killed`, `timeout` or `too_large`; also if
            there are more samples than the file can hold.
    """
    for piece in _ask(("stream", path, sample_rate), limits):
        if heard:
            heard.reach(piece.seconds)
            heard.sample_rate = piece.sample_rate
        yield piece.values


def decode_isolated(audio: bytes, sample_rate: int, limits: Limits) -> NDArray[np.float32]:
    """Returns the waveform of `decode_waveform`, which a child process decodes.

    Args:
        audio: As in `decode_waveform`.
        sample_rate: As in `decode_waveform`.
        limits: Limits of the child; the time is that of the whole file.

    Raises:
        RuntimeError: If no child starts.
        UnusableAudioError: As in `decode_waveform`, or with reason `crash`, `killed`, `timeout` or `too_large`.
    """
    (piece,) = _ask(("decode", audio, sample_rate), limits)
    values: NDArray[np.float32] = piece.values
    return values


def read_header_seconds(paths: Sequence[Path]) -> list[float]:
    """Returns the `header_seconds` of files, which a child process reads; 0 for a file that ends its child.

    Raises:
        RuntimeError: If no child starts.
    """
    seconds: list[float] = []
    while len(seconds) < len(paths):
        try:
            seconds.extend(_ask(("headers", paths[len(seconds) :]), Limits()))
        except UnusableAudioError:  # those that came before it are in the list
            seconds.append(0.0)
    return seconds


def _ask(request: tuple[Any, ...], limits: Limits) -> Iterator[Any]:
    """Yields what a new child answers to a request of `answer`."""
    process, pid = _start_child()
    try:
        process.connection.send((limits.memory_gb, *request))
        while not isinstance(message := _receive(process, limits), Decoded):
            if isinstance(message, Raised):
                raise message.error
            yield message
    except ConnectionError as error:  # of the request
        raise _judge_death(process.wait()) from error
    finally:
        process.kill(pid)
        process.close()


def _receive(process: ForkedProcess, limits: Limits) -> Any:
    if not process.connection.poll(limits.seconds):
        raise UnusableAudioError("timeout", f"no sample was decoded within {limits.seconds:g} s")
    try:
        return process.receive()
    except EOFError as error:
        raise _judge_death(process.wait()) from error


def _start_child() -> tuple[ForkedProcess, int]:
    """Returns a child that is ready, and its process id."""
    for _ in range(_STARTS):
        with _lock:
            process = _server.living().fork()
        try:
            if process.connection.poll(_START_SECONDS):
                ready: Ready = process.receive()
                return process, ready.pid
            told = f"it did not start within {_START_SECONDS:g} s"
        except EOFError:
            told = process.last_words() or "its server ended"
        process.kill(None)
        process.close()
    raise RuntimeError(f"No process could be started to decode recordings: {told}.")


def _judge_death(status: int) -> UnusableAudioError:
    ending = describe_ending(status)
    if is_from_outside(status):
        told = f"its process was killed from outside ({ending}), as when memory runs out: see dmesg"
        return UnusableAudioError("killed", told)
    return UnusableAudioError("crash", f"its decoding ended the process ({ending})")
