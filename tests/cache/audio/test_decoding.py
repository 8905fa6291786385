import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.audio.streaming import stream_waveform

EncodeAudio = Callable[..., bytes]

RATES = (8_000, 22_050, 32_000, 44_100, 48_000)
SECONDS = 1.3


def sine(sample_rate: int, amplitude: float = 0.5, hertz: float = 1000.0, seconds: float = SECONDS) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * sample_rate)) / sample_rate)


def amplitude_of(samples: np.ndarray, sample_rate: int) -> float:
    """Amplitude of a sine, from the root mean square of its middle half second."""
    middle = samples[int(0.4 * sample_rate) : int(0.9 * sample_rate)]
    return float(np.sqrt(2 * np.mean(np.square(middle, dtype=np.float64))))


@pytest.mark.parametrize(
    ("file_format", "channels"),
    [(file_format, channels) for file_format in ("WAV", "FLAC", "OGG") for channels in (1, 2, 3)]
    + [("MP3", 1), ("MP3", 2)],  # an MP3 holds at most two channels
)
@pytest.mark.parametrize("native_rate", RATES)
def test_file_becomes_mono_at_the_wanted_rate(
    encode_audio: EncodeAudio, file_format: str, native_rate: int, channels: int
) -> None:
    audio = encode_audio(np.stack([sine(native_rate)] * channels, axis=1), native_rate, file_format)
    waveform = decode_waveform(audio, 16_000)
    assert waveform.dtype == np.float32
    assert waveform.flags.c_contiguous
    padding = 2 * 1152 / native_rate if file_format == "MP3" else 1 / 16_000  # an MP3 holds whole frames
    assert waveform.shape == (len(waveform),)
    assert SECONDS - 1 / 16_000 <= len(waveform) / 16_000 <= SECONDS + padding
    spectrum = np.abs(np.fft.rfft(waveform[4000:12_000]))
    assert spectrum.argmax() * 2 == 1000  # half a second: bins are 2 Hz apart


@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("native_rate", RATES)
def test_resampling_keeps_the_amplitude_of_a_sine(
    encode_audio: EncodeAudio, file_format: str, native_rate: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("sine") / "audio"
    path.write_bytes(encode_audio(sine(native_rate), native_rate, file_format))
    native, _ = soundfile.read(path)  # what the codec left of it
    if file_format in {"WAV", "FLAC"}:
        assert amplitude_of(native, native_rate) == pytest.approx(0.5, abs=1e-4)
    for wanted in (16_000, 32_000):
        waveform = decode_waveform(path.read_bytes(), wanted)
        assert amplitude_of(waveform, wanted) == pytest.approx(amplitude_of(native, native_rate), rel=2e-3)


@pytest.mark.parametrize("native_rate", [10_000, 11_025, 250_000])
def test_rates_of_insect_and_bat_recorders_are_resampled(encode_audio: EncodeAudio, native_rate: int) -> None:
    waveform = decode_waveform(encode_audio(sine(native_rate), native_rate), 32_000)
    assert abs(len(waveform) - SECONDS * 32_000) <= 1
    assert amplitude_of(waveform, 32_000) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(
    ("subtype", "error"),
    [("PCM_U8", 1 / 128), ("PCM_24", 1e-6), ("DOUBLE", 1e-6), ("ULAW", 0.02), ("MS_ADPCM", 0.05), ("IMA_ADPCM", 0.05)],
)
def test_encodings_of_wav_are_read(encode_audio: EncodeAudio, subtype: str, error: float) -> None:
    samples = sine(32_000, hertz=300.0)
    waveform = decode_waveform(encode_audio(samples, subtype=subtype), 32_000)
    assert len(samples) <= len(waveform) < len(samples) + 2048  # ADPCM holds whole blocks
    settled = slice(100, len(samples))  # ADPCM starts from silence
    assert np.abs(waveform[settled] - samples[settled]).max() < error


def test_rate_by_which_a_small_file_becomes_hours_is_refused(encode_audio: EncodeAudio, tmp_path: Path) -> None:
    audio = encode_audio(sine(32_000), 2, "AIFF")  # 83 kB state 5.8 hours
    (tmp_path / "a.aiff").write_bytes(audio)
    for decode in (lambda: decode_waveform(audio, 32_000), lambda: list(stream_waveform(tmp_path / "a.aiff", 32_000))):
        with pytest.raises(UnusableAudioError, match="undecodable: its sample rate of 2 Hz holds no song"):
            decode()


def test_samples_at_the_wanted_rate_are_not_touched(encode_audio: EncodeAudio) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    waveform = decode_waveform(encode_audio(samples, 32_000, subtype="FLOAT"), 32_000)
    np.testing.assert_array_equal(waveform, samples)


def test_sound_above_half_the_wanted_rate_is_removed(encode_audio: EncodeAudio) -> None:
    waveform = decode_waveform(encode_audio(sine(48_000, hertz=15_000.0), 48_000), 16_000)
    assert amplitude_of(waveform, 16_000) < 1e-3  # without a low-pass it would fold to 1 kHz


def test_mono_is_the_mean_over_channels(encode_audio: EncodeAudio) -> None:
    left, middle, right = np.float32([[0.5, -0.25, 1.0], [0.25, -0.25, 0.5], [0.0, 0.125, 0.0]])
    stereo = decode_waveform(encode_audio(np.stack([left, right], axis=1), subtype="FLOAT"), 32_000)
    np.testing.assert_allclose(stereo, [0.25, -0.0625, 0.5], atol=1e-7)
    three = decode_waveform(encode_audio(np.stack([left, middle, right], axis=1), subtype="FLOAT"), 32_000)
    np.testing.assert_allclose(three, [0.25, -0.125, 0.5], atol=1e-7)


def test_of_opposite_channels_one_is_kept(encode_audio: EncodeAudio) -> None:
    left = sine(48_000).astype(np.float32)
    waveform = decode_waveform(encode_audio(np.stack([left, -left], axis=1), 48_000, subtype="FLOAT"), 48_000)
    np.testing.assert_array_equal(waveform, left)


@pytest.mark.parametrize(
    ("audio", "detail"),
    [
        (b"", "the file has no bytes"),
        (b"this is not audio" * 100, "Format not recognised"),
        (bytes(5000), "Format not recognised"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n",
            "a Git-LFS pointer, not audio: fetch the file with `git lfs pull`",
        ),
        (b"\x00\x00\x00\x1cftypM4A \x00\x00\x02\x00" + bytes(5000), "Format not recognised"),
    ],
    ids=["no bytes", "text", "zeros", "git-lfs pointer", "m4a"],
)
def test_file_that_is_no_audio_is_undecodable(audio: bytes, detail: str) -> None:
    with pytest.raises(UnusableAudioError) as caught:
        decode_waveform(audio, 32_000)
    assert caught.value.reason == "undecodable"
    assert detail in caught.value.detail
    assert str(caught.value) == f"undecodable: {caught.value.detail}"


def test_detail_is_the_same_each_time_and_names_no_object() -> None:
    details = []
    for _ in range(2):
        with pytest.raises(UnusableAudioError) as caught:
            decode_waveform(b"noise" * 50, 32_000)
        details.append(caught.value.detail)
    assert details[0] == details[1]
    assert "BytesIO" not in details[0]


def test_file_without_samples_is_empty(encode_audio: EncodeAudio) -> None:
    with pytest.raises(UnusableAudioError, match="empty: no sample decodes") as caught:
        decode_waveform(encode_audio(np.zeros(0)), 32_000)
    assert caught.value.reason == "empty"


def test_recording_shorter_than_one_wanted_sample_is_empty(encode_audio: EncodeAudio) -> None:
    with pytest.raises(UnusableAudioError, match="1 samples at 48000 Hz are none at 8000 Hz") as caught:
        decode_waveform(encode_audio(np.full(1, 0.5), 48_000), 8_000)
    assert caught.value.reason == "empty"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_samples_are_counted(encode_audio: EncodeAudio, value: float) -> None:
    samples = np.zeros(1000, np.float32)
    samples[[3, 500]] = value
    with pytest.raises(UnusableAudioError, match="non_finite: 2 samples are NaN or infinite") as caught:
        decode_waveform(encode_audio(samples, subtype="FLOAT"), 32_000)
    assert caught.value.reason == "non_finite"


def test_truncated_wav_gives_the_samples_that_are_there(encode_audio: EncodeAudio) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 10_000).astype(np.float32)
    audio = encode_audio(samples, 32_000, subtype="FLOAT")
    header = len(audio) - 4 * len(samples)
    waveform = decode_waveform(audio[: header + 4 * 2500], 32_000)
    np.testing.assert_array_equal(waveform, samples[:2500])


def test_wav_header_that_promises_more_is_not_trusted(encode_audio: EncodeAudio) -> None:
    samples = np.random.default_rng(2).uniform(-1, 1, 5000).astype(np.float32)
    audio = bytearray(encode_audio(samples, 32_000, subtype="FLOAT"))
    size = audio.index(b"data") + 4
    assert struct.unpack_from("<I", audio, size) == (20_000,)
    struct.pack_into("<I", audio, size, 0xFFFF_FFF0)
    np.testing.assert_array_equal(decode_waveform(bytes(audio), 32_000), samples)


@pytest.mark.parametrize("promised_more", [20, 2000])
def test_mp3_header_that_promises_more_is_not_trusted(encode_audio: EncodeAudio, promised_more: int) -> None:
    audio = bytearray(encode_audio(sine(32_000), 32_000, "MP3"))
    true = decode_waveform(bytes(audio), 32_000)
    count = audio.index(b"Xing") + 8  # number of frames of 1,152 samples
    frames = int.from_bytes(audio[count : count + 4], "big")
    audio[count : count + 4] = (frames + promised_more).to_bytes(4, "big")
    assert soundfile.info(io.BytesIO(audio)).frames > len(true) + 10 * 1152
    waveform = decode_waveform(bytes(audio), 32_000)
    assert len(true) <= len(waveform) < len(true) + 2 * 1152
    np.testing.assert_array_equal(waveform[: len(true)], true)


def test_ogg_with_a_torn_header_is_undecodable(encode_audio: EncodeAudio) -> None:
    audio = bytearray(encode_audio(sine(32_000), 32_000, "OGG"))
    audio[200:260] = bytes(60)
    with pytest.raises(UnusableAudioError, match=r"undecodable: pages of the Ogg file are damaged"):
        decode_waveform(bytes(audio), 32_000)


@pytest.mark.parametrize("file_format", ["MP3", "OGG"])
def test_half_of_a_lossy_file_gives_about_half_of_its_sound(encode_audio: EncodeAudio, file_format: str) -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, 10 * 32_000)
    audio = encode_audio(samples, 32_000, file_format)
    whole = decode_waveform(audio, 32_000)
    half = decode_waveform(audio[: len(audio) // 2], 32_000)
    assert 0.4 < len(half) / len(whole) < 0.6
    np.testing.assert_allclose(half[: 4 * 32_000], whole[: 4 * 32_000], atol=1e-3)


def test_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnusableAudioError("empty", "no sample decodes")))
    assert type(error) is UnusableAudioError
    assert (error.reason, error.detail, str(error)) == ("empty", "no sample decodes", "empty: no sample decodes")


def promise_samples(flac: bytes, samples: int) -> bytes:
    """Returns a FLAC file whose STREAMINFO block, in the last 36 of these 64 bits, promises a number of samples."""
    fields = int.from_bytes(flac[18:26], "big")
    return flac[:18] + ((fields >> 36 << 36) | samples).to_bytes(8, "big") + flac[26:]


@pytest.mark.parametrize("promised", [0, (1 << 36) - 1])
def test_flac_header_that_cannot_be_true_is_not_trusted(encode_audio: EncodeAudio, promised: int) -> None:
    audio = encode_audio(sine(32_000), 32_000, "FLAC")
    whole = decode_waveform(audio, 32_000)
    np.testing.assert_array_equal(decode_waveform(promise_samples(audio, promised), 32_000), whole)


def test_mp3_without_a_whole_frame_is_not_told_as_missing(encode_audio: EncodeAudio) -> None:
    audio = encode_audio(sine(32_000), 32_000, "MP3")[:40]
    with pytest.raises(UnusableAudioError, match=r"No frame of its sound decodes\.") as caught:
        decode_waveform(audio, 32_000)
    assert caught.value.reason == "undecodable"
