"""Models that load slowly and storage that is slow, which are no fault of a recording."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from faulty_decoder import plant_in_children

from cache.computing import children
from cache.computing.children import ChildDiedError
from cache.computing.part import Source
from cache.computing.retries import end_children, retry_part
from cache.config.features import EmbeddingConfig, LogMelConfig, NoisyEmbeddingConfig
from cache.config.noise import NoiseFile, NoiseMix
from cache.front_end.strip import equip_store
from cache.workspace.feature_directory import FeatureDirectory

TIMEOUT_SECONDS = 1.0
LOG_MEL = LogMelConfig(sample_rate=8_000, fmax=4000.0, n_fft=512, hop_length=256, n_mels=8)
PLANT_DELAY = """
import time
import onnxruntime

load = onnxruntime.InferenceSession

def load_slowly(*arguments, **options):
    time.sleep({seconds})
    return load(*arguments, **options)

onnxruntime.InferenceSession = load_slowly
"""


@pytest.fixture(autouse=True)
def children_end() -> Iterator[None]:
    yield
    end_children()


@pytest.fixture
def load_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes every load of an ONNX model in a child take as many seconds."""

    def plant(seconds: float) -> None:
        plant_in_children(tmp_path / "site", monkeypatch, PLANT_DELAY.format(seconds=seconds))

    return plant


@pytest.fixture
def embeddings(tiny_model: Path) -> EmbeddingConfig:
    settings = {"kind": "embedding", "model": str(tiny_model), "timeout_seconds": TIMEOUT_SECONDS}
    return EmbeddingConfig.model_validate(settings)


@pytest.fixture
def source(tmp_path: Path, encode_audio: Callable[..., bytes]) -> Source:
    audio, path = encode_audio(np.random.default_rng(0).normal(0, 0.1, 16_000), 8_000), tmp_path / "a.wav"
    path.write_bytes(audio)
    return Source(hashlib.sha256(audio).hexdigest(), str(path), len(audio))


def make_store(folder: Path, features: EmbeddingConfig) -> FeatureDirectory:
    store = FeatureDirectory(folder)
    folder.mkdir()
    equip_store(features, store)
    return store


def test_load_of_the_model_does_not_count_towards_the_limit_of_a_recording(
    load_within: Callable[[float], None], embeddings: EmbeddingConfig, source: Source, tmp_path: Path
) -> None:
    load_within(2.5 * TIMEOUT_SECONDS)
    store = make_store(tmp_path / "store", embeddings)
    assert [event.reason for event in retry_part([source], embeddings, store)] == [""]


def test_model_that_does_not_load_ends_the_build_with_the_setting_to_change(
    load_within: Callable[[float], None],
    embeddings: EmbeddingConfig,
    source: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_within(60)
    list(retry_part([source], LOG_MEL, FeatureDirectory(tmp_path / "log-mel")))  # so the server has started
    monkeypatch.setattr(children, "START_SECONDS", 2.0)
    store = make_store(tmp_path / "store", embeddings)
    with pytest.raises(ChildDiedError, match=r"begun.* features\.timeout_seconds=4"):
        list(retry_part([source], embeddings, store))


def test_storage_of_the_noise_does_not_count_towards_the_limit_of_a_recording(
    embeddings: EmbeddingConfig, source: Source, tmp_path: Path, encode_audio: Callable[..., bytes]
) -> None:
    noise, file = encode_audio(np.random.default_rng(1).normal(0, 0.1, 16_000), 8_000), tmp_path / "rain.wav"
    files = (NoiseFile(hashlib.sha256(noise).hexdigest(), str(file)),)
    mix = NoiseMix(variant=1, background="0" * 16, snr_db=(6.0, 6.0), song_hz=(500.0, 4000.0), files=files)
    features = NoisyEmbeddingConfig.model_validate({**embeddings.model_dump(), "noise": mix})
    os.mkfifo(file)  # reading waits for whoever writes
    store = make_store(tmp_path / "store", features)
    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(lambda: list(retry_part([source], features, store)))
        time.sleep(12 * TIMEOUT_SECONDS)  # of which the child takes some to start and to load the model
        file.write_bytes(noise)
        assert [event.reason for event in finished.result()] == [""]
