"""Recordings that hold the same sound, in the same bytes or in others, from a store with real strips."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.config.split import SplitConfig
from cache.corpus.song import sing
from cache.corpus.soundscape import draw_microphone, draw_site, record, render_background
from cache.corpus.species import species_table
from cache.duplicates.pairs import SAME_BYTES, SAME_SOUND, SAME_TAKE, name_sounds
from cache.features import build_features
from cache.folds.split_table import read_split
from cache.recordings.catalogue_tables import read_catalogue, read_duplicates
from cache.split import build_split
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

EncodeAudio = Callable[..., bytes]
WriteDataset = Callable[..., DataConfig]

RATE = 32_000
FEATURES = LogMelConfig(workers=1)


@pytest.fixture(scope="module")
def recordings(encode_audio: EncodeAudio) -> dict[str, bytes]:
    """Songs of two birds; of the first song a trimmed copy, an excerpt and identical bytes under other names."""
    rng = np.random.default_rng(11)
    site, microphone = draw_site(-45.0, rng), draw_microphone(-60.0, 0.0, rng)
    waveforms = []
    for bird, seconds in zip(species_table(3)[::2] * 2, (8.0, 9.0, 8.5, 9.5), strict=True):
        song = 0.2 * sing(bird.grammar, seconds, RATE, rng)
        waveforms.append(record(song + render_background(site, len(song), RATE, rng), microphone, RATE, rng))
    first = waveforms[0]
    return {
        "a/1.ogg": encode_audio(first, RATE, "OGG"),
        "a/again.ogg": encode_audio(first, RATE, "OGG"),
        "a/cut.mp3": encode_audio(0.5 * first[2 * RATE :], RATE, "MP3"),
        "a/other.ogg": encode_audio(waveforms[2], RATE, "OGG"),
        "b/1.ogg": encode_audio(waveforms[1], RATE, "OGG"),
        "b/2.ogg": encode_audio(waveforms[3], RATE, "OGG"),
        "b/wrong.wav": encode_audio(first[: 6 * RATE], RATE),
    }


@pytest.fixture
def data(tmp_path: Path, recordings: dict[str, bytes], write_dataset: WriteDataset) -> DataConfig:
    audio = dict(recordings)
    first = audio.pop("a/1.ogg")
    audio = {"a/1.ogg": first, **audio, "a/again.ogg": first}
    rows = [
        {"primary_label": name[0], "filename": name, "author": f"author {number}"} for number, name in enumerate(audio)
    ]
    return write_dataset(tmp_path / "data", rows, audio)


@pytest.fixture
def catalogue(data: DataConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    """The built catalogue; `caplog` hears its warnings."""
    return build_features(data, FEATURES, Workspace(tmp_path / "work"))


def test_pairs_are_listed_with_their_reason(catalogue: Path) -> None:
    pairs = read_duplicates(catalogue)
    listed = pairs[["recording_id", "other_recording_id", "label", "other_label", "why"]].to_numpy().tolist()
    assert listed == [
        ["a/1.ogg", "a/again.ogg", "a", "a", SAME_BYTES],
        ["a/1.ogg", "a/cut.mp3", "a", "a", SAME_SOUND],
        ["a/1.ogg", "b/wrong.wav", "a", "b", SAME_SOUND],
    ]
    assert math.isnan(pairs["similarity"][0])
    # the cut begins 2 s into the song, and libsndfile's MP3 begins with the encoder's delay, here some 50 ms
    assert pairs["lag_seconds"][1:].tolist() == pytest.approx([2.0, 0.0], abs=0.07)
    assert pairs["overlap_seconds"][1:].tolist() == pytest.approx([6.0, 6.0], abs=0.1)
    assert (pairs["similarity"][1:] > 0.6).all()


def test_sound_names_the_first_recording_that_holds_it(catalogue: Path) -> None:
    recordings = read_catalogue(catalogue).set_index("recording_id")["sound"].to_dict()
    same = {"a/1.ogg", "a/again.ogg", "a/cut.mp3", "b/wrong.wav"}
    assert recordings == {name: "a/1.ogg" if name in same else name for name in recordings}


def test_two_labels_for_one_sound_are_told(catalogue: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = "1 pair(s) of recordings hold the same sound under two labels, such as a/1.ogg and b/wrong.wav"
    assert any(told in record.getMessage() for record in caplog.get_records("setup"))


def test_same_sound_stays_on_one_side_of_the_split(catalogue: Path, tmp_path: Path) -> None:
    split = read_split(build_split(SplitConfig(folds=2), catalogue, Workspace(tmp_path / "work"))).set_index(
        "recording_id"
    )
    groups = split["group"].to_dict()
    assert groups["a/cut.mp3"] == groups["a/again.ogg"] == groups["b/wrong.wav"] == "a/1.ogg"
    assert len(set(groups.values())) == 4
    assert split.loc[["a/1.ogg", "a/again.ogg", "a/cut.mp3"], "fold"].nunique() == 1


def test_known_pairs_are_not_compared_again(
    catalogue: Path, data: DataConfig, tmp_path: Path, encode_audio: EncodeAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    (memory,) = (tmp_path / "work" / "similarities").iterdir()
    assert memory.stem == read_provenance(catalogue)["inputs"]["features"]
    before = pd.read_csv(memory, skiprows=1)  # behind the line with its digest
    assert len(before) >= 2
    compared = []

    def refuse(*strips: object) -> None:
        compared.append(strips)
        raise AssertionError("these strips were compared before")

    monkeypatch.setattr("cache.duplicates.pairs.align_strips", refuse)
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    Path(data.root, "train_audio", "b", "new.wav").write_bytes(encode_audio(noise, RATE))
    with Path(data.root, data.metadata).open("a") as table:
        table.write("b,b/new.wav,author 9\n")
    grown = build_features(data, FEATURES, Workspace(tmp_path / "work"))
    assert len(read_catalogue(grown)) == 8
    assert not compared
    pd.testing.assert_frame_equal(read_duplicates(grown), read_duplicates(catalogue))


def test_same_take_is_listed_but_is_no_same_sound() -> None:
    recordings = pd.DataFrame({"recording_id": ["c", "a", "d", "b"]}, index=[3, 1, 4, 2])
    pairs = pd.DataFrame(
        [("a", "b", SAME_TAKE), ("b", "d", SAME_SOUND), ("c", "d", SAME_BYTES)],
        columns=["recording_id", "other_recording_id", "why"],
    )
    sounds = name_sounds(recordings, pairs)
    assert sounds.to_dict() == {3: "b", 1: "a", 4: "b", 2: "b"}


def test_same_audio_with_another_tag_needs_no_comparison(
    tmp_path: Path, recordings: dict[str, bytes], write_dataset: WriteDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the strips are the same")

    monkeypatch.setattr("cache.duplicates.pairs.align_strips", refuse)
    song = recordings["a/cut.mp3"]
    audio = {f"a/{number}.mp3": song + b"TAG" + f"{number:0125d}".encode() for number in range(4)}
    data = write_dataset(tmp_path / "data", [{"primary_label": "a", "filename": name} for name in audio], audio)
    pairs = read_duplicates(build_features(data, FEATURES, Workspace(tmp_path / "work")))
    assert pairs[["recording_id", "other_recording_id", "why"]].to_numpy().tolist() == [
        ["a/0.mp3", f"a/{number}.mp3", SAME_SOUND] for number in (1, 2, 3)
    ]
    assert pairs["similarity"].tolist() == [1.0] * 3
