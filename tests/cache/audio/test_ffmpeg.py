"""Files that FFmpeg's encoders write, held against the sound that went in; no program `ffmpeg` is needed."""

import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from cache.audio.decoded_length import Heard
from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.audio.ffmpeg import read_blocks, stated_seconds
from cache.audio.ogg import page_checksum
from cache.audio.streaming import header_seconds, stream_waveform

Encode = Callable[..., bytes]
SECONDS = 4.0


def sound(rate: int, channels: int = 1, seconds: float = SECONDS) -> NDArray[np.float32]:
    """A chirp from 200 Hz to 3 kHz with a click every half second, (channels, samples); other channels are softer."""
    time = np.arange(round(seconds * rate)) / rate
    chirp = 0.4 * np.sin(2 * np.pi * (200 + 350 * time) * time)
    for start in np.arange(0.25, seconds - 0.05, 0.5):
        first = round(start * rate)
        chirp[first : first + 40] += 0.4 * np.hanning(40)
    return np.stack([chirp / 2**channel for channel in range(channels)]).astype(np.float32)


def place(decoded: NDArray[np.float32], source: NDArray[np.float32]) -> tuple[int, float]:
    """Returns at which sample of what was decoded the source begins, and how well they agree from there."""
    size = 1 << (len(decoded) + len(source)).bit_length()
    product = np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(source, size))
    lag = int(np.fft.irfft(product, size).argmax())
    lag = lag - size if lag > size // 2 else lag
    aligned = decoded[max(lag, 0) :]
    expected = source[max(-lag, 0) :]
    shared = min(len(aligned), len(expected))
    return lag, float(np.corrcoef(aligned[:shared], expected[:shared])[0, 1])


# what each keeps of the encoder's first samples, and the longest frame that may be filled up at the end
KINDS = [
    # container, codec, rate, samples late, samples too many at most
    ("mp4", "aac", 44_100, 0, 1024),
    ("ipod", "aac", 48_000, 0, 1024),  # .m4a
    ("mov", "aac", 22_050, 0, 1024),
    ("3gp", "aac", 16_000, 0, 1024),
    ("ipod", "alac", 44_100, 0, 0),
    ("mov", "pcm_s24le", 32_000, 0, 0),
    ("mp4", "libmp3lame", 44_100, 0, 1152),
    ("mp4", "libopus", 48_000, 0, 960),
    ("webm", "libopus", 48_000, 0, 0),
    ("matroska", "aac", 44_100, 0, 1024),
    ("matroska", "flac", 44_100, 0, 0),
    ("adts", "aac", 44_100, 1024, 1024),
    ("mpegts", "aac", 44_100, 1024, 1024),
    ("flv", "aac", 44_100, 1024, 1024),
    ("avi", "pcm_s16le", 44_100, 0, 0),
    ("asf", "wmav2", 44_100, -2048, 2048),  # FFmpeg's encoder adds a frame, Windows' encoder two, so one is lost
    ("wv", "wavpack", 44_100, 0, 0),
    ("tta", "tta", 44_100, 0, 0),
]
VIDEOS = ("mov", "avi", "matroska", "mpegts", "mp4", "asf")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("container", "codec", "rate", "late", "more"), KINDS)
def test_sound_is_what_went_in(
    encode_by_ffmpeg: Encode, container: str, codec: str, rate: int, late: int, more: int, channels: int
) -> None:
    source = sound(rate, channels)
    audio = encode_by_ffmpeg(source, rate, container, codec, picture=container in VIDEOS and codec != "flac")
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(io.BytesIO(audio))
    waveform = decode_waveform(audio, rate)
    assert waveform.dtype == np.float32
    lag, agreement = place(waveform, source.mean(axis=0))
    assert lag == late
    assert agreement > 0.99
    assert 0 <= len(waveform) - source.shape[1] - late <= more


@pytest.mark.parametrize(("container", "codec", "rate", "late", "more"), KINDS)
def test_pieces_are_the_waveform_of_the_whole(
    encode_by_ffmpeg: Encode,
    container: str,
    codec: str,
    rate: int,
    late: int,
    more: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cache.audio.ffmpeg.BLOCK_SECONDS", 1)
    monkeypatch.setattr("cache.audio.mixing.SPAN_SECONDS", 1)
    path = tmp_path / "a.unknown"
    path.write_bytes(encode_by_ffmpeg(sound(rate, 2), rate, container, codec))
    heard = Heard()
    pieces = list(stream_waveform(path, 32_000, heard))
    assert len(pieces) >= SECONDS
    whole = decode_waveform(path.read_bytes(), 32_000)
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=0, atol=1e-6)
    assert heard.seconds == pytest.approx(len(whole) / 32_000, abs=1e-3)
    assert header_seconds(path) == pytest.approx(SECONDS, abs=0.2)


def test_other_rate_is_resampled(encode_by_ffmpeg: Encode) -> None:
    waveform = decode_waveform(encode_by_ffmpeg(sound(48_000), 48_000, "ipod", "aac"), 32_000)
    lag, agreement = place(waveform, sound(32_000)[0])
    assert (lag, round(agreement, 1)) == (0, 1.0)
    assert agreement > 0.99


def test_six_channels_are_mixed_to_their_mean(encode_by_ffmpeg: Encode) -> None:
    source = sound(48_000, 6)
    waveform = decode_waveform(encode_by_ffmpeg(source, 48_000, "mov", "pcm_s16le"), 48_000)
    np.testing.assert_allclose(waveform, source.mean(axis=0), rtol=0, atol=2 / 32_768)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_samples_of_any_form_are_in_one_scale(encode_by_ffmpeg: Encode, codec: str) -> None:
    source = sound(16_000, 2)
    waveform = decode_waveform(encode_by_ffmpeg(source, 16_000, "matroska", codec), 16_000)
    np.testing.assert_allclose(waveform, source.mean(axis=0), rtol=0, atol=1 / 127 if codec == "pcm_u8" else 1 / 32_767)


def test_ogg_with_another_stream_in_front_is_read(encode_audio: Encode) -> None:
    audio = encode_audio(sound(32_000)[0], 32_000, "OGG")
    times = 2 * (bytes(8) + (1000).to_bytes(8, "little"))
    packet = b"fishead\0\4\0\0\0" + times + bytes(20)
    skeleton = bytearray(b"OggS\0\2" + bytes(8) + b"\7\0\0\0" + bytes(8) + bytes([1, len(packet)]) + packet)
    skeleton[22:26] = page_checksum(bytes(skeleton)).to_bytes(4, "little")
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(io.BytesIO(bytes(skeleton) + audio))
    waveform = decode_waveform(bytes(skeleton) + audio, 32_000)
    np.testing.assert_allclose(waveform[:100_000], decode_waveform(audio, 32_000)[:100_000], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("adts", "aac"), ("mpegts", "aac")])
def test_half_of_a_file_gives_half_of_its_sound(encode_by_ffmpeg: Encode, container: str, codec: str) -> None:
    audio = encode_by_ffmpeg(sound(48_000), 48_000, container, codec)
    waveform = decode_waveform(audio[: len(audio) // 2], 48_000)
    assert 0.4 * SECONDS < len(waveform) / 48_000 < 0.6 * SECONDS
    assert place(waveform, sound(48_000)[0])[1] > 0.99


def test_damaged_packets_are_left_out(encode_by_ffmpeg: Encode) -> None:
    audio = bytearray(encode_by_ffmpeg(sound(44_100), 44_100, "ipod", "aac"))
    audio[8000:12_000] = bytes(4000)
    waveform = decode_waveform(bytes(audio), 44_100)
    assert 0.5 * SECONDS < len(waveform) / 44_100 < 0.99 * SECONDS


def test_title_in_another_alphabet_is_no_reason_not_to_decode() -> None:
    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska") as output:
        output.metadata["title"] = "Knaeckente"
        output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.full((1, 800), 1 << 14, np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 16_000, 0
        output.mux(output.streams[0].encode(frame))
    audio = stream.getvalue().replace(b"Knaeckente", b"Kn\xe4ckente ")  # Latin-1
    np.testing.assert_array_equal(decode_waveform(audio, 16_000), np.full(800, 0.5, np.float32))


CHANGED = {
    "ipod": ("aac", 44_100),
    "webm": ("libopus", 48_000),
    "asf": ("wmav2", 44_100),
    "mpegts": ("aac", 44_100),
    "avi": ("libmp3lame", 44_100),
}


@pytest.mark.parametrize("container", CHANGED)
def test_changed_file_is_decoded_in_pieces_as_it_is_whole(
    encode_by_ffmpeg: Encode, container: str, tmp_path: Path
) -> None:
    codec, rate = CHANGED[container]
    audio = encode_by_ffmpeg(sound(rate, seconds=1.0), rate, container, codec)
    generator = np.random.default_rng(1)
    path = tmp_path / "a"
    usable = 0
    for _ in range(40):
        changed = bytearray(audio)
        for place in generator.integers(0, len(audio), generator.integers(1, 8)):
            place = int(place) if generator.random() < 0.8 else int(place) % 600
            removed = int(generator.choice([1, 1, 7]))
            changed[place : place + removed] = generator.bytes(int(generator.choice([1, 1, 9])))
        path.write_bytes(changed)
        whole = outcome(lambda changed=changed: decode_waveform(bytes(changed), 32_000))
        pieces = outcome(lambda: np.concatenate(list(stream_waveform(path, 32_000))))
        if isinstance(whole, str) or isinstance(pieces, str):
            assert pieces == whole
        else:
            np.testing.assert_allclose(pieces, whole, rtol=1e-6, atol=1e-6)
        usable += not isinstance(whole, str)
    assert 0 < usable < 40


def outcome(decode: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32] | str:
    """Returns what decodes, or why nothing does."""
    try:
        return decode()
    except UnusableAudioError as error:
        return error.reason


def test_m4a_without_its_index_is_undecodable_with_what_both_say(encode_by_ffmpeg: Encode, tmp_path: Path) -> None:
    audio = encode_by_ffmpeg(sound(44_100), 44_100, "ipod", "aac")
    path = tmp_path / "a.m4a"
    path.write_bytes(audio[: len(audio) // 2])  # the index stands at the end
    detail = "libsndfile: Format not recognised. FFmpeg: Invalid data found when processing input."
    for decode in (lambda: decode_waveform(path.read_bytes(), 32_000), lambda: list(stream_waveform(path, 32_000))):
        with pytest.raises(UnusableAudioError) as caught:
            decode()
        assert (caught.value.reason, caught.value.detail) == ("undecodable", detail)
    assert header_seconds(path) == 0


def test_video_without_sound_says_so() -> None:
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as output:
        video = output.add_stream("mpeg4", rate=5, width=32, height=32, pix_fmt="yuv420p")
        output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        output.mux(video.encode(None))
    with pytest.raises(UnusableAudioError, match=r"FFmpeg: there is no sound in the file\."):
        decode_waveform(stream.getvalue(), 32_000)


def test_stream_whose_rate_changes_is_undecodable(encode_by_ffmpeg: Encode) -> None:
    audio = b"".join(encode_by_ffmpeg(sound(rate), rate, "adts", "aac") for rate in (44_100, 22_050))
    with pytest.raises(UnusableAudioError, match="the sample rate changes from 44100 to 22050 Hz"):
        decode_waveform(audio, 32_000)


def test_stream_that_turns_to_stereo_is_mixed_throughout(encode_by_ffmpeg: Encode) -> None:
    mono, stereo = sound(44_100), sound(44_100, 2)
    audio = b"".join(encode_by_ffmpeg(samples, 44_100, "adts", "aac") for samples in (mono, stereo))
    waveform = decode_waveform(audio, 44_100)
    second = waveform[len(waveform) // 2 :]
    assert place(waveform[: len(waveform) // 2], mono[0])[1] > 0.99
    assert place(second, stereo.mean(axis=0))[1] > 0.99


def test_file_that_cannot_be_read_is_no_fault_of_the_recording(encode_by_ffmpeg: Encode) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 10_000:
                raise OSError(5, "the disk is gone")
            return super().read(size)

    with pytest.raises(OSError, match="the disk is gone"):
        list(read_blocks(Broken(encode_by_ffmpeg(sound(44_100), 44_100, "adts", "aac"))))


@pytest.mark.parametrize(
    "content", [b"", b"text " * 500, bytes(5000), b"<html><body>404</body></html>" * 90, b"\xff\xfb\x90\x00" * 3]
)
def test_what_is_no_audio_is_not_given_to_ffmpeg(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("av.open")
    with pytest.raises(UnusableAudioError) as caught:
        decode_waveform(content, 32_000)
    assert caught.value.reason == "undecodable"
    assert "FFmpeg" not in caught.value.detail
    assert stated_seconds(io.BytesIO(content)) == 0
