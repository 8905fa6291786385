"""Ogg Vorbis by FFmpeg: its decoder, which browsers use as well, takes some three quarters of libvorbis's time.

The loop over packets is FFmpeg's own, for that of PyAV costs as much in Python as the decoding.
"""

import os
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cache.audio.ogg import PAGE, last_granule_position

_FIRST_PACKET = slice(28, 35)  # the page that begins a stream holds one packet
_SAMPLES = 32_768  # asked for at once, of each channel
HAS_MEMORY_FILES = hasattr(os, "memfd_create") and Path("/proc/self/fd").exists()


def decode_vorbis(audio: bytes) -> tuple[NDArray[np.float32], int] | None:
    """Returns the samples of a file, (channels, samples), and their rate in Hz, if it is one stream of Ogg Vorbis.

    They meet libvorbis's within 1e-6 of full scale. If other than as many decode as the last page states, as of a file
    that is cut off, damaged, chained or recorded from the middle of a stream, what to make of it is left to libsndfile.

    Args:
        audio: A whole file.

    Returns:
        None if it is something else, or this system has no files in memory. From three channels on they may be in
        another order than libsndfile's.

    Raises:
        MemoryError: If the samples, or those that the last page states, do not fit.
        OSError: If the system gives no file.
    """
    if not (HAS_MEMORY_FILES and audio.startswith(PAGE) and audio[_FIRST_PACKET] == b"\x01vorbis"):
        return None
    stated = last_granule_position(audio)
    if stated <= 0:
        return None
    # Imported here, for most of what imports this decodes nothing.
    from av import FFmpegError

    try:
        with os.fdopen(os.memfd_create("audio"), "wb") as file:
            file.write(audio)
            file.flush()
            return _decode_file(f"/proc/self/fd/{file.fileno()}", stated)
    except FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        return None


def _decode_file(path: str, stated: int) -> tuple[NDArray[np.float32], int] | None:
    """Returns the samples of an Ogg file, (channels, samples), and their rate; None if they are not as many as stated.

    Raises:
        FFmpegError, MemoryError: If they do not decode, or do not fit.
    """
    from av import AudioFrame
    from av.filter import Graph

    graph = Graph()
    graph.threads = 1
    source = graph.add("amovie", filename=path, format_name="ogg")
    graph.link_nodes(source, graph.add("asetnsamples", n=str(_SAMPLES), pad="0"), graph.add("abuffersink")).configure()
    channels, rate, found = np.empty((0, stated), np.float32), 0, 0
    try:
        while True:
            frame = cast("AudioFrame", graph.pull())
            samples = frame.to_ndarray()  # (channels, samples)
            if not found:
                channels, rate = np.empty((len(samples), stated), np.float32), frame.sample_rate
            if (len(samples), frame.sample_rate) != (len(channels), rate) or found + samples.shape[1] > stated:
                return None
            channels[:, found : found + samples.shape[1]] = samples
            found += samples.shape[1]
    except EOFError:
        return (channels, rate) if found == stated else None
