import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from cache.audio.decoding import DECODER
from cache.computing.part import Source, compute_part
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.features import build_features, feature_recipe, find_missing, group_sources, open_feature_directory
from cache.isolation.fork_server import ForkServer
from cache.recordings.catalogue_tables import feature_directory, read_catalogue, read_quarantine
from cache.store.fragment import Failure
from cache.store.part_writer import PartWriter
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.provenance import artefact_key, read_provenance
from cache.workspace.workspace import Workspace

EncodeAudio = Callable[..., bytes]
WriteDataset = Callable[..., DataConfig]

PROJECT = Path(__file__).resolve().parents[2]
RECORDINGS = 24
PART_RECORDINGS = 3
FEATURES = LogMelConfig(sample_rate=16_000, fmax=8000.0, n_fft=1024, hop_length=256, n_mels=24, workers=1)

BUILD_SLOWLY = """
import sys, time
from pathlib import Path
from cache import features
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.workspace.workspace import Workspace

compute_at_once = features.retry_part

def retry_part(*arguments):
    time.sleep(0.4)
    return compute_at_once(*arguments)

if __name__ == "__main__":
    features.PART_RECORDINGS = int(sys.argv[3])
    features.retry_part = retry_part
    config = LogMelConfig.model_validate_json(sys.argv[4])
    features.build_features(DataConfig(root=sys.argv[1]), config, Workspace(Path(sys.argv[2])))
"""


def read_all_bytes(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def counted(caplog: pytest.LogCaptureFixture) -> list[tuple[int, int]]:
    """Returns how many audio files each build has told it must compute, and how many it found."""
    fields = [record.__dict__ for record in caplog.records if "to_compute" in record.__dict__]
    return [(each["to_compute"], each["from_cache"]) for each in fields]


def store_of(workspace: Path) -> Path:
    (store,) = (workspace / "features").iterdir()
    return store


def noise(seed: int, seconds: float = 0.8, sample_rate: int = 16_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * sample_rate)).clip(-1, 1)


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory, encode_audio: EncodeAudio, write_dataset: WriteDataset
) -> DataConfig:
    """Twenty-four recordings of three species, of different lengths and formats."""
    formats = ("WAV", "FLAC", "OGG")
    audio = {
        f"bird{number % 3}/{number}.audio": encode_audio(
            noise(number, seconds=0.6 + 0.05 * number), 16_000, formats[number % 3]
        )
        for number in range(RECORDINGS)
    }
    rows = [
        {"primary_label": name.split("/")[0], "filename": name, "author": f"author {number % 7}"}
        for number, name in enumerate(audio)
    ]
    return write_dataset(tmp_path_factory.mktemp("features") / "data", rows, audio)


@pytest.fixture(scope="module")
def built(data: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A workspace that one worker built without disturbance, and its catalogue."""
    workspace = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cache.features.PART_RECORDINGS", PART_RECORDINGS)
        return workspace, build_features(data, FEATURES, Workspace(workspace))


@pytest.fixture
def copied(data: DataConfig, built: tuple[Path, Path], tmp_path: Path) -> tuple[DataConfig, Path]:
    """A copy of data set and workspace that a test may change."""
    shutil.copytree(built[0], tmp_path / "work")
    shutil.copytree(data.root, tmp_path / "data")
    return data.model_copy(update={"root": str(tmp_path / "data")}), tmp_path / "work"


def test_every_recording_has_the_strip_that_librosa_computes(data: DataConfig, built: tuple[Path, Path]) -> None:
    workspace, catalogue = built
    recordings = read_catalogue(catalogue)
    store = StripStore(feature_directory(catalogue, Workspace(workspace)))
    assert len(recordings) == RECORDINGS
    for name, sha256, frames in zip(
        recordings["recording_id"], recordings["sha256"], recordings["frames"], strict=True
    ):
        waveform, _ = soundfile.read(Path(data.root) / "train_audio" / name)
        power = librosa.feature.melspectrogram(
            y=waveform, sr=16_000, n_fft=1024, hop_length=256, n_mels=24, fmin=20.0, fmax=8000.0, pad_mode="constant"
        )
        expected = 10 * np.log10(np.maximum(power.T, 1e-10))
        strip = store.read(sha256)
        assert strip.shape == (frames, 24) == (1 + len(waveform) // 256, 24)
        np.testing.assert_allclose(strip, expected, rtol=0, atol=0.042)  # half a float16 step at 100, and 0.01


def test_parts_are_cut_by_the_number_of_recordings(built: tuple[Path, Path]) -> None:
    store = store_of(built[0])
    parts = sorted(path.name for path in (store / "parts").iterdir())
    assert len(parts) == RECORDINGS / PART_RECORDINGS
    assert parts == sorted(path.stem for path in (store / "index").iterdir())


def test_two_workers_write_the_same_bytes_as_one(
    data: DataConfig, built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache.features.PART_RECORDINGS", PART_RECORDINGS)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    catalogue = build_features(data, FEATURES.model_copy(update={"workers": 2}), Workspace(tmp_path))
    assert "OMP_NUM_THREADS" not in os.environ, "training in this process would run on one thread"
    assert catalogue.name == built[1].name
    assert store_of(tmp_path).name == store_of(built[0]).name
    for folder in ("parts", "index"):
        one = read_all_bytes(store_of(built[0]) / folder)
        assert len(one) >= RECORDINGS / PART_RECORDINGS
        assert read_all_bytes(store_of(tmp_path) / folder) == one
    for name in ("recordings.csv", "species.csv", "quarantine.csv", "summary.json"):
        assert (catalogue / name).read_bytes() == (built[1] / name).read_bytes()


def test_rebuild_computes_nothing_and_changes_nothing(
    copied: tuple[DataConfig, Path], built: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    data, workspace = copied
    caplog.set_level(logging.INFO, logger="cache.features")
    first = build_features(data, FEATURES, Workspace(workspace))  # the copied audio folder has no remembered hashes
    before = read_all_bytes(workspace)
    caplog.clear()
    assert build_features(data, FEATURES, Workspace(workspace)) == first
    assert first.name == built[1].name
    assert read_all_bytes(workspace) == before
    assert counted(caplog) == [(0, RECORDINGS)]


def test_ten_more_recordings_are_the_only_ones_computed(
    copied: tuple[DataConfig, Path], encode_audio: EncodeAudio, caplog: pytest.LogCaptureFixture
) -> None:
    data, workspace = copied
    table = Path(data.root) / "train_metadata.csv"
    before = read_all_bytes(store_of(workspace))
    old_strips = set(StripStore(FeatureDirectory(store_of(workspace))).strips)
    for number in range(10):
        name = f"bird0/new{number}.wav"
        (Path(data.root) / "train_audio" / name).write_bytes(encode_audio(noise(100 + number), 16_000))
        with table.open("a") as stream:
            stream.write(f"bird0,{name},author 1\n")
    caplog.set_level(logging.INFO, logger="cache.features")
    catalogue = build_features(data, FEATURES, Workspace(workspace))
    assert counted(caplog) == [(10, RECORDINGS)]
    new_strips = set(StripStore(FeatureDirectory(store_of(workspace))).strips) - old_strips
    assert len(new_strips) == 10
    assert len(read_catalogue(catalogue)) == RECORDINGS + 10
    after = read_all_bytes(store_of(workspace))
    assert {name: after[name] for name in before} == before


def test_same_bytes_under_two_names_share_a_strip(
    copied: tuple[DataConfig, Path], caplog: pytest.LogCaptureFixture
) -> None:
    data, workspace = copied
    audio = Path(data.root) / "train_audio"
    shutil.copyfile(audio / "bird0" / "0.audio", audio / "bird0" / "twin.audio")
    with (Path(data.root) / "train_metadata.csv").open("a") as stream:
        stream.write("bird0,bird0/twin.audio,author 5\n")
    caplog.set_level(logging.INFO, logger="cache.features")
    recordings = read_catalogue(build_features(data, FEATURES, Workspace(workspace))).set_index("recording_id")
    assert counted(caplog)[-1] == (0, RECORDINGS)
    assert recordings.loc["bird0/twin.audio", "sha256"] == recordings.loc["bird0/0.audio", "sha256"]
    assert len(recordings) == RECORDINGS + 1
    assert len(StripStore(FeatureDirectory(store_of(workspace))).strips) == RECORDINGS


def test_changed_n_mels_makes_another_store_and_leaves_the_first(copied: tuple[DataConfig, Path]) -> None:
    data, workspace = copied
    first = store_of(workspace)
    before = read_all_bytes(first)
    catalogue = build_features(data, FEATURES.model_copy(update={"n_mels": 16}), Workspace(workspace))
    second = feature_directory(catalogue, Workspace(workspace)).path
    assert second != first
    for store, n_mels in ((second, 16), (first, 24)):
        strips = StripStore(FeatureDirectory(store))
        assert strips.read(next(iter(strips.strips))).shape[1] == n_mels
    assert len(StripStore(FeatureDirectory(second)).strips) == RECORDINGS
    assert read_all_bytes(first) == before


def test_builds_of_a_process_share_a_fork_server(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[ForkServer] = []

    def start(*arguments: Any) -> ForkServer:
        started.append(ForkServer(*arguments))
        return started[-1]

    monkeypatch.setattr("cache.isolation.kept_server.ForkServer", start)
    monkeypatch.setenv("OF_NO_OTHER_TEST", "1")
    for n_mels in (8, 12):
        build_features(data, FEATURES.model_copy(update={"n_mels": n_mels}), Workspace(tmp_path))
    assert len(started) == 1


def test_killed_build_continues_to_bit_identical_contents(
    data: DataConfig, built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "build_slowly.py"
    script.write_text(BUILD_SLOWLY)
    workspace = tmp_path / "work"
    process = subprocess.Popen(
        [sys.executable, str(script), data.root, str(workspace), str(PART_RECORDINGS), FEATURES.model_dump_json()],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(workspace.glob("features/*/index/*.json")):
        assert process.poll() is None, "the build ended before its first part"
        assert time.monotonic() < deadline, "no part within a minute"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    finished = len(list(workspace.glob("features/*/index/*.json")))
    assert 0 < finished < RECORDINGS / PART_RECORDINGS
    assert not (workspace / "catalogues").exists()

    monkeypatch.setattr("cache.features.PART_RECORDINGS", PART_RECORDINGS)
    catalogue = build_features(data, FEATURES, Workspace(workspace))
    for name in ("recordings.csv", "species.csv", "quarantine.csv", "summary.json"):
        assert (catalogue / name).read_bytes() == (built[1] / name).read_bytes()
    undisturbed, continued = (
        StripStore(FeatureDirectory(store_of(built[0]))),
        StripStore(FeatureDirectory(store_of(workspace))),
    )
    assert len(continued.strips) == RECORDINGS
    assert continued.strips == undisturbed.strips
    for sha256 in undisturbed.strips:
        assert continued.read(sha256).tobytes() == undisturbed.read(sha256).tobytes()


def test_opened_feature_directory_is_kept_as_it_is(built: tuple[Path, Path]) -> None:
    workspace, catalogue = built
    before = read_all_bytes(workspace / "features")
    store = open_feature_directory(FEATURES, Workspace(workspace)).path
    assert store == feature_directory(catalogue, Workspace(workspace)).path
    assert artefact_key(store) == store.name
    assert read_all_bytes(workspace / "features") == before


def test_builders_that_open_a_new_feature_directory_at_once_make_one_without_files(tmp_path: Path) -> None:
    def open_together(_: int) -> Path:
        together.wait()
        return open_feature_directory(FEATURES, Workspace(tmp_path)).path

    together = Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        (store,) = set(pool.map(open_together, range(8)))
    provenance = read_provenance(store)
    assert provenance["key"] == store.name
    assert provenance["files"] == {}  # a file that is there later is no part of what a mirror fetches


def test_remains_of_a_killed_builder_are_no_part_of_a_feature_directory(tmp_path: Path) -> None:
    store = tmp_path / "features" / feature_recipe(FEATURES).key
    store.mkdir(parents=True)
    (store / ".provenance.json.1.partial").write_text("{")
    assert open_feature_directory(FEATURES, Workspace(tmp_path)).path == store
    assert read_provenance(store)["files"] == {}


def test_part_is_closed_at_sixty_four_recordings() -> None:
    sources = [Source(f"{number:04}", "x", 10) for number in range(150)]
    groups = group_sources(sources)
    assert [len(group) for group in groups] == [64, 64, 22]
    assert [source for group in groups for source in group] == sources


def test_part_is_closed_once_it_holds_thirty_two_million_bytes() -> None:
    sizes = [31_999_999, 1, 40_000_000, 16_000_000, 15_999_999, 5, 7]
    groups = group_sources([Source(str(number), "x", size) for number, size in enumerate(sizes)])
    assert [[source.size for source in group] for group in groups] == [
        [31_999_999, 1],
        [40_000_000],
        [16_000_000, 15_999_999, 5],
        [7],
    ]


def test_full_last_part_is_not_followed_by_an_empty_one() -> None:
    assert [len(group) for group in group_sources([Source(str(number), "x", 1) for number in range(128)])] == [64, 64]
    assert group_sources([]) == []


def test_groups_that_a_killed_build_left_are_the_same() -> None:
    sources = [Source(f"{number:04}", "x", 1_000_000 * (1 + number % 9)) for number in range(100)]
    groups = group_sources(sources)
    assert len(groups) > 4
    finished = [*groups[1], *groups[3]]
    assert group_sources([source for source in sources if source not in finished]) == [
        groups[0],
        groups[2],
        *groups[4:],
    ]


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({}, []),
        ({"timeout_seconds": 20.0}, ["slow"]),
        ({"timeout_seconds": 5.0}, []),
        ({"memory_gb": 4.5}, ["large"]),
    ],
)
def test_recording_stopped_by_a_limit_is_tried_again_with_a_higher_one(
    tmp_path: Path, changed: dict[str, float], again: list[str]
) -> None:
    with PartWriter(FeatureDirectory(tmp_path), 4) as writer:
        writer.add_failure(Failure("slow", "timeout", "", limit=10.0))
        writer.add_failure(Failure("large", "too_large", "", limit=4.0, decoder=DECODER))
        writer.add_failure(Failure("bad", "undecodable", "", decoder=DECODER))
        writer.publish()
    features = LogMelConfig(timeout_seconds=10.0, memory_gb=4.0).model_copy(update=changed)
    names = ["bad", "large", "slow"]
    recordings = pd.DataFrame({"recording_id": names, "sha256": names, "size": 1})
    missing = find_missing(recordings, str(tmp_path), StripStore(FeatureDirectory(tmp_path)), features)
    assert [source.sha256 for source in missing] == again


@pytest.mark.parametrize("reason", ["undecodable", "empty", "crash", "too_large", "non_finite"])
@pytest.mark.parametrize("decoder", [None, DECODER - 1, DECODER])
def test_what_an_earlier_decoder_did_not_read_is_tried_again(tmp_path: Path, reason: str, decoder: int | None) -> None:
    with PartWriter(FeatureDirectory(tmp_path), 4) as writer:
        writer.add_failure(Failure("bad", reason, "", limit=4.0 if reason == "too_large" else None, decoder=decoder))
        writer.publish()
    recordings = pd.DataFrame({"recording_id": ["bad"], "sha256": ["bad"], "size": 1})
    store = StripStore(FeatureDirectory(tmp_path))
    missing = find_missing(recordings, str(tmp_path), store, LogMelConfig(memory_gb=4.0))
    assert len(missing) == (decoder != DECODER and reason != "non_finite")


def test_m4a_that_an_earlier_release_gave_up_is_tried_again_once(
    tmp_path: Path,
    encode_audio: EncodeAudio,
    encode_by_ffmpeg: EncodeAudio,
    write_dataset: WriteDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audio = {
        "bird/a.m4a": encode_by_ffmpeg(noise(0, 2.0)[np.newaxis], 16_000, "ipod", "aac"),
        "bird/b.wav": encode_audio(noise(1), 16_000),
        "bird/c.m4a": b"<html>404</html>",
        "bird/d.wav": encode_audio([]),
    }
    rows = [{"primary_label": "bird", "filename": name} for name in audio]
    data = write_dataset(tmp_path / "data", rows, audio, max_quarantined_share=0.9)
    hashes = [hashlib.sha256(content).hexdigest() for content in audio.values()]
    store = open_feature_directory(FEATURES, Workspace(tmp_path / "work")).path
    sources = [Source(hashes[1], str(tmp_path / "data/train_audio/bird/b.wav"), 0)]
    with PartWriter(FeatureDirectory(store), FEATURES.n_mels) as writer:  # as an earlier release left it
        writer.add_failure(Failure(hashes[0], "undecodable", "Format not recognised."))
        writer.add_failure(Failure(hashes[2], "undecodable", "Format not recognised."))
        writer.add_failure(Failure(hashes[3], "empty", "no sample decodes"))
        writer.publish()
    list(compute_part(sources, FEATURES, FeatureDirectory(store), {}))
    index = {path: path.read_bytes() for path in (store / "index").iterdir()}
    assert all(b"decoder" not in content for content in index.values())

    catalogue = build_features(data, FEATURES, Workspace(tmp_path / "work"))
    assert read_catalogue(catalogue)["recording_id"].tolist() == ["bird/a.m4a", "bird/b.wav"]
    assert read_catalogue(catalogue)["seconds"].tolist() == pytest.approx([2.0, 0.8], abs=0.08)
    assert read_quarantine(catalogue)[["recording_id", "detail"]].to_numpy().tolist() == [
        ["bird/c.m4a", "Format not recognised."],
        ["bird/d.wav", "no sample decodes"],
    ]
    assert {path: path.read_bytes() for path in index} == index
    tried = StripStore(FeatureDirectory(store)).failures
    assert (tried[hashes[2]].decoder, tried[hashes[3]].decoder) == (DECODER, DECODER)

    def compute_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("cache.features._compute", compute_again)
    assert build_features(data, FEATURES, Workspace(tmp_path / "work")) == catalogue


def test_bytes_hold_the_same_strips_in_half_the_space(
    data: DataConfig, built: tuple[Path, Path], tmp_path: Path
) -> None:
    catalogue = build_features(data, FEATURES.model_copy(update={"dtype": "uint8"}), Workspace(tmp_path))
    fine, coarse = (
        StripStore(FeatureDirectory(store_of(built[0]))),
        StripStore(feature_directory(catalogue, Workspace(tmp_path))),
    )
    names = list(fine.strips)
    values, starts, lengths = coarse.load(names)
    encoding = coarse.reader(names).encoding
    assert values.dtype == np.uint8
    assert values.nbytes * 2 == fine.load(names)[0].nbytes
    for name, start, length in zip(names, starts, lengths, strict=True):
        assert coarse.read(name).dtype == np.float16
        np.testing.assert_allclose(coarse.read(name).astype(float), fine.read(name).astype(float), atol=0.25 + 0.032)
        np.testing.assert_array_equal(encoding.decode(values[start : start + length]), coarse.read(name))
    assert read_catalogue(catalogue)["frames"].tolist() == read_catalogue(built[1])["frames"].tolist()
