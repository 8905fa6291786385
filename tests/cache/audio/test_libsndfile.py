"""Files whose headers are wrong, joined and cut files: all that is there is read, in one piece and in pieces alike.

What must come out is counted by hand from what went in.
"""

import io
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.audio.ogg import fix_serial, page_checksum
from cache.audio.streaming import header_seconds, stream_waveform

RATE = 16_000
SAMPLES = 3 * RATE + 1
SOUND = np.random.default_rng(0).integers(-8000, 8000, SAMPLES).astype(np.int16)
UNKNOWN = 0xFFFF_FFFF
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"sound recorder"
WAVE64_LIST = b"list/\x91\xcf\x11\xa5\xd6(\xdb\x04\xc1\0\0" + struct.pack("<Q", 40) + b"INFOISFT\4\0\0\0abcd"


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("libsndfile", "ffmpeg"):
        monkeypatch.setattr(f"cache.audio.{module}.BLOCK_SECONDS", 1)


@cache
def encode(file_format: str, subtype: str = "", rate: int = RATE, samples: int = SAMPLES) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, SOUND[:samples], rate, format=file_format, subtype=subtype or None)
    audio = stream.getvalue()
    return fix_serial(audio, 7) if file_format == "OGG" else audio


def wave(stated: int, behind: bytes = b"", riff: int | None = None, name: bytes = b"RIFF", more: bytes = b"") -> bytes:
    """A WAV file of SOUND, 16-bit mono, by the document of Microsoft and IBM of 1991."""
    form = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    chunks = b"WAVE" + more + b"fmt " + struct.pack("<I", 16) + form
    chunks += b"data" + struct.pack("<I", stated) + SOUND.tobytes() + behind
    return name + struct.pack("<I", len(chunks) if riff is None else riff) + chunks


def ds64(stated: int) -> bytes:
    """The chunk that holds the sizes of an RF64 or BW64 file (EBU Tech 3306, ITU-R BS.2088)."""
    return b"ds64" + struct.pack("<IQQQI", 28, stated, stated, stated // 2, 0)


def change(audio: bytes, name: bytes, offset: int, form: str, value: int) -> bytes:
    """Returns a file with another number behind the first occurrence of a chunk's name."""
    changed = bytearray(audio)
    struct.pack_into(form, changed, audio.index(name) + offset, value)
    return bytes(changed)


def state_flac(samples: int, audio: bytes | None = None) -> bytes:
    """A FLAC file whose STREAMINFO, in the last 36 of these 64 bits, states a number of samples (RFC 9639, 8.2)."""
    flac = audio or encode("FLAC")
    fields = int.from_bytes(flac[18:26], "big")
    return flac[:18] + ((fields >> 36 << 36) | samples).to_bytes(8, "big") + flac[26:]


def id3(size: int = 3000) -> bytes:
    return b"ID3\3\0\0" + bytes([0, 0, size >> 7, size & 127]) + bytes(size)


BYTES = 2 * SAMPLES
WAVES = {
    "right": wave(BYTES),
    "size 0": wave(0, riff=36),
    "size 0, JUNK in front": wave(0, riff=4088, more=b"JUNK" + struct.pack("<I", 4044) + bytes(4044)),
    "size 0, recorder's chunk behind": wave(0, LIST),
    "unknown size": wave(UNKNOWN, riff=UNKNOWN),
    "unknown size, chunk behind": wave(UNKNOWN, LIST, riff=UNKNOWN),
    "too small": wave(2 * RATE, riff=2 * RATE + 36),
    "too small and odd": wave(12_345),
    "too large": wave(BYTES + 123_456),
    "size of a power of two": wave(1 << 31),
    "chunk behind": wave(BYTES, LIST),
    "two chunks behind": wave(BYTES, LIST + b"wamd\4\0\0\0abcd"),
    "chunk of another program behind": wave(BYTES, b"xyz \3\0\0\0abc\0"),
    "tag behind": wave(BYTES, b"TAG" + bytes(125)),
    "zeros behind": wave(BYTES, bytes(40_000)),
    "line break behind": wave(BYTES, b"\r\n"),
    "RF64": wave(UNKNOWN, riff=UNKNOWN, name=b"RF64", more=ds64(BYTES)),
    "RF64 without sizes": wave(UNKNOWN, riff=UNKNOWN, name=b"RF64", more=ds64(0)),
    "RF64, too large": wave(UNKNOWN, riff=UNKNOWN, name=b"RF64", more=ds64(1 << 40)),
    "RF64, chunk behind": wave(UNKNOWN, LIST, riff=UNKNOWN, name=b"RF64", more=ds64(BYTES)),
    "BW64": wave(UNKNOWN, riff=UNKNOWN, name=b"BW64", more=ds64(BYTES)),
    "BW64 without sizes": wave(UNKNOWN, riff=UNKNOWN, name=b"BW64", more=ds64(0)),
    "BW64, chunk behind": wave(UNKNOWN, LIST, riff=UNKNOWN, name=b"BW64", more=ds64(BYTES)),
}


def other_chunks() -> dict[str, bytes]:
    w64, aiff, caf, au = (encode(name) for name in ("W64", "AIFF", "CAF", "AU"))
    mark = b"NAME" + struct.pack(">I", 4) + b"song"
    return {
        "Wave64": w64,
        "Wave64 without size": change(w64, b"data", 16, "<Q", 24),
        "Wave64, too small": change(w64, b"data", 16, "<Q", 20_024),
        "Wave64, chunk behind": w64 + bytes(6) + WAVE64_LIST,
        "Wave64, too large": change(w64, b"data", 16, "<Q", 1 << 50),
        "AIFF": aiff,
        "AIFF without size": change(change(aiff, b"SSND", 4, ">I", 8), b"COMM", 10, ">I", 0),
        "AIFF, too small": change(change(aiff, b"SSND", 4, ">I", 20_008), b"COMM", 10, ">I", 10_000),
        "AIFF, unknown size": change(change(aiff, b"SSND", 4, ">I", UNKNOWN), b"COMM", 10, ">I", UNKNOWN),
        "AIFF, chunk behind": aiff + mark,
        "CAF": caf,
        "CAF, unknown size": change(caf, b"data", 4, ">q", -1),
        "CAF without size": change(caf, b"data", 4, ">Q", 4),
        "CAF, too small": change(caf, b"data", 4, ">Q", 20_004),
        "AU": au,
        "AU, unknown size": change(au, b".snd", 8, ">I", UNKNOWN),
        "AU without size": change(au, b".snd", 8, ">I", 0),
        "AU, too small": change(au, b".snd", 8, ">I", 20_000),
        "FLAC": encode("FLAC"),
        "FLAC, unknown length": state_flac(0),
        "FLAC, too short": state_flac(RATE),
        "FLAC, too long": state_flac(2 * SAMPLES),
        "FLAC, largest length": state_flac((1 << 36) - 1),
        "FLAC with a tag": encode("FLAC") + b"TAG" + bytes(125),
    }


def hear(path: Path, rate: int = RATE) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns what training and what prediction hears of a file."""
    return decode_waveform(path.read_bytes(), rate), np.concatenate(list(stream_waveform(path, rate)))


EXACT = {**WAVES, **other_chunks()}


@pytest.mark.parametrize("name", EXACT)
def test_every_sample_is_heard_and_nothing_else(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(EXACT[name])
    for heard in hear(path):
        np.testing.assert_array_equal(heard, SOUND / np.float32(32_768))
    assert header_seconds(path) <= 2 * SAMPLES / RATE


def damage(ogg: bytes) -> bytes:
    """Flips a bit in a page of the middle."""
    place = len(ogg) // 2
    return ogg[:place] + bytes([ogg[place] ^ 0x10]) + ogg[place + 1 :]


def list_near() -> Iterator[tuple[str, bytes, float, float]]:
    """Yields name, file, and the least and most seconds that must be heard."""
    sound = SAMPLES / RATE
    for subtype, rate in (("VORBIS", RATE), ("OPUS", RATE)):
        ogg = encode("OGG", subtype, rate)
        yield subtype, ogg, sound, sound
        yield f"{subtype} chained", ogg + fix_serial(ogg, 8), 2 * sound, 2 * sound
        yield f"{subtype} chained, same serial", ogg + ogg + ogg, 3 * sound, 3 * sound
        yield f"{subtype} damaged", damage(ogg), 0.5, sound - 0.1
        yield f"{subtype} cut off", ogg[: 2 * len(ogg) // 3], 0.3, sound - 0.5
        yield f"{subtype} whole and cut off", ogg + ogg[: 2 * len(ogg) // 3], sound + 0.3, 2 * sound - 0.5
        yield f"{subtype} damaged and whole", damage(ogg) + ogg, sound + 0.5, 2 * sound - 0.1
    last = encode("OGG", "VORBIS").rindex(b"OggS")
    page = bytearray(encode("OGG", "VORBIS")[last:])
    page[6:14], page[22:26] = (1 << 60).to_bytes(8, "little"), bytes(4)
    page[22:26] = page_checksum(bytes(page)).to_bytes(4, "little")
    yield "VORBIS, absurd length", encode("OGG", "VORBIS")[:last] + bytes(page), sound, sound + 0.2
    mp3 = encode("MP3")
    yield "MP3", mp3, sound, sound
    yield "MP3 joined", mp3 + mp3, 2 * sound, 2 * sound
    yield "MP3 joined with a tag of each kind between", mp3 + b"TAG" + bytes(125) + id3() + mp3, 2 * sound, 2 * sound
    yield "MP3 with tags", id3() + mp3 + b"APETAGEX" + bytes(3000) + b"TAG" + bytes(125), sound, sound
    yield "MP3 joined with an APE tag between", mp3 + b"APETAGEX" + bytes(5000) + mp3, 2 * sound, 2 * sound
    yield "MP3 cut off", mp3[: len(mp3) // 2], 0.4 * sound, 0.6 * sound
    count = mp3.index(b"Xing") + 8  # number of frames of 576 samples
    yield "MP3, count too small", mp3[:count] + bytes([0, 0, 0, 20]) + mp3[count + 4 :], sound, sound + 0.1
    yield "MP3, count too large", mp3[:count] + bytes([0, 0, 9, 0]) + mp3[count + 4 :], sound, sound + 0.1
    flac = encode("FLAC")
    yield "FLAC joined", flac + flac, 2 * sound, 2 * sound
    yield "FLAC cut off", flac[: len(flac) // 2], 0.3 * sound, 0.5 * sound
    hole = 3000
    left = sound * (1 - hole / len(mp3))
    for name, bad in (
        ("zeros", bytes(hole)),
        ("other bytes", np.random.default_rng(3).bytes(hole).replace(b"\xff", b"")),
    ):
        holed = mp3[: len(mp3) // 2] + bad + mp3[len(mp3) // 2 + hole :]
        yield f"MP3 with {name} in the middle", holed, left - 0.2, left + 0.2
        yield f"MP3 with {name} in the middle, joined", holed + holed, 2 * left - 0.4, 2 * left + 0.4
    ogg, wav = encode("OGG", "VORBIS"), wave(BYTES)
    yield "FLAC and MP3", flac + mp3, 2 * sound, 2 * sound
    yield "FLAC of unknown length and MP3", state_flac(0) + mp3, 2 * sound, 2 * sound
    yield "FLAC and WAV", flac + wav, 2 * sound, 2 * sound
    yield "Vorbis and FLAC", ogg + flac, 2 * sound, 2 * sound
    yield "Vorbis, FLAC and Vorbis", ogg + flac + ogg, 3 * sound, 3 * sound
    yield "Vorbis and MP3 with a tag", ogg + id3() + mp3, 2 * sound, 2 * sound
    yield "MP3 and FLAC", mp3 + flac, 2 * sound, 2 * sound
    yield "MP3, FLAC and MP3", mp3 + flac + mp3, 3 * sound, 3 * sound
    yield "WAV and FLAC", wav + flac, 2 * sound, 2 * sound
    yield "WAV and Vorbis", wav + ogg, 2 * sound, 2 * sound
    yield "WAV and MP3 with a tag", wav + id3() + mp3, 2 * sound, 2 * sound
    yield "WAV joined", wave(BYTES, LIST) + wave(0), 2 * sound, 2 * sound


def quiet_first() -> bytes:
    """MP3 frames without a header that counts them, at another bit rate than SOUND's."""
    stream = io.BytesIO()
    soundfile.write(stream, SOUND, RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=0.0)
    return drop_count(stream.getvalue())


def drop_count(mp3: bytes) -> bytes:
    """Returns an MP3 file without its first frame, which holds the Xing header."""
    return mp3[mp3.index(mp3[:2], 4) :]


NEAR = {name: case for name, *case in list_near()}


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_damaged_ogg_is_heard_alike_whatever_is_damaged(subtype: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    path = tmp_path / "a"
    for _ in range(25):
        ogg = bytearray(encode("OGG", subtype))
        for _ in range(generator.integers(1, 4)):
            place = int(generator.integers(4000, len(ogg)))
            size = int(generator.integers(1, 1000))
            if generator.random() < 0.5:
                del ogg[place : place + size]
            else:
                ogg[place : place + size] = bytes(len(ogg[place : place + size]))
        path.write_bytes(ogg)
        whole, pieces = hear(path)
        np.testing.assert_allclose(pieces, whole, rtol=0, atol=2e-6)


def test_mp3_without_a_count_is_read_on_where_libsndfile_stops(tmp_path: Path) -> None:
    bare = drop_count(encode("MP3"))
    audio = quiet_first() + bare
    (tmp_path / "a").write_bytes(audio)
    assert soundfile.info(tmp_path / "a").frames < 0.9 * 2 * SAMPLES  # its guess
    with av.open(tmp_path / "a", format="mp3") as opened:
        expected = np.concatenate([frame.to_ndarray()[0] for frame in opened.decode(audio=0)])
    for heard in hear(tmp_path / "a"):
        np.testing.assert_allclose(heard, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NEAR)
def test_training_and_prediction_hear_the_same(name: str, tmp_path: Path) -> None:
    audio, least, most = NEAR[name]
    path = tmp_path / "a"
    path.write_bytes(audio)
    whole, pieces = hear(path)
    assert least - 1e-9 <= len(whole) / RATE <= most + 1e-9
    np.testing.assert_allclose(pieces, whole, rtol=0, atol=2e-6)
    assert header_seconds(path) <= 10 * most
    resampled, resampled_pieces = hear(path, 11_025)
    assert len(resampled) == len(resampled_pieces)


UNREADABLE = {
    "the sample rate changes from 16000 to 8000 Hz": wave(BYTES) + encode("WAV", rate=8000),
    r"another file begins at byte 96046 and cannot be read \(Format not recognised\.\)": wave(
        BYTES, b"data" + struct.pack("<I", BYTES) + SOUND.tobytes()
    ),
    "another file begins at byte 96046 and cannot be read": wave(BYTES) + wave(BYTES).replace(b"fmt ", b"xmt "),
    "libsndfile: .* FFmpeg: End of file": encode("OGG") + fix_serial(encode("OGG").replace(b"vorbis", b"xorbis"), 8),
}


@pytest.mark.parametrize("reason", UNREADABLE)
def test_sound_that_stays_unread_behind_the_end_is_told(reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(UNREADABLE[reason])
    pieces: list[NDArray[np.float32]] = []
    for decode in (
        lambda: decode_waveform(path.read_bytes(), RATE),
        lambda: pieces.extend(stream_waveform(path, RATE)),
    ):
        with pytest.raises(UnusableAudioError, match=f"only the first 3.0 s decode: {reason}") as caught:
            decode()
        assert caught.value.reason == "undecodable"
    assert sum(map(len, pieces)) == pytest.approx(SAMPLES, abs=2)
