"""Fault injection on the features stage: whatever happens, nothing half-written is readable and a rerun ends well.

Every fault hits a real process at a random moment; the content is compared with that of a quiet build, bit for bit.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from cache.config.features import LogMelConfig
from cache.features import open_feature_directory
from cache.recordings.catalogue_tables import feature_directory, read_catalogue
from cache.store.strip_store import StripStore
from cache.synth import CorpusPlan, synthesize_corpus
from cache.verify import find_damage
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

PROJECT = Path(__file__).resolve().parents[2]
FEATURES = LogMelConfig(n_mels=32, workers=2)
KILLS = 30
BUILD = """
import sys
from pathlib import Path
from cache import features
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.workspace.workspace import Workspace

features.PART_RECORDINGS = 4
config = LogMelConfig.model_validate_json(sys.argv[3])
data = DataConfig(root=sys.argv[1], max_quarantined_share=0.9)
print(features.build_features(data, config, Workspace(Path(sys.argv[2]))))
"""

needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = CorpusPlan(species=20, recordings=160, seed=2, min_seconds=4.0, max_seconds=12.0)
    return synthesize_corpus(tmp_path_factory.mktemp("soak") / "corpus", plan)


@pytest.fixture(scope="module")
def calm(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A workspace that was built without disturbance, and the seconds that it took."""
    workspace = tmp_path_factory.mktemp("calm")
    finish(corpus, workspace)  # the first process pays for compiled bytecode
    shutil.rmtree(workspace)
    started = time.monotonic()
    finish(corpus, workspace)
    return workspace, time.monotonic() - started


def start(corpus: Path, workspace: Path, features: LogMelConfig = FEATURES) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(corpus), str(workspace), features.model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(corpus: Path, workspace: Path, features: LogMelConfig = FEATURES) -> Path:
    """Returns the catalogue of a build that must succeed."""
    process = start(corpus, workspace, features)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return Path(output.strip())


def kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def store_of(workspace: Path) -> Path:
    return open_feature_directory(FEATURES, Workspace(workspace)).path


def read_published(workspace: Path) -> dict[str, bytes]:
    """The bytes of every part that has a fragment, and of the fragments."""
    store = store_of(workspace)
    parts = [path.stem for path in (store / "index").glob("*.json")]
    files = [path for part in parts for path in (store / "parts" / part).rglob("*") if path.is_file()]
    files += list((store / "index").glob("*.json"))
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def assert_sound(workspace: Path) -> None:
    """Nothing that readers see is damaged; arrays without fragments are seen by none."""
    damages = find_damage(FeatureDirectory(store_of(workspace)), 1.0, np.random.default_rng(0))
    assert [damage for damage in damages if damage.problem != "the index fragment is missing"] == []


def assert_same(workspace: Path, calm: Path) -> None:
    assert_sound(workspace)
    assert read_published(workspace) == read_published(calm)


def test_process_group_killed_at_random_moments(corpus: Path, calm: tuple[Path, float], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kills = rounds = 0
    while kills < KILLS:
        workspace = tmp_path / str(rounds)
        rounds += 1
        for _ in range(4):
            process = start(corpus, workspace)
            time.sleep(rng.uniform(0.2, 0.8) * calm[1])
            if process.poll() is None:
                kill_group(process)
                kills += 1
            else:
                process.communicate()
            assert_sound(workspace)
        finish(corpus, workspace)
        assert_same(workspace, calm[0])
    print(f"{kills} kills of the process group in {rounds} builds")  # noqa: T201


def test_decoders_killed_at_random_moments(corpus: Path, calm: tuple[Path, float], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    kills = rounds = 0
    while kills < KILLS:
        workspace = tmp_path / str(rounds)
        rounds += 1
        process = start(corpus, workspace)
        while process.poll() is None:
            time.sleep(rng.uniform(0.8, 1.6))
            with suppress(psutil.NoSuchProcess):
                decoders = psutil.Process(process.pid).children(recursive=True)
                if decoders:
                    decoders[rng.integers(len(decoders))].kill()
                    kills += 1
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert len(read_catalogue(Path(output.strip()))) == 160
        assert_same(workspace, calm[0])
    print(f"{kills} kills of a decoder, or of the server that forks them, in {rounds} builds")  # noqa: T201


@contextmanager
def running_cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler's address, and the processes of it and of two workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    worker = ["worker", address, "--nthreads", "1", "--no-nanny"]
    processes = []
    with ExitStack() as stack:
        for arguments in (["scheduler", "--host", address, "--no-dashboard"], worker, worker):
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        yield address, processes


@pytest.mark.parametrize("victim", ["scheduler", "worker"])
def test_cluster_killed_at_random_moments(victim: str, corpus: Path, calm: tuple[Path, float], tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    failed = 0
    for number in range(5):
        workspace = tmp_path / str(number)
        with running_cluster(tmp_path) as (address, processes):
            features = FEATURES.model_copy(update={"cluster": address})
            process = start(corpus, workspace, features)
            deadline = time.monotonic() + 60
            while not list(store_of(workspace).glob("index/*.json")) and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 0.4) * calm[1])
            processes[0 if victim == "scheduler" else 1].kill()
            _, errors = process.communicate(timeout=300)
            failed += process.returncode != 0
            if victim == "worker":
                assert process.returncode == 0, errors
        assert_sound(workspace)
        finish(corpus, workspace)
        assert_same(workspace, calm[0])
    print(f"5 kills of a {victim}: {failed} builds failed and were run again")  # noqa: T201


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mounts a file system in memory; yields a function that mounts it again with other options."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True) and None
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@needs_mounts
@pytest.mark.parametrize("size", ["300k", "1500k", "3m"])
def test_full_disk_is_named_and_nothing_is_lost(
    size: str, corpus: Path, calm: tuple[Path, float], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", size) as remount:
        process = start(corpus, tmp_path / "disk" / "work")
        _, errors = process.communicate(timeout=300)
        assert process.returncode != 0
        assert "No space left on device" in errors
        if (tmp_path / "disk" / "work" / "features").is_dir():
            assert_sound(tmp_path / "disk" / "work")
        remount("size=200m")
        finish(corpus, tmp_path / "disk" / "work")
        assert_same(tmp_path / "disk" / "work", calm[0])


@needs_mounts
def test_read_only_store_is_named_and_nothing_is_lost(corpus: Path, calm: tuple[Path, float], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "200m") as remount:
        process = start(corpus, tmp_path / "disk" / "work")
        time.sleep(0.7 * calm[1])
        kill_group(process)
        remount("ro")
        process = start(corpus, tmp_path / "disk" / "work")
        _, errors = process.communicate(timeout=300)
        assert process.returncode != 0
        assert "Read-only file system" in errors
        remount("rw")
        finish(corpus, tmp_path / "disk" / "work")
        assert_same(tmp_path / "disk" / "work", calm[0])


def test_files_that_change_and_vanish_while_they_are_read(
    corpus: Path, calm: tuple[Path, float], tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    shutil.copytree(corpus, tmp_path / "data")
    originals = sorted(path for path in (corpus / "train_audio").rglob("*") if path.is_file())
    for _ in range(3):
        process = start(tmp_path / "data", tmp_path / "work")
        while process.poll() is None:
            chosen = originals[rng.integers(len(originals))]
            path = tmp_path / "data" / chosen.relative_to(corpus)
            path.write_bytes(originals[rng.integers(len(originals))].read_bytes()[: rng.integers(1, 20_000)])
            if rng.random() < 0.5:
                path.unlink()
            time.sleep(0.02)
        process.communicate()
        assert_sound(tmp_path / "work")
        shutil.copytree(corpus, tmp_path / "data", dirs_exist_ok=True)
    catalogue = finish(tmp_path / "data", tmp_path / "work")
    (quiet,) = (calm[0] / "catalogues").iterdir()
    assert_sound(tmp_path / "work")
    assert (catalogue / "recordings.csv").read_bytes() == (quiet / "recordings.csv").read_bytes()
    store, expected = (
        StripStore(feature_directory(catalogue, Workspace(tmp_path / "work"))),
        StripStore(FeatureDirectory(store_of(calm[0]))),
    )
    for sha256 in expected.strips:
        assert store.read(sha256).tobytes() == expected.read(sha256).tobytes()


def test_two_builds_of_overlapping_data_sets_at_once(corpus: Path, calm: tuple[Path, float], tmp_path: Path) -> None:
    table = (corpus / "train_metadata.csv").read_text().splitlines(keepends=True)
    for name, rows in {"first": table[1:111], "second": table[51:]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "train_audio").symlink_to(corpus / "train_audio")
        (tmp_path / name / "train_metadata.csv").write_text(table[0] + "".join(rows))
    for number in range(3):
        workspace = tmp_path / f"work {number}"
        processes = [start(tmp_path / name, workspace) for name in ("first", "second")]
        results = [process.communicate(timeout=600) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], results
        assert [len(read_catalogue(Path(output.strip()))) for output, _ in results] == [110, 110]
        assert_sound(workspace)
        store, expected = (
            StripStore(FeatureDirectory(store_of(workspace))),
            StripStore(FeatureDirectory(store_of(calm[0]))),
        )
        assert set(store.strips) == set(expected.strips)
        for sha256 in expected.strips:
            assert store.read(sha256).tobytes() == expected.read(sha256).tobytes()
