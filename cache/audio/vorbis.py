"""Decodes Ogg Vorbis by FFmpeg, whose decoder takes some three quarters of libvorbis's time. Browsers use it too.

FFmpeg itself loops over the packets. A loop in Python by PyAV would take as long as the decoding.
"""

import os
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cache.audio.decoded_length import is_plausible
from cache.audio.ogg import FIRST_PAGE, PAGE, ends_with_page, last_granule_position

_FIRST_PACKET = slice(28, 35)  # bytes of the first packet; the first page of a stream holds one packet
_SAMPLES = 32_768  # per channel and call
HAS_MEMORY_FILES = hasattr(os, "memfd_create") and Path("/proc/self/fd").exists()


def decode_vorbis(audio: bytes) -> tuple[NDArray[np.float32], int] | None:
    """Returns the samples of an Ogg file with one Vorbis stream, (channels, samples), and their sample rate in Hz.

    The samples equal those of libvorbis within 1e-6 of full scale. If the number of decoded samples differs from what
    the last page states, returns None. This happens if the file is cut off, damaged, chained, or recorded from the
    middle of a stream.

    Args:
        audio: A whole file.

    Returns:
        None for other kinds of files, and on systems without files in memory. With three or more channels, the channels
        may be in another order than in libsndfile.

    Raises:
        MemoryError: If there is no memory for the samples.
        OSError: If the system cannot make a file in memory.
    """
    if not (HAS_MEMORY_FILES and audio.startswith(PAGE) and audio[_FIRST_PACKET] == b"\x01vorbis"):
        return None
    if audio.find(FIRST_PAGE, _FIRST_PACKET.stop) >= 0:
        return None  # another stream, of which FFmpeg may say nothing
    if not ends_with_page(audio):
        return None  # cut off, or another file is joined to it
    stated = last_granule_position(audio)
    if stated <= 0 or not is_plausible(stated, len(audio)):
        return None
    # Imported here because most programs that import this module decode nothing.
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
    """Returns the samples of an Ogg file, (channels, samples), and their sample rate in Hz.

    Args:
        path: Path of the file.
        stated: Number of samples that the last page states.

    Returns:
        None if the number of decoded samples differs from `stated`.

    Raises:
        FFmpegError: If the file does not decode.
        MemoryError: If there is no memory for the samples.
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
