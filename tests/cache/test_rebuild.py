"""Whatever happens to a data set between builds, the catalogue is the one that a build from scratch would give."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache.catalogue import build_catalogue
from cache.computing.part import compute_part
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.features import find_missing, group_sources, open_feature_directory
from cache.garbage import collect_garbage
from cache.recordings.catalogue_tables import feature_directory
from cache.recordings.hashes import hash_recordings
from cache.recordings.user_table import audio_directory, read_recordings
from cache.store.strip_store import StripStore
from cache.verify import find_damage
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

pytestmark = pytest.mark.usefixtures("without_pictures")

EncodeAudio = Callable[..., bytes]

FEATURES = LogMelConfig(sample_rate=8_000, fmax=4000.0, n_fft=256, hop_length=128, n_mels=4)
NAMES = [f"{label}/{number}.wav" for label in ("ant", "bat") for number in range(3)]

CHANGES = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 5)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.integers(0, len(NAMES) - 1)),
    st.tuples(st.just("duplicate"), st.sampled_from(NAMES), st.integers(0, len(NAMES) - 1)),
    st.tuples(st.just("collect"), st.just(""), st.just(0)),
    st.tuples(st.just("build"), st.just(""), st.just(0)),
)


@pytest.fixture(scope="module")
def contents(encode_audio: EncodeAudio) -> list[bytes]:
    """Six files: four usable ones of different lengths, one that does not decode, one that is too short."""
    generator = np.random.default_rng(0)
    usable = [encode_audio(generator.normal(0, 0.1, 5_000 + 700 * number), 8_000) for number in range(4)]
    return [*usable, b"no audio", encode_audio(generator.normal(0, 0.1, 500), 8_000)]


def apply(change: tuple[str, str, int], audio: Path, contents: list[bytes]) -> None:
    kind, name, number = change
    path = audio / name
    if kind == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[number])
    elif kind == "delete":
        path.unlink(missing_ok=True)
    elif kind in ("rename", "duplicate") and path.is_file() and NAMES[number] != name:
        (audio / NAMES[number]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, audio / NAMES[number])  # with its modification time
        if kind == "rename":
            path.unlink()


def build(root: Path, workspace: Path) -> Path | None:
    """Returns the catalogue as the stage builds it, without Dask; none for a data set without audio."""
    audio = root / "train_audio"
    names = sorted(str(path.relative_to(audio)) for path in audio.rglob("*.wav"))
    if not names:
        return None
    table = pd.DataFrame({"primary_label": [name.split("/")[0] for name in names], "filename": names})
    table.to_csv(root / "train_metadata.csv", index=False)
    data = DataConfig(root=str(root), max_quarantined_share=1.0)
    recordings = read_recordings(data)
    recordings["sha256"] = hash_recordings(recordings, audio_directory(data), Workspace(workspace))
    store = open_feature_directory(FEATURES, Workspace(workspace)).path
    for group in group_sources(
        find_missing(recordings, audio_directory(data), StripStore(FeatureDirectory(store)), FEATURES)
    ):
        list(compute_part(group, FEATURES, FeatureDirectory(store), {}))
    try:
        return build_catalogue(recordings, data, FeatureDirectory(store), Workspace(workspace))
    except ValueError:  # none of them is usable
        return None


def read_tables(catalogue: Path) -> dict[str, bytes]:
    names = ("recordings.csv", "species.csv", "quarantine.csv", "summary.json")
    return {name: (catalogue / name).read_bytes() for name in names}


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(CHANGES, min_size=1, max_size=12))
def test_any_history_gives_the_catalogue_of_a_build_from_scratch(
    changes: list[tuple[str, str, int]], contents: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("history")
    root, audio, workspace = folder / "data", folder / "data" / "train_audio", folder / "work"
    audio.mkdir(parents=True)
    apply(("write", NAMES[0], 0), audio, contents)
    for change in changes:
        if change[0] == "collect":
            collect_garbage(Workspace(workspace))
        elif change[0] == "build":
            build(root, workspace)
        else:
            apply(change, audio, contents)
    grown, fresh = build(root, workspace), build(root, folder / "fresh")
    assert (grown is None) == (fresh is None)
    if grown and fresh:
        assert grown.name == fresh.name
        assert read_tables(grown) == read_tables(fresh)
        store, new = (StripStore(feature_directory(grown, Workspace(folder / name))) for name in ("work", "fresh"))
        for sha256 in new.strips:
            assert store.read(sha256).tobytes() == new.read(sha256).tobytes()
        assert list(find_damage(feature_directory(grown, Workspace(workspace)), 1.0, np.random.default_rng(0))) == []
