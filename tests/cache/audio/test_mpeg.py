"""Lengths of frames as the standard's formula gives them, and frames that are found among other bytes."""

import io

import numpy as np
import pytest
import soundfile

from cache.audio.mpeg import RUN, begins_sound, find_frames, forget_count, frame_bytes, holds_count, leave_out_damage


@pytest.mark.parametrize(
    ("header", "length"),
    [
        # 144 * bit rate / sample rate for MPEG-1 layer III and both layers II, 72 for MPEG-2 layer III; a byte padded
        ("fffb9064", 144 * 128_000 // 44_100),
        ("fffb9264", 144 * 128_000 // 44_100 + 1),
        ("fffbe4c4", 144 * 320_000 // 48_000),
        ("fffb18c4", 144 * 32_000 // 32_000),
        ("fff384c4", 72 * 64_000 // 24_000),
        ("ffe318c4", 72 * 8_000 // 8_000),
        ("fffd94c4", 144 * 160_000 // 48_000),
        ("ffff9000", 4 * (12 * 288_000 // 44_100)),  # layer I: slots of 4 bytes
        ("fffb0064", 0),  # free format
        ("fffbf064", 0),
        ("fffb9c64", 0),
        ("ffeb9064", 0),
        ("fff99064", 0),
        ("fefb9064", 0),
        ("fffb90", 0),
    ],
)
def test_length_of_a_frame_follows_from_its_header(header: str, length: int) -> None:
    assert frame_bytes(bytes.fromhex(header)) == length


FRAME = bytes.fromhex("fffb1064").ljust(144 * 32_000 // 44_100, b"\0")


def test_frames_are_found_behind_other_bytes() -> None:
    junk = b"\xff\xfb\x90d" + 50 * b"\xff"
    content = io.BytesIO(junk + (RUN - 1) * FRAME + b"TAG" + junk + RUN * FRAME)
    assert find_frames(content, 0) == 2 * len(junk) + (RUN - 1) * len(FRAME) + 3
    assert find_frames(content, content.seek(0, 2) - RUN * len(FRAME) + 1) is None


def test_noise_holds_no_frames() -> None:
    assert find_frames(io.BytesIO(np.random.default_rng(0).bytes(3_000_000)), 0) is None


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (32_000, 1), (22_050, 2), (16_000, 1), (8_000, 1)])
def test_file_without_its_count_decodes_to_the_same_samples(rate: int, channels: int) -> None:
    stream = io.BytesIO()
    samples = np.random.default_rng(0).normal(0, 0.1, (rate, channels))
    soundfile.write(stream, samples, rate, format="MP3")
    whole, _ = soundfile.read(io.BytesIO(stream.getvalue()), always_2d=True)
    tag = b"ID3\3\0\0\0\0\1\0" + bytes(128)
    content = io.BytesIO(tag + stream.getvalue())
    assert holds_count(content, len(tag))
    sound, lost = forget_count(content)
    with soundfile.SoundFile(sound) as audio:
        assert lost == 0
        assert audio.frames > 2 * rate
        np.testing.assert_allclose(audio.read(len(whole), always_2d=True), whole, rtol=0, atol=1e-6)
    bare = stream.getvalue()[frame_bytes(stream.getvalue()[:4]) :]
    assert not holds_count(io.BytesIO(bare), 0)
    sound, lost = forget_count(io.BytesIO(bare))
    assert holds_count(sound, 0)
    sound.seek(0)
    with soundfile.SoundFile(sound) as counted, soundfile.SoundFile(io.BytesIO(bare)) as plain:
        assert counted.frames > 2 * rate
        first = plain.read(4000 + lost)[lost:]
        np.testing.assert_allclose(counted.read(4000), first, rtol=0, atol=1e-6)


def test_damage_is_left_out_from_where_libmpg123_gives_up() -> None:
    run, other = FRAME * RUN, bytes.fromhex("fff384c4").ljust(72 * 64_000 // 24_000, b"\0") * RUN
    counted = FRAME[:36] + b"Xing" + FRAME[40:]
    front = b"ID3\4\0\0\0\0\0\3tag" + run + b"text" + run
    damaged = front + bytes(1500) + run + b"text" + run + bytes(2000) + run
    for following in (other, counted + run):
        mended, place = leave_out_damage(io.BytesIO(damaged + following), len(front) + 1024)
        assert mended.read() == front + run + run + run
        assert place == len(damaged)


def test_damage_behind_the_tag_is_left_out() -> None:
    tag, run = b"ID3\4\0\0\0\0\0\3tag", FRAME * RUN
    assert leave_out_damage(io.BytesIO(tag + bytes(2000) + run), 1100)[0].read() == tag + run


def test_file_without_damage_stays_as_it_is() -> None:
    mended, place = leave_out_damage(io.BytesIO(FRAME * RUN + FRAME[:-20]), 100)
    assert (mended.read(), place) == (FRAME * RUN + FRAME[:-20], None)
    assert leave_out_damage(io.BytesIO(b"no frames"), 9)[0].read() == b""


def test_count_of_the_next_frame_is_not_that_of_a_short_frame() -> None:
    short = bytes.fromhex("fff314c4").ljust(72 * 8_000 // 24_000, b"\0")
    assert not holds_count(io.BytesIO(short + FRAME[:36] + b"Xing" + FRAME[40:]), 0)


def test_sound_begins_behind_a_tag() -> None:
    assert begins_sound(io.BytesIO(b"ID3\4\0\0\0\0\0\3tag" + FRAME * RUN))
    assert not begins_sound(io.BytesIO(b"ID3\4\0\0\0\0\0\4tag" + FRAME * RUN))
    assert not begins_sound(io.BytesIO(FRAME * (RUN - 1)))
