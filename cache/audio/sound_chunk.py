"""Finds the sound in files of chunks (WAV, RF64, BW64, Wave64, AIFF, CAF) and in AU files, whatever size they state.

The stated size is wrong if a recorder lost power (0, or what it expected to record), if the file was written to a pipe
(0 or the largest number), or if a WAV file is longer than 4 GiB (the size modulo 2**32).
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cache.audio.containers import HEAD_BYTES, name_container
from cache.audio.file_view import file_size, read_at, view_part
from cache.audio.joined_file import begins_file
from cache.audio.sound_header import LARGEST, read_extended, write_header

FILLER_SECONDS = 0.1
"""Bytes behind the stated end of the sound that would last less are taken for filler."""

_CHUNKS = (
    *(b"LIST", b"list", b"bext", b"iXML", b"axml", b"_PMX", b"id3 ", b"ID3 ", b"cue ", b"plst", b"smpl", b"inst"),
    *(b"fact", b"PEAK", b"JUNK", b"junk", b"FLLR", b"PAD ", b"wamd", b"guan", b"afsp", b"cart", b"chna", b"umid"),
    *(b"MARK", b"INST", b"COMT", b"NAME", b"AUTH", b"(c) ", b"ANNO", b"APPL", b"MIDI", b"AESD", b"CHAN", b"COMM"),
    *(b"info", b"free", b"uuid", b"mark", b"strg", b"peak", b"midi", b"ovvw"),
)
"""Names of chunks that may follow the sound."""
_TAGS = (b"TAG", b"ID3", b"APETAGEX")
_WAVE64_NAMES = (b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a", b"\x91\xcf\x11\xa5\xd6(\xdb\x04\xc1\x00\x00")
_TAIL_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class _Form:
    """How a kind of file writes its chunks: a name, a size and a body.

    Attributes:
        first: Place of the first chunk.
        name_bytes: Length of a name.
        size: Form of a size, as in `struct`.
        counted: Bytes of name and size that the size counts too.
        multiple: A chunk is filled up to a multiple of so many bytes.
        sound: Name of the chunk that holds the sound.
        skipped: Bytes of this chunk in front of the sound.
    """

    first: int
    name_bytes: int
    size: str
    counted: int
    multiple: int
    sound: bytes
    skipped: int

    @property
    def header_bytes(self) -> int:
        return self.name_bytes + struct.calcsize(self.size)

    def read_header(self, content: BinaryIO, place: int) -> tuple[bytes, int] | None:
        """Returns the name of the chunk at a place and the size of its body; None if no chunk begins there."""
        header = read_at(content, place, self.header_bytes)
        name = header[: self.name_bytes]
        if len(header) < self.header_bytes or not all(0x20 <= letter < 0x7F for letter in name[:4]):
            return None
        if self.name_bytes > 4 and not name.endswith(_WAVE64_NAMES):
            return None
        size = struct.unpack(self.size, header[self.name_bytes :])[0] - self.counted
        return (name, size) if size >= 0 else None

    def next_place(self, place: int, size: int) -> int:
        """Returns where the chunk ends whose body begins at a place."""
        return place + size + -size % self.multiple


_FORMS = {
    "wav": _Form(12, 4, "<I", 0, 2, b"data", 0),
    "w64": _Form(40, 16, "<Q", 24, 8, b"data", 0),
    "aiff": _Form(12, 4, ">I", 0, 2, b"SSND", 8),
    "caf": _Form(8, 4, ">Q", 0, 1, b"data", 4),
}


@dataclass(frozen=True)
class _Sound:
    """The sound as the file states it.

    Attributes:
        start: Place of its first byte.
        stated: Stated size in bytes.
        bytes_per_second: Bytes of a second.
        chunks: Bodies of the chunks in front of it, by the first four letters of their names.
    """

    start: int
    stated: int
    bytes_per_second: float
    chunks: dict[bytes, bytes]


def find_sound(content: BinaryIO) -> tuple[BinaryIO, int | None]:
    """Returns a file that libsndfile reads to the end of its sound, and the place of another file behind it, or None.

    What the header states is kept if the sound ends there: if the file ends there too, or if chunks, tags, zeros or
    less than `FILLER_SECONDS` follow. Otherwise the sound ends where chunks begin that reach to the end of the file, or
    with the file.

    Args:
        content: A whole file; files of other kinds are returned as they are.
    """
    size = file_size(content)
    head = read_at(content, 0, HEAD_BYTES)
    kind = name_container(head) or ""
    if kind == "au":
        return _open_au(content, head, size), None
    if (form := _FORMS.get(kind)) is None or (sound := _read_chunks(content, form, size)) is None:
        return content, None
    stop = sound.start + sound.stated
    right, following = _ends_at(content, form, sound, size)
    if right and (head.startswith(b"BW64") or (kind == "w64" and size - stop >= form.multiple)):
        return _open_at(
            content, kind, sound, stop
        ), following  # libsndfile reads no BW64, and chunks of Wave64 as sound
    if right:
        return (content if following is None else view_part(content, 0, following)), following
    end = _find_end(content, form, sound, size)
    if stop > size and end == size and head.startswith((b"RIFF", b"FORM")):
        return content, None  # cut off, which libsndfile expects
    return _open_at(content, kind, sound, end), None


def _read_chunks(content: BinaryIO, form: _Form, size: int) -> _Sound | None:
    """Returns the sound as the file states it; None if the chunks do not lead to it."""
    chunks: dict[bytes, bytes] = {}
    place = form.first
    while place < size and (header := form.read_header(content, place)):
        name, stated = header[0][:4], header[1]
        body = place + form.header_bytes
        if name == form.sound:
            start = body + form.skipped
            if name == b"data" and stated == LARGEST and len(chunks.get(b"ds64", b"")) >= 16:
                stated = struct.unpack_from("<Q", chunks[b"ds64"], 8)[0]
            rate = _bytes_per_second(chunks)
            return _Sound(start, max(0, stated - form.skipped), rate, chunks) if rate and start < size else None
        chunks[name] = read_at(content, body, min(stated, HEAD_BYTES))
        place = form.next_place(body, stated)
    return None


def _bytes_per_second(chunks: dict[bytes, bytes]) -> float:
    """Returns the bytes of a second of sound; 0 if no chunk states them."""
    if len(wave := chunks.get(b"fmt ", b"")) >= 14:
        return float(struct.unpack_from("<I", wave, 8)[0])
    if len(aiff := chunks.get(b"COMM", b"")) >= 18:
        channels, _, bits = struct.unpack_from(">HIH", aiff)
        return float(channels * -(-bits // 8) * read_extended(aiff[8:18]))
    if len(caf := chunks.get(b"desc", b"")) >= 24:
        rate, _, _, packet_bytes, packet_frames = struct.unpack_from(">d4sIII", caf)
        return float(rate * packet_bytes / packet_frames) if packet_frames else 0.0
    return 0.0


def _ends_at(content: BinaryIO, form: _Form, sound: _Sound, size: int) -> tuple[bool, int | None]:
    """Whether the sound ends where the file states, and the place of another file behind it."""
    stop = sound.start + sound.stated
    if not stop <= size:
        return False, None
    for place in dict.fromkeys((form.next_place(sound.start, sound.stated), stop)):
        found, following = _follow_chunks(content, form, place, size)
        if found or following is not None:
            return True, following
    if not sound.stated:
        return stop == size, None
    short = size - stop < max(FILLER_SECONDS * sound.bytes_per_second, 2)
    return short or _holds_zeros(content, stop, size), None


def _follow_chunks(content: BinaryIO, form: _Form, place: int, size: int) -> tuple[bool, int | None]:
    """Whether chunks or tags begin at a place, and the place of another file, or of more sound, behind them."""
    known = False
    while place < size:
        head = read_at(content, place, HEAD_BYTES)
        if place > 0 and begins_file(content, place):
            return True, place
        known = known or head.startswith((*_CHUNKS, *_TAGS)) or head[4:16] == _WAVE64_NAMES[0]
        header = form.read_header(content, place)
        if header is None:
            return known, None
        if header[0].startswith(form.sound) and header[1]:
            return True, place
        place = form.next_place(place + form.header_bytes, header[1])
        if place > size + form.multiple:
            return known, None
        known = known or place >= size
    return known, None


def _holds_zeros(content: BinaryIO, place: int, size: int) -> bool:
    """Whether all bytes from a place on are zero."""
    content.seek(place)
    while place < size:
        block = content.read(_BLOCK_BYTES)
        if not block or block.count(0) < len(block):
            return not block
        place += len(block)
    return True


def _find_end(content: BinaryIO, form: _Form, sound: _Sound, size: int) -> int:
    """Returns where the sound ends if the stated size is wrong: in front of the chunks behind it, or with the file."""
    if form.size[1:] == "I":
        for stop in range(sound.start + sound.stated + (1 << 32), size + 1, 1 << 32):  # the size modulo 2**32
            if size - stop < 2 or _follow_chunks(content, form, form.next_place(stop, 0), size)[0]:
                return stop
    start = max(sound.start, size - _TAIL_BYTES)
    tail = read_at(content, start, size - start)
    for name in re.finditer(b"|".join(map(re.escape, _CHUNKS)), tail):
        if any(place == size for place in _chunk_ends(content, form, start + name.start(), size)):
            return start + name.start()
    return size


def _chunk_ends(content: BinaryIO, form: _Form, place: int, size: int) -> Iterator[int]:
    """Yields where chunks end that follow each other, and where the last one ends without its filler."""
    while place < size and (header := form.read_header(content, place)):
        yield place + form.header_bytes + header[1]
        place = form.next_place(place + form.header_bytes, header[1])
        yield place


def _open_at(content: BinaryIO, kind: str, sound: _Sound, end: int) -> BinaryIO:
    """Returns the file with a header that states where the sound ends; as it is if no header can state that."""
    header = write_header(kind, sound.chunks, read_at(content, 0, sound.start), end - sound.start)
    return content if header is None else view_part(content, sound.start, end, header)


def _open_au(content: BinaryIO, head: bytes, size: int) -> BinaryIO:
    """Returns an AU file that states no size of its sound, if the stated size is too small."""
    if len(head) < 24:
        return content
    start, stated, _, rate, channels = struct.unpack_from(">5I", head, 4)
    if size - start - stated < max(FILLER_SECONDS * rate * channels, 2) and stated:
        return content
    return view_part(content, 12, size, head[:8] + struct.pack(">I", LARGEST))
