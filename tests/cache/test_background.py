"""The user's own noise through the features stage: real Dask, Zarr and Dask's children, and a small ONNX model."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cache.audio.decoding import decode_waveform
from cache.background import build_background, judge_files, list_copies, list_sounds, plan_copies
from cache.config.data import DataConfig
from cache.config.features import EmbeddingConfig, LogMelConfig
from cache.features import build_features, feature_recipe
from cache.front_end.embedding import open_embedder
from cache.garbage import collect_garbage
from cache.recordings.audio_files import FoundFiles
from cache.recordings.background_tables import Background
from cache.recordings.catalogue_tables import read_catalogue, read_quarantine
from cache.store.strip_store import StripStore
from cache.verify import verify
from cache.workspace.provenance import read_provenance
from cache.workspace.urls import upload
from cache.workspace.workspace import Workspace

RATE = 8000
LOG_MEL = LogMelConfig(sample_rate=RATE, hop_length=512, n_mels=16, fmax=4000.0, workers=2)


def hiss(seed: int, seconds: float, level: float = 0.05) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE))


@pytest.fixture(scope="module")
def sounds(
    tmp_path_factory: pytest.TempPathFactory,
    encode_audio: Callable[..., bytes],
    write_dataset: Callable[..., DataConfig],
) -> DataConfig:
    """Two recordings, and a folder with wind and rain beside files that are no background."""
    audio = {"a/one.wav": encode_audio(hiss(1, 3.0), RATE), "b/two.wav": encode_audio(hiss(2, 2.2), RATE)}
    rows = [{"primary_label": name[0], "filename": name, "author": name} for name in audio]
    data = write_dataset(tmp_path_factory.mktemp("data"), rows, audio)
    folder = tmp_path_factory.mktemp("noise")
    files = {
        "wind/strong.wav": encode_audio(hiss(3, 4.0), RATE),
        "wind/same.WAV": encode_audio(hiss(3, 4.0), RATE),
        "rain.flac": encode_audio(hiss(4, 1.5), RATE, "FLAC"),
        "broken.mp3": b"not audio",
        "silent.wav": encode_audio(np.full(RATE, 1e-6), RATE, subtype="FLOAT"),
        "bird.wav": audio["a/one.wav"],
        "index.csv": b"file,category",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return data.model_copy(update={"background": str(folder)})


@pytest.fixture(scope="module")
def embedding(tiny_model: Path) -> EmbeddingConfig:
    return EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model), "workers": 2})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


def test_file_whose_name_no_table_can_hold_is_left_out() -> None:
    names = [os.fsdecode("Zürich.wav".encode("latin-1")), "a\rb.wav", "Zürich.wav"]
    assert list(list_sounds(FoundFiles(dict.fromkeys(names, (1, "1"))))["recording_id"]) == ["Zürich.wav"]


def test_usable_sounds_have_strips_of_the_same_features(sounds: DataConfig, workspace: Workspace) -> None:
    directory = build_background(sounds, LOG_MEL, workspace)
    usable = read_catalogue(directory)
    assert usable["recording_id"].tolist() == ["rain.flac", "wind/same.WAV"]  # of the same bytes one file is enough
    assert usable["seconds"].tolist() == [24 * 512 / RATE, 63 * 512 / RATE]
    reasons = read_quarantine(directory).set_index("recording_id")["reason"].to_dict()
    assert reasons == {"bird.wav": "labelled", "broken.mp3": "undecodable", "silent.wav": "silent"}
    store = StripStore(workspace.feature_directory(feature_recipe(LOG_MEL).key))
    background = Background.read(directory, workspace)
    assert background.copies == ()
    assert list(background.sha256s) == sorted(usable["sha256"])
    assert [len(store.read(sha256)) for sha256 in usable["sha256"]] == [1 + RATE * 3 // 2 // 512, 1 + RATE * 4 // 512]
    assert build_background(sounds, LOG_MEL, workspace) == directory


def test_keys_of_experiments_without_a_background_stay(
    sounds: DataConfig, embedding: EmbeddingConfig, workspace: Workspace
) -> None:
    plain = sounds.model_copy(update={"background": None})
    assert sounds.identity() == plain.identity() == {"min_seconds": 0.5, "silence_db": -60.0}
    other = embedding.model_copy(update={"background_variants": 7, "background_snr_db": (0.0, 1.0)})
    assert set(embedding.identity()) == {"kind", "model", "stride_seconds", "dtype"}
    assert feature_recipe(other).key == feature_recipe(embedding).key
    before = build_features(plain, LOG_MEL, workspace)
    build_background(sounds, LOG_MEL, workspace)
    assert build_features(sounds, LOG_MEL, workspace) == before


def test_background_has_another_key_if_its_sounds_change(
    sounds: DataConfig, workspace: Workspace, tmp_path: Path, encode_audio: Callable[..., bytes]
) -> None:
    shutil.copytree(str(sounds.background), tmp_path / "moved")
    moved = sounds.model_copy(update={"background": str(tmp_path / "moved")})
    assert build_background(moved, LOG_MEL, workspace) == build_background(sounds, LOG_MEL, workspace)
    (tmp_path / "moved" / "sea.wav").write_bytes(encode_audio(hiss(9, 1.0), RATE))
    assert build_background(moved, LOG_MEL, workspace) != build_background(sounds, LOG_MEL, workspace)


def test_copies_are_embeddings_of_the_recordings_with_noise(
    sounds: DataConfig, embedding: EmbeddingConfig, workspace: Workspace
) -> None:
    """The small model gives the root mean square of quarters, so independent noise adds to its square."""
    steady = embedding.model_copy(update={"background_snr_db": (0.0, 0.0), "song_hz": (50.0, 4000.0)})
    clean = StripStore(
        workspace.feature_directory(read_provenance(build_features(sounds, steady, workspace))["inputs"]["features"])
    )
    background = Background.read(build_background(sounds, steady, workspace), workspace)
    assert len(background.copies) == 2
    copies = [StripStore(copy) for copy in background.copies]
    for recording in ("a/one.wav", "b/two.wav"):
        content = (Path(sounds.root) / "train_audio" / recording).read_bytes()
        waveform = decode_waveform(content, RATE)
        (sha256,) = (
            key
            for key, strip in clean.strips.items()
            if strip.seconds == len(waveform) / RATE and key in copies[0].strips
        )
        for copy in copies:
            rows = np.stack([clean.read(sha256), copy.read(sha256)]).astype(np.float64)
            whole = rows[:, : len(waveform) // (RATE // 2) - 1]  # windows without zeros
            assert np.square(whole[1]).mean() / np.square(whole[0]).mean() == pytest.approx(2, rel=0.1)  # 0 dB
        assert not np.array_equal(copies[0].read(sha256), copies[1].read(sha256))
        assert copies[0].read_scores(sha256).shape[1] == 0
    directory = background.copies[0]
    exact = np.concatenate(list(open_embedder(steady, directory).embed([waveform])))[:, :4]
    assert np.abs(exact - copies[0].read(sha256)).max() > 0.01


@pytest.mark.soak
def test_copies_are_the_same_with_sounds_and_workspace_in_a_bucket(
    sounds: DataConfig, embedding: EmbeddingConfig, workspace: Workspace, tmp_path: Path, s3: str
) -> None:
    for path in Path(str(sounds.background)).rglob("*.*"):
        upload(path, f"{s3}/noise/{path.relative_to(str(sounds.background))}")
    one = embedding.model_copy(update={"background_variants": 1})
    in_bucket = sounds.model_copy(update={"background": f"{s3}/noise"})
    bucket = f"{s3}/background"
    built = [
        (build_background(sounds, one, workspace), workspace),
        (build_background(in_bucket, one, first := Workspace.open(bucket, tmp_path / "first")), first),
    ]
    assert built[0][0].name == built[1][0].name
    elsewhere = Workspace.open(bucket, tmp_path / "second")  # a machine that has nothing yet
    built[1] = elsewhere.artefact("backgrounds", built[1][0].name), elsewhere
    stores = [StripStore(Background.read(*each).copies[0]) for each in built]
    assert stores[0].strips.keys() == stores[1].strips.keys()
    assert len(stores[0].strips) == 2
    for sha256 in stores[0].strips:
        np.testing.assert_array_equal(stores[0].read(sha256), stores[1].read(sha256))


def test_garbage_is_what_no_background_needs(
    sounds: DataConfig, embedding: EmbeddingConfig, workspace: Workspace, tmp_path: Path
) -> None:
    catalogue = build_features(sounds, embedding, workspace)
    background = build_background(sounds, embedding, workspace)
    log_mel = build_background(sounds, LOG_MEL, workspace)
    assert {item.path.parent.name for item in collect_garbage(workspace)} == set()
    fewer = sounds.model_copy(update={"background": str(tmp_path / "fewer")})
    shutil.copytree(Path(str(sounds.background)) / "wind", tmp_path / "fewer")
    newer = build_background(fewer, embedding, workspace)
    copies = [copy.path for copy in Background.read(background, workspace).copies]
    removed = {item.path for item in collect_garbage(workspace)}
    assert {background, *copies} <= removed
    assert {path.parent.name for path in removed} == {"backgrounds", "catalogues", "features"}
    assert all(path.is_dir() for path in (catalogue, newer, log_mel))
    assert all(copy.path.is_dir() for copy in Background.read(newer, workspace).copies)
    assert build_background(fewer, embedding, workspace) == newer


def test_damaged_strips_of_the_background_and_of_copies_are_computed_again(
    sounds: DataConfig, embedding: EmbeddingConfig, workspace: Workspace
) -> None:
    build_features(sounds, embedding, workspace)
    build_background(sounds, embedding, workspace)
    for features in (embedding, *list_copies(sounds, embedding, workspace)):
        store = workspace.feature_directory(feature_recipe(features).key)
        before = {sha256: StripStore(store).read(sha256) for sha256 in StripStore(store).strips}
        for chunk in (store.path / "parts").glob("*/c/0/0"):
            chunk.write_bytes(b"\x11" * chunk.stat().st_size)
        verdict = verify(sounds, features, workspace, 1.0, repair=True)
        assert verdict.damages
        assert verdict.lost == ()
        assert verify(sounds, features, workspace, 1.0, repair=False).intact
        after = StripStore(store)
        for sha256, strip in before.items():
            np.testing.assert_array_equal(after.read(sha256), strip)


def test_number_of_copies_is_the_users(sounds: DataConfig, embedding: EmbeddingConfig, workspace: Workspace) -> None:
    build_background(sounds, embedding.model_copy(update={"background_variants": 0}), workspace)
    usable, _ = judge_files(sounds, embedding, workspace)
    planned = {
        count: plan_copies(sounds, embedding.model_copy(update={"background_variants": count}), usable)
        for count in (0, 1, 3)
    }
    assert {count: len(copies) for count, copies in planned.items()} == {0: 0, 1: 1, 3: 3}
    assert feature_recipe(planned[1][0]).key == feature_recipe(planned[3][0]).key  # a further copy adds to the others
    assert list_copies(sounds, embedding, workspace) == []


def test_log_mel_has_no_copies_whatever_the_state_of_its_store(sounds: DataConfig, workspace: Workspace) -> None:
    build_background(sounds, LOG_MEL, workspace)
    for fragment in (workspace.feature_directory(feature_recipe(LOG_MEL).key).path / "index").iterdir():
        fragment.write_text("torn")
    assert list_copies(sounds, LOG_MEL, workspace) == []


def test_folders_without_background_are_refused(sounds: DataConfig, workspace: Workspace, tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        build_background(sounds.model_copy(update={"background": str(folder)}), LOG_MEL, workspace)

    with pytest.raises(FileNotFoundError, match=r"nowhere: there is no such folder\. Set it to a folder"):
        build(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "index.csv").write_text("file")
    with pytest.raises(ValueError, match=r"data\.background=.*empty holds no audio file\. Put sounds"):
        build(tmp_path / "empty")
    (tmp_path / "empty" / "a.wav").write_bytes(b"not audio")
    with pytest.raises(ValueError, match=r"No file of data\.background=.*empty is usable \(1 undecodable\)"):
        build(tmp_path / "empty")
