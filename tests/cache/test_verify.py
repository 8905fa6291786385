import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.features import build_features
from cache.store.fragment import Fragment
from cache.store.part_writer import copy_strips
from cache.store.strip_store import StripStore
from cache.verify import find_damage, verify
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

EncodeAudio = Callable[..., bytes]
WriteDataset = Callable[..., DataConfig]

FEATURES = LogMelConfig(sample_rate=8_000, fmax=4000.0, n_fft=512, hop_length=256, n_mels=8, workers=1)
RECORDINGS = 9
PART_RECORDINGS = 3


@pytest.fixture(scope="module")
def original(
    tmp_path_factory: pytest.TempPathFactory, encode_audio: EncodeAudio, write_dataset: WriteDataset
) -> tuple[DataConfig, Path]:
    """A data set of nine recordings, and a workspace with their features in three parts."""
    generator = np.random.default_rng(0)
    audio = {
        f"bird/{number}.wav": encode_audio(generator.normal(0, 0.1, 9_000 + number), 8_000)
        for number in range(RECORDINGS)
    }
    rows = [{"primary_label": "bird", "filename": name} for name in audio]
    data = write_dataset(tmp_path_factory.mktemp("verify") / "data", rows, audio)
    workspace = tmp_path_factory.mktemp("verified")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cache.features.PART_RECORDINGS", PART_RECORDINGS)
        build_features(data, FEATURES, Workspace(workspace))
    return data, workspace


@pytest.fixture
def built(
    original: tuple[DataConfig, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[DataConfig, Path, Path]:
    """A copy of data set, workspace and store that a test may damage."""
    monkeypatch.setattr("cache.features.PART_RECORDINGS", PART_RECORDINGS)
    shutil.copytree(original[0].root, tmp_path / "data")
    shutil.copytree(original[1], tmp_path / "work")
    (store,) = (tmp_path / "work" / "features").iterdir()
    return original[0].model_copy(update={"root": str(tmp_path / "data")}), tmp_path / "work", store


def flip_byte(store: Path, part: str, position: int = 100) -> None:
    chunk = store / "parts" / part / "c" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    content[position] ^= 0x40
    chunk.write_bytes(content)


def lose_chunk(store: Path, part: str) -> None:
    (store / "parts" / part / "c" / "0" / "0").unlink()


def truncate_chunk(store: Path, part: str) -> None:
    os.truncate(store / "parts" / part / "c" / "0" / "0", 50)


def lose_array(store: Path, part: str) -> None:
    shutil.rmtree(store / "parts" / part)


def lose_fragment(store: Path, part: str) -> None:
    (store / "index" / f"{part}.json").unlink()


def tear_fragment(store: Path, part: str) -> None:
    path = store / "index" / f"{part}.json"
    path.write_text(path.read_text()[:40])


def swap_fragment(store: Path, part: str) -> None:
    other = next(path for path in sorted((store / "index").iterdir()) if path.stem != part)
    shutil.copyfile(other, store / "index" / f"{part}.json")


def swap_strips(store: Path, part: str) -> None:
    path = store / "index" / f"{part}.json"
    fragment = json.loads(path.read_text())
    first, second = fragment["strips"][:2]
    first["start"], second["start"] = second["start"], first["start"]
    path.write_text(json.dumps(fragment))


def bring_array_of_another_store(store: Path, part: str) -> None:
    path = store / "parts" / part / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["features"] = "0123456789abcdef"
    path.write_text(json.dumps(metadata))


def change_meaning(store: Path, part: str) -> None:
    path = store / "parts" / part / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["step_db"] = 0.5
    path.write_text(json.dumps(metadata))


def empty_metadata(store: Path, part: str) -> None:
    (store / "parts" / part / "zarr.json").write_text("null")


def read_store(store: Path) -> dict[str, bytes]:
    files = (path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (flip_byte, "1 of 3 strips differ from their digest"),
        (lose_chunk, "1 of 1 chunks are missing"),
        (truncate_chunk, "3 of 3 strips differ from their digest"),
        (lose_array, "the array is missing"),
        (lose_fragment, "the index fragment is missing"),
        (tear_fragment, "the index fragment cannot be read"),
        (swap_fragment, "the index fragment describes another part"),
        (swap_strips, "2 of 3 strips differ from their digest"),
        (change_meaning, "the array holds"),
        (empty_metadata, "the array cannot be opened"),
        (bring_array_of_another_store, "the array belongs to features 0123456789abcdef"),
    ],
)
def test_damage_is_named_and_only_it_is_computed_again(
    damage: Callable[[Path, str], None],
    problem: str,
    built: tuple[DataConfig, Path, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    data, workspace, store = built
    sound = read_store(store)
    part = sorted(path.name for path in (store / "parts").iterdir())[1]
    damage(store, part)
    told = verify(data, FEATURES, Workspace(workspace), 1.0, repair=False)
    assert [found.part for found in told.damages] == [part]
    assert problem in told.damages[0].problem
    caplog.set_level("INFO", logger="cache.features")
    assert not verify(data, FEATURES, Workspace(workspace), 1.0, repair=True).intact
    assert f"features: {PART_RECORDINGS} audio files to compute, {RECORDINGS - PART_RECORDINGS} from cache" in (
        caplog.messages
    )
    assert read_store(store) == sound
    assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=False).intact


def test_sound_store_is_called_sound_and_left_alone(built: tuple[DataConfig, Path, Path]) -> None:
    data, workspace, store = built
    before = read_store(store)
    verdict = verify(data, FEATURES, Workspace(workspace), 1.0, repair=True)
    assert verdict.intact
    assert verdict.store.path == store
    assert read_store(store) == before


def test_audio_that_changed_without_a_trace_is_found_and_computed(
    built: tuple[DataConfig, Path, Path], encode_audio: EncodeAudio
) -> None:
    data, workspace, store = built
    build_features(data, FEATURES, Workspace(workspace))  # remembers the hashes of the copied files
    path = Path(data.root) / "train_audio" / "bird/4.wav"
    status = path.stat()
    path.write_bytes(encode_audio(np.random.default_rng(9).normal(0, 0.1, 9_004), 8_000))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    for _ in range(2):  # looking changes nothing
        assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=False).changed == ("bird/4.wav",)
    strips = len(StripStore(FeatureDirectory(store)).strips)
    assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=True).changed == ("bird/4.wav",)
    assert len(StripStore(FeatureDirectory(store)).strips) == strips + 1
    assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=False).intact


def keep_only(data: DataConfig, sha256: str) -> str:
    """Take all other recordings out of the data set's table; returns what it was."""
    table = Path(data.root) / "train_metadata.csv"
    before = table.read_text()
    header, *rows = before.splitlines(keepends=True)
    audio = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(data.root).rglob("*.wav"))]
    table.write_text(header + rows[audio.index(sha256)])
    return before


def read_strips(store: Path) -> dict[str, bytes]:
    strips = StripStore(FeatureDirectory(store))
    return {sha256: strips.read(sha256).tobytes() for sha256 in strips.strips}


@pytest.mark.parametrize("damaged_is_own", [True, False])
def test_sound_strips_of_other_audio_in_a_damaged_part_are_kept(
    damaged_is_own: bool, built: tuple[DataConfig, Path, Path]
) -> None:
    data, workspace, store = built
    whole = read_strips(store)
    part = sorted(path.name for path in (store / "parts").iterdir())[0]
    damaged, second, _ = Fragment.read(store / "index" / f"{part}.json").strips
    flip_byte(store, part)  # in the first strip
    table = keep_only(data, (damaged if damaged_is_own else second).sha256)
    lost = () if damaged_is_own else (damaged.sha256,)
    verdict = verify(data, FEATURES, Workspace(workspace), 1.0, repair=True)
    assert [found.part for found in verdict.damages] == [part]
    assert verdict.lost == lost
    assert read_strips(store) == {sha256: strip for sha256, strip in whole.items() if sha256 not in lost}
    assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=False).intact
    (Path(data.root) / "train_metadata.csv").write_text(table)
    build_features(data, FEATURES, Workspace(workspace))
    assert read_strips(store) == whole


def test_copy_that_a_killed_verify_left_is_not_withdrawn_once_it_is_written_anew(
    built: tuple[DataConfig, Path, Path],
) -> None:
    data, workspace, store = built
    whole = read_strips(store)
    copies = {}
    for index in sorted((store / "index").iterdir()):
        *others, last = Fragment.read(index).strips
        copies[index.stem] = copy_strips(FeatureDirectory(store), index.stem, others, []), last
    part, (copy, last) = next(found for found in copies.items() if found[0] < found[1][0])  # is looked at first
    flip_byte(store, part, 2 * FEATURES.n_mels * last.start + 100)
    flip_byte(store, copy)
    keep_only(data, last.sha256)
    assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=True).lost == ()
    assert read_strips(store) == whole
    assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=False).intact


def test_damaged_strip_of_audio_that_is_gone_does_not_stay(
    built: tuple[DataConfig, Path, Path], encode_audio: EncodeAudio
) -> None:
    data, workspace, store = built
    path = Path(data.root) / "train_audio" / "bird/4.wav"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    lose_chunk(store, StripStore(FeatureDirectory(store)).strips[old].part)
    path.write_bytes(encode_audio(np.random.default_rng(9).normal(0, 0.1, 9_500), 8_000))
    assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=True).lost == (old,)
    assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=False).intact
    assert len(StripStore(FeatureDirectory(store)).strips) == RECORDINGS


@pytest.mark.parametrize(
    ("damage", "told"),
    [(bring_array_of_another_store, True), (change_meaning, True), (lose_array, True), (swap_fragment, False)],
)
def test_nothing_is_kept_from_an_array_that_is_not_the_parts(
    damage: Callable[[Path, str], None], told: bool, built: tuple[DataConfig, Path, Path]
) -> None:
    data, workspace, store = built
    part = sorted(path.name for path in (store / "parts").iterdir())[0]
    mine = {strip.sha256 for strip in Fragment.read(store / "index" / f"{part}.json").strips}
    sound = {sha256: strip for sha256, strip in read_strips(store).items() if sha256 not in mine}
    damage(store, part)
    keep_only(data, next(iter(sound)))
    assert set(verify(data, FEATURES, Workspace(workspace), 1.0, repair=True).lost) == (mine if told else set())
    assert read_strips(store) == sound
    assert verify(data, FEATURES, Workspace(workspace), 1.0, repair=False).intact


def test_a_share_of_none_reads_no_array_but_misses_no_lost_one(built: tuple[DataConfig, Path, Path]) -> None:
    _, _, store = built
    parts = sorted(path.name for path in (store / "parts").iterdir())
    flip_byte(store, parts[0])
    lose_array(store, parts[1])
    rng = np.random.default_rng(0)
    assert [damage.part for damage in find_damage(FeatureDirectory(store), 0.0, rng)] == [parts[1]]
    assert [damage.part for damage in find_damage(FeatureDirectory(store), 1.0, rng)] == parts[:2]


def test_features_that_were_never_built_are_told_apart_from_damaged_ones(
    built: tuple[DataConfig, Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="holds no finished artefact"):
        verify(built[0], FEATURES, Workspace(tmp_path / "elsewhere"), 1.0, repair=True)
