import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cache.audio.decoding import DECODER
from cache.computing.part import Finished, Reading, Source, Started, compute_part
from cache.config.features import LogMelConfig
from cache.features import open_feature_directory
from cache.store.fragment import Failure
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

EncodeAudio = Callable[..., bytes]

PROJECT = Path(__file__).resolve().parents[3]

FEATURES = LogMelConfig(sample_rate=16_000, fmax=8000.0, n_fft=1024, hop_length=256, n_mels=24)


def noise(seed: int, seconds: float = 0.8, sample_rate: int = 16_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * sample_rate)).clip(-1, 1)


def make_source(path: Path) -> Source:
    content = path.read_bytes()
    return Source(hashlib.sha256(content).hexdigest(), str(path), len(content))


def write_sources(folder: Path, encode_audio: EncodeAudio, count: int) -> list[Source]:
    for number in range(count):
        (folder / f"{number}.wav").write_bytes(encode_audio(noise(number, seconds=0.5 + number), 16_000))
    return [make_source(folder / f"{number}.wav") for number in range(count)]


def test_unusable_audio_fails_the_recording_and_not_the_part(tmp_path: Path, encode_audio: EncodeAudio) -> None:
    contents = {
        "good.wav": encode_audio(noise(1), 16_000),
        "bad.wav": b"no audio",
        "none.wav": encode_audio([]),
        "mpeg.wav": encode_audio(noise(2), 16_000, "MP3"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    sources = [make_source(tmp_path / name) for name in contents]
    finished = [
        event for event in compute_part(sources, FEATURES, FeatureDirectory(store), {}) if isinstance(event, Finished)
    ]
    assert [event.source for event in finished] == sources
    strips = StripStore(FeatureDirectory(store))
    assert set(strips.strips) == {sources[0].sha256, sources[3].sha256}
    assert {sha256: failure.reason for sha256, failure in strips.failures.items()} == {
        sources[1].sha256: "undecodable",
        sources[2].sha256: "empty",
    }


def test_file_that_vanished_or_changed_gives_no_strip_and_no_failure(tmp_path: Path, encode_audio: EncodeAudio) -> None:
    for name in ("kept.wav", "changed.wav", "vanished.wav"):
        (tmp_path / name).write_bytes(encode_audio(noise(len(name)), 16_000))
    sources = [make_source(tmp_path / name) for name in ("kept.wav", "changed.wav", "vanished.wav")]
    (tmp_path / "changed.wav").write_bytes(encode_audio(noise(99), 16_000))
    (tmp_path / "vanished.wav").unlink()
    store = open_feature_directory(FEATURES, Workspace(tmp_path / "work")).path
    finished = [
        event for event in compute_part(sources, FEATURES, FeatureDirectory(store), {}) if isinstance(event, Finished)
    ]
    assert [event.source for event in finished] == sources
    strips = StripStore(FeatureDirectory(store))
    assert set(strips.strips) == {sources[0].sha256}
    assert strips.failures == {}
    assert [event.reason for event in finished] == ["", "unreadable", "unreadable"]
    assert "changed while the features were built" in finished[1].detail
    assert "vanished.wav" in finished[2].detail


def test_each_recording_is_announced_and_then_told_with_its_seconds(tmp_path: Path, encode_audio: EncodeAudio) -> None:
    sources = write_sources(tmp_path, encode_audio, 2)
    events = list(compute_part(sources, FEATURES, FeatureDirectory(tmp_path / "store"), {}))
    assert events == [
        Reading(sources[0]),
        Started(sources[0]),
        Finished(sources[0], seconds=0.5),
        Reading(sources[1]),
        Started(sources[1]),
        Finished(sources[1], seconds=1.5),
    ]


def test_refused_recording_is_not_touched_and_recorded_as_told(tmp_path: Path, encode_audio: EncodeAudio) -> None:
    sources = write_sources(tmp_path, encode_audio, 2)
    Path(sources[0].address).unlink()  # reading it would be told as unreadable
    refusal = Failure(sources[0].sha256, "crash", "its decoding ended the process (SIGSEGV)")
    events = list(compute_part(sources, FEATURES, FeatureDirectory(tmp_path / "store"), {sources[0].sha256: refusal}))
    assert events[0] == Finished(sources[0], reason="crash", detail=refusal.detail)
    store = StripStore(FeatureDirectory(tmp_path / "store"))
    assert store.failures == {sources[0].sha256: refusal}
    assert set(store.strips) == {sources[1].sha256}


@pytest.mark.parametrize(
    "step",
    ["cache.computing.part.read_bytes", "cache.computing.part.decode_waveform", "cache.computing.part.compute_log_mel"],
)
def test_recording_beyond_memory_is_recorded_with_the_limit(
    step: str, tmp_path: Path, encode_audio: EncodeAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    sources = write_sources(tmp_path, encode_audio, 1)
    monkeypatch.setattr(step, no_memory)
    list(
        compute_part(sources, FEATURES.model_copy(update={"memory_gb": 2.5}), FeatureDirectory(tmp_path / "store"), {})
    )
    (failure,) = StripStore(FeatureDirectory(tmp_path / "store")).failures.values()
    assert failure == Failure(
        sources[0].sha256, "too_large", "decoding takes more than features.memory_gb=2.5", limit=2.5, decoder=DECODER
    )


def test_abandoned_part_leaves_nothing_behind(tmp_path: Path, encode_audio: EncodeAudio) -> None:
    events = compute_part(write_sources(tmp_path, encode_audio, 2), FEATURES, FeatureDirectory(tmp_path / "store"), {})
    for _ in range(4):
        next(events)
    assert list((tmp_path / "store" / "parts").iterdir())
    events.close()  # type: ignore[attr-defined]
    assert not list((tmp_path / "store" / "parts").iterdir())


def test_finished_survives_being_taken_apart() -> None:
    finished = Finished(Source("abc", "a/b.ogg", 12), seconds=1.5, reason="empty", detail="no sample decodes")
    assert Finished.from_message(dataclasses.asdict(finished)) == finished


PEAK_MEMORY = """
import hashlib, resource, sys
from pathlib import Path
from cache.config.features import LogMelConfig
from cache.computing.part import Source, compute_part
from cache.workspace.feature_directory import FeatureDirectory

folder, count = Path(sys.argv[1]), int(sys.argv[2])
paths = sorted(folder.glob("*.wav"))[:count]
sources = [Source(hashlib.sha256(path.read_bytes()).hexdigest(), str(path), path.stat().st_size) for path in paths]
for _ in compute_part(sources, LogMelConfig(), FeatureDirectory(folder / f"store {count}"), {}):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_peak_memory_depends_on_the_longest_recording_not_on_the_part(
    tmp_path: Path, encode_audio: EncodeAudio
) -> None:
    few, many, seconds = 10, 50, 20.0
    for number in range(many):
        content = encode_audio(noise(number, seconds, 32_000), 32_000, subtype="PCM_16")
        (tmp_path / f"{number:03}.wav").write_bytes(content)
    peak = {
        count: int(
            subprocess.run(
                [sys.executable, "-c", PEAK_MEMORY, str(tmp_path), str(count)],
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                capture_output=True,
                check=True,
            ).stdout
        )
        for count in (few, many)
    }
    waveforms = (many - few) * seconds * 32_000 * 4  # 102 MB, and their strips in float32 are 26 MB
    assert peak[many] - peak[few] < waveforms / 8
