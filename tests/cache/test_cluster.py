"""The same store from the workers of a Dask scheduler that runs elsewhere, started by hand as its user would."""

import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import LocalCluster

from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.features import build_features
from cache.workspace.urls import list_files, read_bytes, upload
from cache.workspace.workspace import Workspace

EncodeAudio = Callable[..., bytes]
WriteDataset = Callable[..., DataConfig]

PROJECT = Path(__file__).resolve().parents[2]
FEATURES = LogMelConfig(sample_rate=8_000, fmax=4000.0, n_fft=512, hop_length=256, n_mels=8, workers=1)


@pytest.fixture(params=[1])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler with one worker, or as many as are wanted, each in a directory of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}  # the package is installed there, and nothing else
    commands = [
        ["scheduler", "--host", address, "--no-dashboard"],
        *[["worker", address, "--nthreads", "1"]] * request.param,
    ]
    with ExitStack() as stack:
        for number, arguments in enumerate(commands):
            folder = tmp_path / f"machine {number}"
            folder.mkdir()
            process = subprocess.Popen([sys.executable, "-m", "dask", *arguments], cwd=folder, env=environment)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield address


@contextmanager
def scheduler_here(workers: int) -> Iterator[str]:
    """Yields the address of a scheduler in this process, with workers of one thread each."""
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


def read_store(workspace: Path) -> dict[str, bytes]:
    files = (path for path in (workspace / "features").rglob("*") if path.is_file() and path.name != "provenance.json")
    return {str(path.relative_to(workspace)): path.read_bytes() for path in files}


@pytest.mark.parametrize("cluster", [2], indirect=True)
@pytest.mark.soak  # three processes import the library, and two of them start children
def test_workers_elsewhere_build_the_same_store(
    s3: str,
    cluster: str,
    tmp_path: Path,
    encode_audio: EncodeAudio,
    write_dataset: WriteDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cache.features.PART_RECORDINGS", 2)
    generator = np.random.default_rng(0)
    audio = {f"bird/{number}.wav": encode_audio(generator.normal(0, 0.1, 9_000), 8_000) for number in range(8)}
    audio["bird/bad.wav"] = b"no audio"
    rows = [{"primary_label": "bird", "filename": name} for name in audio]
    data = write_dataset(tmp_path / "data", rows, audio).model_copy(update={"max_quarantined_share": 0.5})
    monkeypatch.chdir(tmp_path)
    data = data.model_copy(update={"root": "data"})
    there = build_features(data, FEATURES.model_copy(update={"cluster": cluster}), Workspace.open("there"))
    here = build_features(data, FEATURES, Workspace(tmp_path / "here"))
    assert there.name == here.name
    assert read_store(tmp_path / "there") == read_store(tmp_path / "here")
    assert len(list((tmp_path / "there").glob("features/*/index/*.json"))) == 5
    for path in (tmp_path / "data").rglob("*.*"):
        upload(path, f"{s3}/{path.relative_to(tmp_path)}")
    data = data.model_copy(update={"root": f"{s3}/data"})
    url = f"{s3}/cluster"
    in_bucket = build_features(
        data, FEATURES.model_copy(update={"cluster": cluster}), Workspace.open(url, tmp_path / "mirrors")
    )
    assert in_bucket.name == here.name
    stored = [name for name in list_files(url) if name.startswith("features/") and "provenance" not in name]
    assert {name: read_bytes(f"{url}/{name}") for name in stored} == read_store(tmp_path / "here")


def test_worker_of_another_release_writes_nothing(
    cluster: str,
    tmp_path: Path,
    encode_audio: EncodeAudio,
    write_dataset: WriteDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audio = {"bird/0.wav": encode_audio(np.ones(9_000) * 0.1, 8_000)}
    data = write_dataset(tmp_path / "data", [{"primary_label": "bird", "filename": "bird/0.wav"}], audio)
    monkeypatch.setattr("cache.front_end.log_mel.VERSION", -1)
    with pytest.raises(RuntimeError, match="another release of birdclef is installed there"):
        build_features(data, FEATURES.model_copy(update={"cluster": cluster}), Workspace(tmp_path / "work"))
    assert read_store(tmp_path / "work") == {}


def test_scheduler_that_does_not_answer_is_named(
    tmp_path: Path, encode_audio: EncodeAudio, write_dataset: WriteDataset
) -> None:
    audio = {"bird/0.wav": encode_audio(np.zeros(9_000), 8_000)}
    data = write_dataset(tmp_path / "data", [{"primary_label": "bird", "filename": "bird/0.wav"}], audio)
    features = FEATURES.model_copy(update={"cluster": "tcp://127.0.0.1:9"})
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ConnectionError, match=r"No Dask scheduler answers at features\.cluster=tcp://127\.0\.0\.1:9"),
    ):
        build_features(data, features, Workspace(tmp_path / "work"))


def test_scheduler_without_workers_is_named_with_the_remedy(
    tmp_path: Path, encode_audio: EncodeAudio, write_dataset: WriteDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache.features.WORKER_SECONDS", 0.5)
    audio = {"bird/0.wav": encode_audio(np.ones(9_000) * 0.1, 8_000)}
    data = write_dataset(tmp_path / "data", [{"primary_label": "bird", "filename": "bird/0.wav"}], audio)
    with scheduler_here(workers=0) as address:
        features = FEATURES.model_copy(update={"cluster": address})
        with pytest.raises(
            ConnectionError, match=rf"features\.cluster={address} has had no .* `dask worker {address}`"
        ):
            build_features(data, features, Workspace(tmp_path / "work"))


def test_builds_on_one_scheduler_count_their_own_recordings(
    tmp_path: Path,
    encode_audio: EncodeAudio,
    write_dataset: WriteDataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("cache.features.PART_RECORDINGS", 1)
    caplog.set_level(logging.INFO, logger="cache.computing.progress")
    generator = np.random.default_rng(0)
    data = []
    for name in ("one", "two"):
        audio = {f"bird/{number}.wav": encode_audio(generator.normal(0, 0.1, 9_000), 8_000) for number in range(6)}
        rows = [{"primary_label": "bird", "filename": name} for name in audio]
        data.append(write_dataset(tmp_path / name, rows, audio))
    with scheduler_here(workers=1) as address, ThreadPoolExecutor(2) as threads:
        features = FEATURES.model_copy(update={"cluster": address})
        list(threads.map(lambda one: build_features(one, features, Workspace(Path(one.root) / "work")), data))
    told = [message for message in caplog.messages if "of audio" in message]
    counted = [re.findall(r"(\d+) of (\d+) recordings", message)[0] for message in told]  # more lines if it takes long
    assert counted.count(("6", "6")) == 2
    assert all(int(done) <= int(total) == 6 for done, total in counted)
