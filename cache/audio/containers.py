"""Kinds of audio and video files, told by their first bytes.

FFmpeg's own guess is not asked: it takes noise for MPEG audio, and knows playlists, which name other files and hosts.
"""

HEAD_BYTES = 2048
"""How much of a file's beginning tells its kind."""

_SIGNATURES = {
    "mov": ((4, (b"ftyp", b"moov", b"mdat", b"wide")),),
    "matroska": ((0, (b"\x1aE\xdf\xa3",)),),
    "asf": ((0, (b"0&\xb2u\x8ef\xcf\x11",)),),
    "avi": ((0, (b"RIFF",)), (8, (b"AVI ",))),
    "wav": ((0, (b"RIFF", b"RF64")), (8, (b"WAVE",))),
    "w64": ((0, (b"riff.\x91\xcf\x11",)),),
    "aiff": ((0, (b"FORM",)), (8, (b"AIFF", b"AIFC"))),
    "au": ((0, (b".snd",)),),
    "caf": ((0, (b"caff",)),),
    "flac": ((0, (b"fLaC",)),),
    "ogg": ((0, (b"OggS",)),),
    "amr": ((0, (b"#!AMR",)),),
    "ape": ((0, (b"MAC ",)),),
    "wv": ((0, (b"wvpk",)),),
    "tta": ((0, (b"TTA1",)),),
    "flv": ((0, (b"FLV\x01",)),),
    "mpeg": ((0, (b"\x00\x00\x01\xba",)),),
}
"""FFmpeg's name of each kind, and what its files hold at which places."""


def name_container(head: bytes) -> str | None:
    """Returns FFmpeg's name for the kind of file that holds sound, None if it is no such file.

    Args:
        head: The first `HEAD_BYTES` of the file, or all of it if it is shorter.
    """
    for name, marks in _SIGNATURES.items():
        if all(head.startswith(values, place) for place, values in marks):
            return name
    if _is_adts(head):
        return "aac"
    if _is_transport_stream(head):
        return "mpegts"
    return None


def _is_adts(head: bytes) -> bool:
    """Whether a header of an AAC frame (ISO 13818-7, 6.2) stands first, and the next one where the frame ends."""
    if len(head) < 7:
        return False
    second = ((head[3] & 0x03) << 11) | (head[4] << 3) | (head[5] >> 5)
    return second >= 7 and _is_adts_header(head[:2]) and _is_adts_header(head[second : second + 2])


def _is_adts_header(start: bytes) -> bool:
    return len(start) == 2 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0


def _is_transport_stream(head: bytes) -> bool:
    """Whether MPEG packets of 188 bytes follow each other, each alone or behind a time stamp of 4 bytes."""
    return any(
        len(head) > 4 * size and all(head[first + number * size] == 0x47 for number in range(4))
        for first, size in ((0, 188), (4, 192))
    )
