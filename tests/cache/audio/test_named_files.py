"""Files that name other files and hosts: nothing of those is read."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.audio.streaming import header_seconds, stream_waveform

Encode = Callable[..., bytes]
NOISE = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and who called there."""
    calls: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, caller = server.accept()
                except OSError:
                    return
                calls.append(str(caller))
                connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], calls
        server.shutdown(socket.SHUT_RDWR)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n",
    "m3u": "#EXTM3U\n{target}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{target}'\n",
    "concat": "file '{target}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{target}\n"
    "m=audio {port} RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:'
    'profile:isoff-on-demand:2011" mediaPresentationDuration="PT4S"><Period><AdaptationSet mimeType="audio/wav">'
    '<Representation id="1" bandwidth="9"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "pls": "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
}


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("behind", ["", "OggS", "RIFF1234WAVE", "\0\0\0\x20ftypM4A "])
@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/a.wav", "file", "relative"])
def test_list_of_files_is_read_by_no_one(
    name: str,
    behind: str,
    target: str,
    listener: tuple[int, list[str]],
    encode_audio: Encode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, calls = listener
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").write_bytes(encode_audio(NOISE, 32_000))
    named = {"file": f"file:{tmp_path}/a.wav", "relative": "a.wav"}.get(target, target.format(port=port))
    path = tmp_path / "list.m4a"
    path.write_text(behind + PLAYLISTS[name].format(target=named, port=port))
    for decode in (lambda: decode_waveform(path.read_bytes(), 32_000), lambda: list(stream_waveform(path, 32_000))):
        with pytest.raises(UnusableAudioError):
            decode()
    assert header_seconds(path) == 0
    assert calls == []


def test_probe_would_follow_a_list(listener: tuple[int, list[str]], tmp_path: Path) -> None:
    """FFmpeg left to itself calls there, so the tests above would notice."""
    port, calls = listener
    path = tmp_path / "list.m4a"
    path.write_text(PLAYLISTS["hls"].format(target=f"http://127.0.0.1:{port}/a.ts"))
    with pytest.raises((OSError, ValueError)):
        av.open(str(path), format="hls", options={"protocol_whitelist": "file,http,tcp"})
    assert calls


def refer_to(movie: bytes, other: str) -> bytes:
    """Returns a MOV file of one track whose samples are said to lie in another file, at the same places."""
    path = other.encode() + b"\0" * (len(other) % 2)
    record = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16) + bytes(4) + bytes(16)
    record += b"\0\2" + len(path).to_bytes(2, "big") + path + b"\xff\xff\0\0"
    alias = (12 + len(record)).to_bytes(4, "big") + b"alis" + bytes(4) + record
    entry = movie.index(b"dref") + 12
    grown = bytearray(movie[:entry] + alias + movie[entry + 12 :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        size = movie.index(box) - 4
        grown[size : size + 4] = (int.from_bytes(movie[size : size + 4], "big") + len(alias) - 12).to_bytes(4, "big")
    return bytes(grown)


def test_movie_whose_sound_is_said_to_lie_in_another_file_has_none(encode_by_ffmpeg: Encode, tmp_path: Path) -> None:
    movie = encode_by_ffmpeg(NOISE[np.newaxis], 32_000, "mov", "pcm_s16le")
    other, path = tmp_path / "other.mov", tmp_path / "a.mov"
    other.write_bytes(movie)
    path.write_bytes(refer_to(movie, str(other)))
    follow = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(str(path), options=follow) as opened:  # by an option that is off, it would be read
        assert sum(frame.samples for frame in opened.decode(audio=0)) == len(NOISE)
    for decode in (lambda: decode_waveform(path.read_bytes(), 32_000), lambda: list(stream_waveform(path, 32_000))):
        with pytest.raises(UnusableAudioError, match="empty: no sample decodes"):
            decode()
