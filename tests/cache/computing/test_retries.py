"""Children that really die, of faults that each child process imports."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import psutil
import pytest
from faulty_decoder import plant_in_children

from cache.computing import children
from cache.computing.children import ChildDiedError
from cache.computing.part import Source
from cache.computing.retries import end_children, retry_part
from cache.config.features import LogMelConfig
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory

EncodeAudio = Callable[..., bytes]

FEATURES = LogMelConfig(sample_rate=8_000, fmax=4000.0, n_fft=512, hop_length=256, n_mels=8, timeout_seconds=30.0)


@pytest.fixture(autouse=True)
def children_end() -> Iterator[None]:
    yield
    end_children()


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_in_children(tmp_path / "site", monkeypatch)


@pytest.fixture
def good(encode_audio: EncodeAudio) -> list[bytes]:
    generator = np.random.default_rng(0)
    return [encode_audio(generator.normal(0, 0.1, 8_000 + number), 8_000) for number in range(4)]


def write_sources(folder: Path, contents: list[bytes]) -> list[Source]:
    sources = []
    for number, content in enumerate(contents):
        path = folder / f"{number}.audio"
        path.write_bytes(content)
        sources.append(Source(hashlib.sha256(content).hexdigest(), str(path), len(content)))
    return sources


def living_servers() -> list[psutil.Process]:
    """Returns the fork servers of this process that have not ended."""
    alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "cache.isolation.fork_server" in " ".join(child.cmdline())]


def living_children() -> list[psutil.Process]:
    """Returns the processes that the fork server of this process has started and that have not ended."""
    return [
        child for server in living_servers() for child in server.children() if child.status() != psutil.STATUS_ZOMBIE
    ]


def read_files(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        (b"SEGFAULT", "crash", "its decoding ended the process (SIGSEGV)"),
        (b"EXIT", "crash", "its decoding ended the process (exit status 7)"),
        (b"HANG", "timeout", "not decoded within features.timeout_seconds=2"),
        (b"HUGE", "too_large", "decoding takes more than features.memory_gb=1"),
    ],
)
@pytest.mark.usefixtures("faulty")
def test_recording_that_ends_its_process_costs_only_itself(
    fault: bytes, reason: str, detail: str, good: list[bytes], tmp_path: Path
) -> None:
    sources = write_sources(tmp_path, [good[0], good[1], fault, good[2]])
    features = FEATURES.model_copy(update={"timeout_seconds": 2.0, "memory_gb": 1.0})
    finished = list(retry_part(sources, features, FeatureDirectory(tmp_path / "store")))
    assert [event.source for event in finished] == sources
    assert [event.reason for event in finished] == ["", "", reason, ""]
    store = StripStore(FeatureDirectory(tmp_path / "store"))
    assert set(store.strips) == {sources[number].sha256 for number in (0, 1, 3)}
    (failure,) = store.failures.values()
    assert (failure.sha256, failure.reason, failure.detail) == (sources[2].sha256, reason, detail)
    assert len(list((tmp_path / "store" / "index").iterdir())) == 1


def test_storage_that_stalls_does_not_count_towards_the_limit_of_a_recording(good: list[bytes], tmp_path: Path) -> None:
    sources = write_sources(tmp_path, good[:2])
    features = FEATURES.model_copy(update={"timeout_seconds": 1.0})
    list(retry_part(sources[1:], features, FeatureDirectory(tmp_path / "other")))  # so the child has started
    Path(sources[0].address).unlink()
    os.mkfifo(sources[0].address)  # reading waits for whoever writes
    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(lambda: list(retry_part(sources, features, FeatureDirectory(tmp_path / "store"))))
        time.sleep(3 * features.timeout_seconds)
        Path(sources[0].address).write_bytes(good[0])
        assert [event.reason for event in finished.result()] == ["", ""]


def test_file_that_is_never_read_ends_the_build_and_blames_no_recording(
    good: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "READ_SECONDS", 2.0)
    sources = write_sources(tmp_path, good[:1])
    Path(sources[0].address).unlink()
    os.mkfifo(sources[0].address)
    features = FEATURES.model_copy(update={"timeout_seconds": 1.0})
    with pytest.raises(TimeoutError, match=r"0\.audio was not read within 2 s\. Check the storage"):
        list(retry_part(sources, features, FeatureDirectory(tmp_path / "store")))
    assert StripStore(FeatureDirectory(tmp_path / "store")).failures == {}


def test_ogg_is_decoded_where_the_memory_allows_no_decoder_to_be_loaded(
    encode_audio: EncodeAudio, tmp_path: Path
) -> None:
    sources = write_sources(tmp_path, [encode_audio(np.random.default_rng(0).normal(0, 0.1, 24_000), 8_000, "OGG")])
    features = FEATURES.model_copy(update={"memory_gb": 0.05})
    assert [event.reason for event in retry_part(sources, features, FeatureDirectory(tmp_path / "store"))] == [""]


@pytest.mark.parametrize(("seconds", "reason"), [(1, ""), (1500, "too_large")])
def test_what_ffmpeg_decodes_is_bounded_by_the_memory_of_the_child(
    seconds: int, reason: str, encode_by_ffmpeg: EncodeAudio, tmp_path: Path
) -> None:
    audio = encode_by_ffmpeg(np.zeros((1, seconds * 48_000), np.float32), 48_000, "matroska", "flac")
    features = FEATURES.model_copy(update={"memory_gb": 0.1})  # samples of 25 minutes take 0.29 GB, their file 0.1 MB
    finished = list(retry_part(write_sources(tmp_path, [audio]), features, FeatureDirectory(tmp_path / "store")))
    assert [event.reason for event in finished] == [reason]


@pytest.mark.usefixtures("faulty")
def test_several_faulty_recordings_in_one_part_are_all_found(good: list[bytes], tmp_path: Path) -> None:
    sources = write_sources(tmp_path, [b"EXIT 1", good[0], b"SEGFAULT", b"EXIT 2"])
    reasons = [event.reason for event in retry_part(sources, FEATURES, FeatureDirectory(tmp_path / "store"))]
    assert sorted(reasons) == ["", "crash", "crash", "crash"]
    assert set(StripStore(FeatureDirectory(tmp_path / "store")).strips) == {sources[1].sha256}


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("fault", [b"ONCE", b"ORPHAN"])
def test_recording_that_fails_once_is_kept(fault: bytes, good: list[bytes], tmp_path: Path) -> None:
    sources = write_sources(tmp_path, [good[0], fault + str(tmp_path / "marker").encode(), good[1]])
    finished = list(retry_part(sources, FEATURES, FeatureDirectory(tmp_path / "store")))
    assert (tmp_path / "marker").exists()
    assert [event.reason for event in finished] == ["", "", ""]
    assert StripStore(FeatureDirectory(tmp_path / "store")).failures == {}


@pytest.mark.usefixtures("faulty")
def test_recording_whose_process_is_killed_again_and_again_is_left_to_the_next_build(
    good: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(children, "ATTEMPTS_IF_KILLED", 3)
    spared, store = tmp_path / "spared", tmp_path / "store"
    sources = write_sources(tmp_path, [good[0], b"KILLED" + str(spared).encode(), good[1]])
    finished = list(retry_part(sources, FEATURES, FeatureDirectory(store)))
    assert sorted((event.reason, event.source.address) for event in finished) == [
        ("", sources[0].address),
        ("", sources[2].address),
        ("unreadable", sources[1].address),
    ]
    (left_out,) = [message for message in caplog.messages if "leaves it out" in message]
    assert sources[1].address in left_out
    assert "SIGKILL" in left_out
    assert set(StripStore(FeatureDirectory(store)).strips) == {sources[0].sha256, sources[2].sha256}
    assert sources[1].sha256 not in StripStore(FeatureDirectory(store))
    spared.touch()
    assert [event.reason for event in retry_part([sources[1]], FEATURES, FeatureDirectory(store))] == [""]
    assert sources[1].sha256 in StripStore(FeatureDirectory(store)).strips


@pytest.mark.usefixtures("faulty")
def test_recording_alone_in_its_part_is_left_to_the_next_build_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "ATTEMPTS_IF_KILLED", 2)
    spared, store = tmp_path / "spared", FeatureDirectory(tmp_path / "store")
    sources = write_sources(tmp_path, [b"KILLED" + str(spared).encode()])
    assert [event.reason for event in retry_part(sources, FEATURES, store)] == ["unreadable"]
    assert sources[0].sha256 not in StripStore(store)
    spared.touch()
    assert [event.reason for event in retry_part(sources, FEATURES, store)] == [""]
    assert sources[0].sha256 in StripStore(store)


def test_killed_child_changes_no_byte(good: list[bytes], tmp_path: Path) -> None:
    sources = write_sources(tmp_path, good)
    list(retry_part(sources, FEATURES, FeatureDirectory(tmp_path / "calm" / "store")))
    events = retry_part(sources, FEATURES, FeatureDirectory(tmp_path / "killed" / "store"))
    next(events)
    (child,) = living_children()
    child.kill()
    list(events)
    parts = {name: content for name, content in read_files(tmp_path / "killed").items() if ".partial" not in name}
    assert parts == read_files(tmp_path / "calm")


@pytest.mark.usefixtures("faulty")
def test_each_thread_has_a_child_of_its_own_and_hears_how_that_one_ended(good: list[bytes], tmp_path: Path) -> None:
    def compute(number: int) -> list[str]:
        folder = tmp_path / str(number)
        folder.mkdir()
        faults = [b"SEGFAULT", b"EXIT"][number:]
        events = retry_part(
            write_sources(folder, [good[number], *faults]), FEATURES, FeatureDirectory(folder / "store")
        )
        details = sorted(event.detail for event in events)
        together.wait()  # or one thread would take two numbers
        return details

    together = Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        details = list(pool.map(compute, range(3)))
    assert len(living_children()) == 3
    crash, exit_7 = (f"its decoding ended the process ({ending})" for ending in ("SIGSEGV", "exit status 7"))
    assert details == [["", crash, exit_7], ["", exit_7], [""]]


def test_ended_computation_starts_no_new_child(good: list[bytes], tmp_path: Path) -> None:
    events = retry_part(write_sources(tmp_path, good), FEATURES, FeatureDirectory(tmp_path / "store"))
    next(events)
    end_children()
    with pytest.raises(ChildDiedError, match="was stopped"):
        list(events)
    assert living_children() == []
    assert len(list(retry_part(write_sources(tmp_path, good), FEATURES, FeatureDirectory(tmp_path / "store")))) == len(
        good
    )


def test_child_serves_one_part_after_the_other(good: list[bytes], tmp_path: Path) -> None:
    sources = write_sources(tmp_path, good)
    pids = set()
    for source in sources:
        list(retry_part([source], FEATURES, FeatureDirectory(tmp_path / "store")))
        pids |= {child.pid for child in living_children()}
    assert len(pids) == 1
    assert len(StripStore(FeatureDirectory(tmp_path / "store")).strips) == len(sources)


def test_server_forks_for_the_next_build_too_unless_the_environment_has_changed(
    good: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, servers = write_sources(tmp_path, good), []
    for build, secret in enumerate(["", "", "new"]):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        list(retry_part(sources, FEATURES, FeatureDirectory(tmp_path / str(build))))
        (server,) = living_servers()
        servers.append(server.pid)
        end_children()
    assert servers[0] == servers[1] != servers[2]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the system does not tell a process's environment")
def test_children_run_with_this_process_s_tunables_of_glibc_and_their_own(
    good: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=3")
    list(retry_part(write_sources(tmp_path, good), FEATURES, FeatureDirectory(tmp_path / "store")))
    (child,) = living_children()
    environment = Path(f"/proc/{child.pid}/environ").read_bytes()  # where glibc cuts the tunables apart
    assert b"GLIBC_TUNABLES=glibc.malloc.arena_max=3" in environment
    assert b"glibc.cpu.x86_rep_movsb_threshold=1000000000" in environment


def test_error_of_the_store_is_raised_here_and_the_child_goes_on(good: list[bytes], tmp_path: Path) -> None:
    sources = write_sources(tmp_path, good)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        list(retry_part(sources, FEATURES, FeatureDirectory(tmp_path / "file" / "store")))
    assert len(list(retry_part(sources, FEATURES, FeatureDirectory(tmp_path / "store")))) == len(sources)


@pytest.mark.usefixtures("good")
def test_children_that_die_at_no_recording_end_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_in_children(tmp_path / "site", monkeypatch, "import os\nos._exit(3)\n")
    with pytest.raises(ChildDiedError, match="exit status 3"):
        list(retry_part(write_sources(tmp_path, [b"x"]), FEATURES, FeatureDirectory(tmp_path / "store")))


def test_child_ends_soon_after_its_parent_even_in_a_recording_that_never_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site"
    plant_in_children(folder, monkeypatch)
    (source,) = write_sources(tmp_path, [b"HANG"])
    script = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(folder)!r})
from cache.config.features import LogMelConfig
from cache.computing.retries import retry_part
from cache.computing.part import Source
from cache.workspace.feature_directory import FeatureDirectory
list(retry_part([{source!r}], LogMelConfig(), FeatureDirectory(Path({str(tmp_path / "store")!r}))))
"""
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        try:
            server, child = await_descendants(parent.pid, 2)
            time.sleep(2)
            assert child.is_running()
        finally:
            parent.kill()
    _, alive = psutil.wait_procs([server, child], timeout=10)
    assert alive == []


def await_descendants(pid: int, count: int) -> list[psutil.Process]:
    """Returns the processes below one, once there are as many."""
    deadline = time.monotonic() + 60
    while len(found := psutil.Process(pid).children(recursive=True)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(found) == count
    return found
