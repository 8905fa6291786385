"""Finds frames of MPEG audio (ISO 11172-3, 2.4.1; ISO 13818-3), of which MP3 files consist."""

from collections.abc import Iterator
from itertools import chain, islice, pairwise
from typing import BinaryIO

from cache.audio.file_view import file_size, read_at, view_part, view_parts

RUN = 5
"""Frames in a row that are taken for sound: a tenth of a second. Fewer may be chance."""

_SHORTEST_FRAME = 24  # bytes: 8 kbit/s at 24 kHz
_HEAD_BYTES = 192  # a frame's header and side information, and the Xing header behind them
_DECODER_DELAY = 529  # samples of silence that libmpg123 drops if there is a Xing header
_SEARCHED_BYTES = 1 << 20
_KBITS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by version (3: MPEG-1, 2: MPEG-2 and 2.5) and layer (3: I, 2: II, 1: III), as a header codes them."""
_RATES = (44_100, 48_000, 32_000)


def frame_bytes(header: bytes) -> int:
    """Returns the length of the frame that begins with a header of four bytes; 0 if they are no header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3  # version 0 is MPEG-2.5
    kbits_place, rate_place, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 0 or not 1 <= kbits_place <= 14 or rate_place == 3:
        return 0
    first = version == 3
    kbits = _KBITS[3 if first else 2, layer if first or layer == 3 else 2][kbits_place - 1]
    rate = _RATES[rate_place] >> {3: 0, 2: 1, 0: 2}[version]
    if layer == 3:
        return (12_000 * kbits // rate + padding) * 4
    return (144_000 if first or layer == 2 else 72_000) * kbits // rate + padding


def find_frames(content: BinaryIO, place: int) -> int | None:
    """Returns where the next `RUN` frames in a row begin, at or behind a place; None if no more come."""
    size = file_size(content)
    while place < size:
        block = read_at(content, place, _SEARCHED_BYTES)
        start = block.find(b"\xff")
        while start >= 0:
            if _begins_run(content, place + start):
                return place + start
            start = block.find(b"\xff", start + 1)
        place += len(block)
    return None


def begins_sound(content: BinaryIO) -> bool:
    """Whether a file begins with frames, or with a tag and frames behind it."""
    return _begins_run(content, _skip_tag(content))


def _begins_run(content: BinaryIO, place: int) -> bool:
    return len(list(islice(_follow_frames(content, place), RUN))) == RUN


def _follow_frames(content: BinaryIO, place: int) -> Iterator[int]:
    """Yields where each frame ends that begins at a place or where the last one ended, while all are of one kind."""
    first = b""
    while length := frame_bytes(header := read_at(content, place, 4)):
        if first and _kind(header) != _kind(first):
            return
        first, place = first or header, place + length
        yield place


def _kind(header: bytes) -> tuple[int, int]:
    """Returns what all frames of a file have in common: version and layer, and the sample rate."""
    return header[1], header[2] & 0x0C


def leave_out_damage(content: BinaryIO, read: int) -> tuple[BinaryIO, int | None]:
    """Returns an MP3 file without damage that libmpg123 does not get over; also the place of a joined file, or None.

    libmpg123 gives up if no frame follows within 1,024 bytes. What lies between frames is left out from the place on
    where it gave up. What lies in front stays, so the samples there are the same.

    Args:
        content: A whole file.
        read: Bytes that libmpg123 had read when it gave up.
    """
    runs, following = _find_runs(content)
    if not runs:
        return view_parts(content, []), None
    gaps = [(end, start) for (_, end), (start, _) in pairwise([(0, _skip_tag(content)), *runs])]
    gave_up = max((end for end, _ in gaps if end < read), default=0)
    left_out = chain.from_iterable(gap for gap in gaps if gap[0] >= gave_up)
    edges = [0, *left_out, runs[-1][1]]
    return view_parts(content, list(zip(edges[::2], edges[1::2], strict=True))), following


def _find_runs(content: BinaryIO) -> tuple[list[tuple[int, int]], int | None]:
    """Returns begin and end of each run of frames of a file, and the place of a file joined to it, or None."""
    size = file_size(content)
    place = find_frames(content, _skip_tag(content))
    runs: list[tuple[int, int]] = []
    kind = None
    while place is not None:
        found = _kind(read_at(content, place, 4))
        if runs and (found != kind or holds_count(content, place)):
            break
        kind, end = found, place
        for end in _follow_frames(content, place):
            if holds_count(content, end):
                break
        runs.append((place, min(end, size)))
        place = find_frames(content, end)
    return runs, place


def holds_count(content: BinaryIO, place: int) -> bool:
    """Whether the frame at a place holds no sound but the number of frames: a Xing, Info or VBRI header."""
    frame = read_at(content, place, _HEAD_BYTES)
    frame = frame[: frame_bytes(frame[:4])]
    return any(name in frame for name in (b"Xing", b"Info", b"VBRI"))


def forget_count(content: BinaryIO) -> tuple[BinaryIO, int]:
    """Returns an MP3 file that states more frames than it can hold, and the number of its first samples that are lost.

    So libsndfile reads to its end.

    A Xing header gets another number of frames. If there is none, one is put in front: without it, libsndfile guesses
    the number from the bit rate of the first frame.

    Args:
        content: A whole file, in which `find_frames` finds frames.
    """
    size = file_size(content)
    place = find_frames(content, _skip_tag(content)) or 0
    frame = read_at(content, place, _HEAD_BYTES)
    count = (size // _SHORTEST_FRAME + 1).to_bytes(4, "big")
    for name in (b"Xing", b"Info"):
        mark = frame.find(name)
        if mark >= 0 and frame[mark + 7] & 1:
            head = frame[: mark + 8] + count
            return view_part(content, place + len(head), size, head), 0
    if holds_count(content, place):
        place += frame_bytes(frame)
        frame = read_at(content, place, 4)
    return view_part(content, place, size, _count_frame(frame[:4], count)), _DECODER_DELAY


def _skip_tag(content: BinaryIO) -> int:
    """Returns the place behind the ID3v2 tag at a file's beginning (ID3v2.4, 3.1); 0 if there is none."""
    tag = read_at(content, 0, 10)
    if len(tag) < 10 or not tag.startswith(b"ID3"):
        return 0
    return 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(tag[6:])))


def _count_frame(header: bytes, count: bytes) -> bytes:
    """Returns a frame that holds a Xing header with a number of frames, for a stream whose frames have a header."""
    header = bytes([header[0], header[1] | 1, 0x90 | header[2] & 0x0C, header[3]])  # no checksum, a medium bit rate
    mono, first = header[3] >> 6 == 3, header[1] & 0x18 == 0x18
    side = (17 if mono else 32) if first else (9 if mono else 17)  # bytes of side information
    frame = header + bytes(side) + b"Xing" + b"\0\0\0\1" + count
    return frame.ljust(frame_bytes(header), b"\0")
