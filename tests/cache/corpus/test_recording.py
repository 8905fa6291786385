import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from cache.corpus.recording import encode_audio, render_recording, seeded_generator
from cache.synth import CorpusPlan, plan_recordings

PLAN = CorpusPlan(species=20, recordings=60, seed=1, min_seconds=2.0, max_seconds=2.5)


@pytest.mark.parametrize("codec", ["ogg", "mp3", "wav", "flac"])
def test_codecs_keep_the_tone(codec: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(100_000) / 32_000)
    channels = np.stack([tone, tone], axis=1).astype(np.float32)
    decoded, rate = soundfile.read(io.BytesIO(encode_audio(channels, 32_000, codec, serial=1)))
    assert rate == 32_000
    assert decoded.shape[1] == 2
    assert abs(len(decoded) - 100_000) < 3000
    lost_db = 20 * np.log10(0.5 / np.sqrt(2) / np.sqrt(np.square(decoded).mean()))
    assert abs(lost_db) < 1.0  # LAME takes off 0.9 dB by itself


def test_recording_does_not_depend_on_what_was_made_before() -> None:
    planned = plan_recordings(PLAN)
    others = (planned[-1].species,)
    first, first_row = render_recording(planned[0], others)
    render_recording(planned[5], others)
    again, again_row = render_recording(planned[0], others)
    np.testing.assert_array_equal(first, again)
    assert first_row == again_row


def test_stereo_recordists_give_two_channels() -> None:
    planned = plan_recordings(PLAN)[0]
    for stereo, channels in ((False, 1), (True, 2)):
        sound, _ = render_recording(
            replace(planned, recordist=replace(planned.recordist, stereo=stereo)), (planned.species,)
        )
        assert sound.shape[1] == channels
        assert sound.dtype == np.float32
        assert np.abs(sound).max() <= 1.0


def test_generators_differ_by_key_and_agree_by_seed() -> None:
    draws = [seeded_generator(seed, *key).random() for seed, key in ((0, (1,)), (0, (1,)), (0, (2,)), (1, (1,)))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3
