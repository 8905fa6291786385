"""Recognises kinds of audio and video files by their first bytes.

FFmpeg's own guess is not used: it takes noise for MPEG audio, and it accepts playlists, which name other files and
hosts.
"""

AUDIO_SUFFIXES = (
    *(
        ".aif",
        ".aifc",
        ".aiff",
        ".au",
        ".caf",
        ".flac",
        ".mp2",
        ".mp3",
        ".oga",
        ".ogg",
        ".opus",
        ".w64",
        ".wav",
        ".wave",
    ),
    *(".aac", ".amr", ".ape", ".m4a", ".m4b", ".mka", ".tta", ".weba", ".wma", ".wv"),
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"),
    *(".webm", ".wmv"),
)
"""Suffixes of audio files in a folder: sound for libsndfile, sound for FFmpeg, and videos, whose sound is read."""

HEAD_BYTES = 2048
"""Number of bytes from a file's beginning that are needed to recognise its kind."""

_SIGNATURES = {
    "mov": ((4, (b"ftyp", b"moov", b"mdat", b"wide")),),
    "matroska": ((0, (b"\x1aE\xdf\xa3",)),),
    "asf": ((0, (b"0&\xb2u\x8ef\xcf\x11",)),),
    "avi": ((0, (b"RIFF",)), (8, (b"AVI ",))),
    "wav": ((0, (b"RIFF", b"RF64", b"BW64")), (8, (b"WAVE",))),
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
"""FFmpeg's name of each kind, with the byte positions of its signature and the possible bytes there."""


def name_container(head: bytes) -> str | None:
    """Returns FFmpeg's name for the kind of a file; None if it is no known kind that holds sound.

    Args:
        head: The first `HEAD_BYTES` bytes of the file, or the whole file if it is shorter.
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
    """Whether the file begins with an AAC frame (ISO 13818-7, 6.2), and a second frame follows at its end."""
    if len(head) < 7:
        return False
    second = ((head[3] & 0x03) << 11) | (head[4] << 3) | (head[5] >> 5)
    return second >= 7 and _is_adts_header(head[:2]) and _is_adts_header(head[second : second + 2])


def _is_adts_header(start: bytes) -> bool:
    return len(start) == 2 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0


def _is_transport_stream(head: bytes) -> bool:
    """Whether the file begins with MPEG packets of 188 bytes; each may follow a time stamp of 4 bytes."""
    return any(
        len(head) > 4 * size and all(head[first + number * size] == 0x47 for number in range(4))
        for first, size in ((0, 188), (4, 192))
    )
