"""Audio and workspace in the buckets of a real S3 server: the same store, whatever is killed or damaged."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.features import build_features, feature_recipe
from cache.garbage import find_garbage
from cache.recordings.catalogue_tables import feature_directory, read_catalogue, read_quarantine
from cache.store.fragment import DamagedPartError
from cache.store.strip_store import StripStore
from cache.verify import verify
from cache.workspace.builders import AtWorkError
from cache.workspace.keys import Recipe
from cache.workspace.provenance import PROVENANCE, PROVENANCE_FORMAT
from cache.workspace.urls import download, list_files, read_bytes, remove, upload, write_bytes
from cache.workspace.workspace import Workspace

EncodeAudio = Callable[..., bytes]
WriteDataset = Callable[..., DataConfig]

FEATURES = LogMelConfig(sample_rate=8_000, fmax=4000.0, n_fft=512, hop_length=256, n_mels=8, workers=1)
BUILD = """
import sys
import cache.features
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.workspace.workspace import Workspace
from pathlib import Path
cache.features.PART_RECORDINGS = 2
data, features, workspace, mirrors = sys.argv[1:]
cache.features.build_features(
    DataConfig.model_validate_json(data),
    LogMelConfig.model_validate_json(features),
    Workspace.open(workspace, Path(mirrors)),
)
"""


@pytest.fixture
def here(tmp_path: Path, encode_audio: EncodeAudio, write_dataset: WriteDataset) -> DataConfig:
    generator = np.random.default_rng(0)
    audio = {f"bird/{number}.wav": encode_audio(generator.normal(0, 0.1, 9_000), 8_000) for number in range(8)}
    audio["bird/bad.wav"] = b"no audio"
    rows = [{"primary_label": "bird", "filename": name} for name in audio]
    return write_dataset(tmp_path / "data", rows, audio, max_quarantined_share=0.5)


@pytest.fixture
def there(here: DataConfig, s3: str) -> DataConfig:
    """The same data set in the bucket."""
    url = f"{s3}/{uuid.uuid4().hex}/data"
    for path in Path(here.root).rglob("*"):
        if path.is_file():
            upload(path, f"{url}/{path.relative_to(here.root)}")
    return here.model_copy(update={"root": url})


@pytest.fixture
def url(s3: str) -> str:
    return f"{s3}/{uuid.uuid4().hex}/workspace"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.features.PART_RECORDINGS", 2)


def stored_here(workspace: Path) -> dict[str, str]:
    files = (path for path in (workspace / "features").rglob("*") if path.is_file())
    return {
        path.relative_to(workspace).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != PROVENANCE
    }


def stored_there(url: str) -> dict[str, str]:
    names = [name for name in list_files(url) if name.startswith("features/") and not name.endswith(PROVENANCE)]
    return {name: hashlib.sha256(read_bytes(f"{url}/{name}")).hexdigest() for name in names}


def load_values(catalogue: Path, workspace: Workspace) -> bytes:
    store = StripStore(feature_directory(catalogue, workspace))
    return store.load(read_catalogue(catalogue)["sha256"])[0].tobytes()


def test_store_in_a_bucket_equals_one_in_a_folder(
    here: DataConfig, there: DataConfig, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = build_features(here, FEATURES, Workspace(tmp_path / "quiet"))
    first, second = (Workspace.open(url, tmp_path / machine) for machine in ("first", "second"))
    built = build_features(there, FEATURES, first)
    assert stored_there(url) == stored_here(first.directory) == stored_here(tmp_path / "quiet")
    assert len([name for name in stored_there(url) if "/index/" in name]) == 5
    with caplog.at_level(logging.INFO):
        again = build_features(there, FEATURES, second)
    assert [record.__dict__["to_compute"] for record in caplog.records if "to_compute" in record.__dict__][-1] == 0
    assert again.name == built.name
    for name in ("recordings.csv", "quarantine.csv", "catalogue.png"):
        assert (again / name).read_bytes() == (built / name).read_bytes()
    assert load_values(again, second) == load_values(quiet, Workspace(tmp_path / "quiet"))
    assert stored_here(second.directory) == stored_there(url)


def test_hashes_are_remembered_in_the_bucket(
    there: DataConfig, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_features(there, FEATURES, Workspace.open(url, tmp_path / "first"))
    read: list[str] = []

    def read_and_tell(address: str) -> bytes:
        read.append(address)
        return read_bytes(address)

    monkeypatch.setattr("cache.recordings.hashes.read_bytes", read_and_tell)
    upload(Path(__file__), f"{there.root}/train_audio/bird/3.wav")
    catalogue = build_features(there, FEATURES, Workspace.open(url, tmp_path / "second"))
    assert read == [f"{there.root}/train_audio/bird/3.wav"]
    assert list(read_quarantine(catalogue)["recording_id"]) == ["bird/3.wav", "bird/bad.wav"]


@pytest.mark.soak
def test_killed_build_goes_on_on_another_machine(here: DataConfig, there: DataConfig, url: str, tmp_path: Path) -> None:
    arguments = [there.model_dump_json(), FEATURES.model_dump_json(), url, str(tmp_path / "first")]
    builder = subprocess.Popen([sys.executable, "-c", BUILD, *arguments], start_new_session=True)
    deadline = time.monotonic() + 60
    while not any("/index/" in name for name in list_files(url)) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(builder.pid, signal.SIGKILL)
    assert builder.wait() == -signal.SIGKILL
    after_kill = [name for name in stored_there(url) if "/index/" in name]
    assert 0 < len(after_kill) <= 5
    second = Workspace.open(url, tmp_path / "second")
    readable = StripStore(second.feature_directory(feature_recipe(FEATURES).key))
    assert len(readable.strips) + len(readable.failures) in range(2, 10)
    for sha256 in readable.strips:
        assert np.isfinite(readable.read(sha256)).all()
    build_features(there, FEATURES, second)
    build_features(here, FEATURES, Workspace(tmp_path / "quiet"))
    assert stored_there(url) == stored_here(tmp_path / "quiet")


def test_damaged_part_in_a_bucket_is_refused_and_made_again(
    here: DataConfig, there: DataConfig, url: str, tmp_path: Path
) -> None:
    built = build_features(there, FEATURES, Workspace.open(url, tmp_path / "first"))
    sound = stored_there(url)
    chunks = sorted(name for name in sound if name.endswith("/c/0/0"))
    torn, missing = chunks[:2]
    content = read_bytes(f"{url}/{torn}")
    write_bytes(f"{url}/{torn}", bytes([content[0] ^ 1]) + content[1:])
    remove(f"{url}/{missing}")
    second = Workspace.open(url, tmp_path / "second")
    catalogue = second.artefact("catalogues", built.name)
    with pytest.raises(
        DamagedPartError, match=r"differs from what was written: \d strips are damaged. Run birdclef verify"
    ):
        load_values(catalogue, second)
    verdict = verify(there, FEATURES, second, share=1.0, repair=True)
    assert sorted(damage.part for damage in verdict.damages) == sorted(name.split("/")[3] for name in chunks[:2])
    assert stored_there(url) == sound
    assert verify(there, FEATURES, second, share=1.0, repair=True).intact


def test_fragments_that_the_bucket_no_longer_has_leave_the_mirror(there: DataConfig, url: str, tmp_path: Path) -> None:
    first = Workspace.open(url, tmp_path / "first")
    build_features(there, FEATURES, first)
    gone = sorted(name for name in stored_there(url) if "/index/" in name)[0]
    remove(f"{url}/{gone}")
    store = StripStore(first.feature_directory(feature_recipe(FEATURES).key))
    assert not (first.directory / gone).exists()
    assert not (first.directory / gone.replace("/index/", "/parts/")).with_suffix("").exists()
    assert len(store.strips) + len(store.failures) < 9


def test_artefact_whose_files_are_not_its_own_is_made_again(
    url: str, s3: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = Recipe("splits", {"folds": 5}, {}, 1)
    made = []

    def build(staging: Path) -> None:
        made.append(staging)
        (staging / "plots").mkdir()
        (staging / "plots" / "split.csv").write_text("a,b\n")

    Workspace.open(url, tmp_path / "first").materialise(recipe, build)
    fetched = Workspace.open(url, tmp_path / "second").materialise(recipe, build)
    assert (fetched / "plots" / "split.csv").read_text() == "a,b\n"
    assert len(made) == 1
    write_bytes(f"{url}/splits/{recipe.key}/plots/split.csv", b"another builder's\n")
    remade = Workspace.open(url, tmp_path / "third").materialise(recipe, build)
    assert "is damaged (plots/split.csv): it is built again" in caplog.text
    assert (remade / "plots" / "split.csv").read_text() == "a,b\n"
    assert read_bytes(f"{url}/splits/{recipe.key}/plots/split.csv") == b"a,b\n"
    assert len(made) == 2
    remove(f"{url}/splits/{recipe.key}/plots")
    Workspace.open(url, tmp_path / "fourth").materialise(recipe, build)
    assert len(made) == 3


@pytest.mark.parametrize("name", ["../../../../escaped", "/escaped"])
def test_a_list_of_files_that_leads_out_of_its_folder_is_refused(url: str, s3: str, tmp_path: Path, name: str) -> None:
    directory = Workspace.open(url, tmp_path / "mirrors")
    recipe = Recipe("splits", {"a": 1}, {}, 1)
    address = f"{url}/splits/{recipe.key}"
    listed = {"format": PROVENANCE_FORMAT.number, "files": {name: hashlib.sha256(b"x").hexdigest()}}
    write_bytes(f"{address}/provenance.json", json.dumps(listed).encode())
    with pytest.raises(ValueError, match="lies outside of it"):
        directory.materialise(recipe, lambda staging: None)
    assert not list(tmp_path.rglob("escaped"))
    assert not Path("/escaped").exists()


def test_artefact_is_announced_after_its_files(
    url: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def send(source: Path, address: str) -> None:
        sent.append(source.name)
        if source.name == "z.txt":
            raise ConnectionError("the network is down")
        upload(source, address)

    monkeypatch.setattr("cache.workspace.mirror.upload", send)

    def build(staging: Path) -> None:
        (staging / "a.txt").touch()
        (staging / "z.txt").touch()

    workspace, recipe = Workspace.open(url, tmp_path / "first"), Recipe("splits", {}, {}, 1)
    with pytest.raises(ConnectionError):
        workspace.materialise(recipe, build)
    assert set(sent) == {"a.txt", "z.txt"}
    assert not workspace.place(recipe).exists()
    assert [name for name in list_files(url) if name.endswith(PROVENANCE)] == []


def test_garbage_is_not_collected_where_others_cannot_be_kept_out(url: str, tmp_path: Path) -> None:
    with pytest.raises(AtWorkError, match="has no lock that would keep builders on other machines out"):
        find_garbage(Workspace.open(url, tmp_path))


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("s3://birds/none.csv", FileNotFoundError, r"s3://birds/none\.csv: there is no such file"),
        ("s3://nobody/none.csv", FileNotFoundError, r"s3://nobody/none\.csv: there is no such file"),
        ("gopher://x/y", ValueError, r"gopher://x/y: birdclef opens no gopher:// URLs\. Use a path, or a URL"),
        ("gs://x/y", ImportError, r"gs://x/y: Please install gcsfs"),
    ],
)
def test_address_that_cannot_be_read_is_named(s3: str, address: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_bytes(address)


def test_server_that_does_not_answer_is_named_with_its_settings(
    here: DataConfig, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # its own file system instance: fsspec keeps those of an endpoint that it knows
    script = f"from cache.workspace.urls import read_bytes; read_bytes('{s3}/x')"
    finished = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ConnectionError: s3://birds/x cannot be reached" in finished.stderr
    assert "AWS_ENDPOINT_URL: http://127.0.0.1:9" in finished.stderr


def test_unfinished_work_goes_on_on_another_machine_even_if_fetching_it_was_interrupted(
    url: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("runs", {}, {}, 1)

    def begin(staging: Path) -> None:
        (staging / "checkpoints").mkdir()
        (staging / "checkpoints" / "last.ckpt").write_text("epoch 1")
        Workspace.open(url, tmp_path / "first").keep_unfinished(staging, last="checkpoints/last.ckpt")
        raise KeyboardInterrupt

    def go_on(staging: Path) -> None:
        (staging / "weights").write_text((staging / "checkpoints" / "last.ckpt").read_text() + ", epoch 2")

    with pytest.raises(KeyboardInterrupt):
        Workspace.open(url, tmp_path / "first").materialise(recipe, begin, resumable=True)
    with monkeypatch.context() as patch:
        _break_downloads(patch)
        with pytest.raises(ConnectionError):
            Workspace.open(url, tmp_path / "second").materialise(recipe, go_on, resumable=True)
    run = Workspace.open(url, tmp_path / "second").materialise(recipe, go_on, resumable=True)
    assert (run / "weights").read_text() == "epoch 1, epoch 2"
    assert sorted(list_files(url)) == [f"runs/{recipe.key}/{name}" for name in (PROVENANCE, "weights")]


def test_file_is_downloaded_whole_or_not_at_all(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(f"{url}/models/1.json", b"{}")
    _break_downloads(monkeypatch)
    with pytest.raises(ConnectionError):
        download(f"{url}/models/1.json", tmp_path / "1.json")
    assert not (tmp_path / "1.json").exists()


class _BrokenOff:
    """A file system whose connection breaks in the middle of a file."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem

    def __getattr__(self, name: str) -> Any:
        return getattr(self._filesystem, name)

    def get_file(self, source: str, target: str) -> None:
        Path(target).write_text("epo")
        raise OSError("connection reset")


def _break_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    find = fsspec.url_to_fs

    def find_broken(url: str, **options: Any) -> tuple[Any, str]:
        filesystem, path = find(url, **options)
        return _BrokenOff(filesystem), path

    monkeypatch.setattr("fsspec.url_to_fs", find_broken)
