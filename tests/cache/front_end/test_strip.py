"""Embeddings through the whole features stage: real Dask, Zarr and catalogue, and a small ONNX model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.computing.part import Source, compute_part
from cache.config.data import DataConfig
from cache.config.features import EmbeddingConfig
from cache.features import build_features, open_feature_directory, store_here
from cache.front_end import embedding
from cache.front_end.embedding import open_embedder
from cache.front_end.strip import stream_strip, warm_up
from cache.recordings.catalogue_tables import feature_directory, read_catalogue, read_duplicates, read_quarantine
from cache.store.part_writer import CHUNK_FRAMES
from cache.store.strip_store import StripStore
from cache.verify import verify
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

RATE = 8000


@dataclass(frozen=True)
class Built:
    data: DataConfig
    features: EmbeddingConfig
    workspace: Path
    catalogue: Path
    store: FeatureDirectory


def sing(seed: int, seconds: float) -> NDArray[np.float32]:
    """Returns noise through a slowly moving resonance, whose strip has much to tell it by."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    moments = np.arange(0, seconds + 0.2, 0.12)
    pitch = 500 + 2500 * np.interp(time, moments, generator.random(len(moments)))
    loudness = np.interp(time, moments, generator.random(len(moments)))
    song = loudness * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
    return (0.4 * song + generator.normal(0, 0.01, len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory,
    encode_audio: Callable[..., bytes],
    write_dataset: Callable[..., DataConfig],
    tiny_model: Path,
) -> Built:
    song = sing(1, 8.3)
    audio = {
        "a/song.wav": encode_audio(song, RATE),
        "a/quieter.flac": encode_audio(0.5 * song[3000:], RATE, "FLAC"),
        "a/other.wav": encode_audio(sing(2, 6.0), RATE),
        "b/short.wav": encode_audio(sing(3, 0.7), RATE),
        "b/silent.wav": encode_audio(np.full(RATE, 1e-6, np.float32), RATE, subtype="FLOAT"),
        "b/brief.wav": encode_audio(sing(4, 0.1), RATE),
        "b/broken.wav": b"not audio",
        "b/loud.wav": encode_audio(1e9 * sing(6, 2.0), RATE, subtype="FLOAT"),
        "b/more.wav": encode_audio(sing(5, 5.0), RATE),
    }
    rows = [{"primary_label": name[0], "filename": name, "author": name} for name in audio]
    data = write_dataset(tmp_path_factory.mktemp("data"), rows, audio, max_quarantined_share=0.5)
    workspace = tmp_path_factory.mktemp("workspace")
    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model), "workers": 2})
    catalogue = build_features(data, features, Workspace(workspace))
    return Built(data, features, workspace, catalogue, feature_directory(catalogue, Workspace(workspace)))


def read_audio(built: Built, name: str) -> NDArray[np.float32]:
    return decode_waveform((Path(built.data.root) / "train_audio" / name).read_bytes(), RATE)


def test_strips_and_scores_are_what_the_model_gives(built: Built) -> None:
    store, recordings = StripStore(built.store), read_catalogue(built.catalogue)
    for name, sha256, frames in zip(*(recordings[key] for key in ("recording_id", "sha256", "frames")), strict=True):
        whole = np.concatenate(list(open_embedder(built.features, built.store).embed([read_audio(built, name)])))
        assert len(whole) == frames
        np.testing.assert_allclose(store.read(sha256), whole[:, :4], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(store.read_scores(sha256), whole[:, 4:], rtol=1e-3)
        streamed = list(stream_strip(Path(built.data.root) / "train_audio" / name, built.features, built.store))
        np.testing.assert_allclose(np.concatenate(streamed), whole[:, :4], atol=1e-4)


def test_rows_laid_together_are_strips_without_their_scores(built: Built) -> None:
    store, sha256s = StripStore(built.store), read_catalogue(built.catalogue)["sha256"].tolist()
    values, starts, lengths = store.load(sha256s)
    assert values.shape == (lengths.sum(), 4)
    for sha256, start, length in zip(sha256s, starts, lengths, strict=True):
        np.testing.assert_array_equal(values[start : start + length], store.read(sha256))


def test_recordings_last_as_long_as_their_audio_and_not_as_their_windows(built: Built) -> None:
    seconds = read_catalogue(built.catalogue).set_index("recording_id")["seconds"]
    assert seconds.to_dict() == {
        "a/other.wav": 6.0,
        "a/quieter.flac": 7.925,
        "a/song.wav": 8.3,
        "b/more.wav": 5.0,
        "b/short.wav": 0.7,
    }


def test_bad_recordings_are_told_as_those_of_log_mel_are(built: Built) -> None:
    reasons = read_quarantine(built.catalogue).set_index("recording_id")["reason"]
    assert reasons.to_dict() == {
        "b/brief.wav": "too_short",
        "b/broken.wav": "undecodable",
        "b/loud.wav": "non_finite",
        "b/silent.wav": "silent",
    }


def test_new_recording_whose_embedding_no_strip_can_hold_is_unusable(built: Built) -> None:
    loud = Path(built.data.root) / "train_audio" / "b/loud.wav"
    with pytest.raises(UnusableAudioError, match=r"non_finite: Tiny gives values up to .*e\+0[78], and a strip"):
        list(stream_strip(loud, built.features, built.store))


def test_same_sound_in_other_bytes_is_found(built: Built) -> None:
    duplicates = read_duplicates(built.catalogue)
    pairs = duplicates[["recording_id", "other_recording_id", "why"]].to_numpy().tolist()
    assert pairs == [["a/quieter.flac", "a/song.wav", "same sound"]]
    assert duplicates["lag_seconds"][0] == pytest.approx(-3000 / RATE, abs=0.02)


def test_store_names_the_model_by_its_content_with_its_licence(built: Built) -> None:
    model = read_provenance(built.store.path)["config"]["model"]
    assert (model["name"], model["licence"], model["sha256"]) == ("Tiny", "CC0", built.features.model.sha256)
    assert "file" not in model


def test_worker_that_sees_a_store_by_its_url_computes_parts_of_it(
    built: Built, tmp_path: Path, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(bucket_url, tmp_path)
    store = open_feature_directory(built.features, workspace).path
    recordings = read_catalogue(built.catalogue)
    paths = [f"{built.data.root}/train_audio/{name}" for name in recordings["recording_id"]]
    sources = [Source(sha256, path, 1) for sha256, path in zip(recordings["sha256"], paths, strict=True)]
    monkeypatch.setattr(embedding, "loaded", {})
    with store_here(workspace.address(store)) as directory:
        warm_up(built.features, directory)  # as a child does first
        list(compute_part(sources, built.features, directory, {}))
        assert read_provenance(directory.path)["key"] == store.name
    stored, before = StripStore(workspace.feature_directory(store.name)), StripStore(built.store)
    assert set(stored.strips) == set(recordings["sha256"])
    for sha256 in stored.strips:
        np.testing.assert_array_equal(stored.read_scores(sha256), before.read_scores(sha256))


def test_unchanged_recordings_are_not_embedded_again(built: Built, caplog: pytest.LogCaptureFixture) -> None:
    written = {path: path.stat().st_mtime_ns for path in built.store.path.rglob("*")}
    with caplog.at_level("INFO"):
        assert build_features(built.data, built.features, Workspace(built.workspace)) == built.catalogue
    assert [record.__dict__["to_compute"] for record in caplog.records if "to_compute" in record.__dict__] == [0]
    assert {path: path.stat().st_mtime_ns for path in built.store.path.rglob("*")} == written


def test_damage_is_found_and_repaired(built: Built) -> None:
    sound = StripStore(built.store)
    sha256s = read_catalogue(built.catalogue)["sha256"].tolist()
    before = {sha256: sound.read_scores(sha256) for sha256 in sha256s}
    chunk = next((built.store.path / "parts").glob("*/c/0/0"))
    content = bytearray(chunk.read_bytes())
    content[8:16] = b"\x11" * 8  # scores of the first row
    chunk.write_bytes(content)
    verdict = verify(built.data, built.features, Workspace(built.workspace), 1.0, repair=True)
    assert [damage.problem for damage in verdict.damages] == ["1 of 7 strips differ from their digest"]
    assert verify(built.data, built.features, Workspace(built.workspace), 1.0, repair=False).intact
    repaired = StripStore(built.store)
    assert all(np.array_equal(repaired.read_scores(sha256), before[sha256]) for sha256 in sha256s)


def test_wide_rows_lie_in_shorter_chunks(tmp_path: Path) -> None:
    from cache.store.part_array import PartRows
    from cache.store.part_writer import PartWriter

    with PartWriter(FeatureDirectory(tmp_path), 1024, score_columns=6000) as writer:
        writer.add_strip("a", np.ones((5, 7024), np.float32))
        part = PartRows.open(tmp_path / "parts" / writer.publish())
    assert part.chunk_frames == 2**21 // (2 * 7024) < CHUNK_FRAMES
    assert (part.channels, part.score_columns) == (1024, 6000)


def test_process_loads_its_model_once(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "loaded", {})
    with pytest.raises(FileNotFoundError, match=r"model\.onnx is gone"):
        open_embedder(built.features, FeatureDirectory(tmp_path))
    open_embedder(built.features, built.store)
    window = np.zeros(built.features.model.window_samples, np.float32)
    assert len(next(open_embedder(built.features, FeatureDirectory(tmp_path)).embed([window]))) == 1  # without a file
