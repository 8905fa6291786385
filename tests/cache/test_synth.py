import ast
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from cache.corpus.recording import encode_audio, render_recording
from cache.corpus.species import species_table
from cache.synth import CorpusPlan, plan_recordings, synthesize_corpus, zipf_counts

SMALL = CorpusPlan(species=20, recordings=80, seed=3, min_seconds=1.0, max_seconds=1.5)
COLUMNS = (
    "primary_label,secondary_labels,type,latitude,longitude,scientific_name,"
    "common_name,author,license,rating,url,filename"
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize_corpus(tmp_path_factory.mktemp("synth") / "corpus", SMALL)


@pytest.fixture(scope="module")
def table(corpus: Path) -> pd.DataFrame:
    return pd.read_csv(corpus / "train_metadata.csv", keep_default_na=False)


def read_all(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_table_has_birdclef_columns_and_one_row_per_file(corpus: Path, table: pd.DataFrame) -> None:
    audio = corpus / "train_audio"
    assert ",".join(table.columns) == COLUMNS
    assert len(table) == 80
    assert set(table["filename"]) == {path.relative_to(audio).as_posix() for path in audio.rglob("*.*")}
    assert (table["filename"].str.split("/").str[0] == table["primary_label"]).all()
    assert table["rating"].between(0, 5).all()
    assert (table["license"] == "CC0-1.0").all()
    assert (table["url"] == "").all()
    assert table["type"].map(ast.literal_eval).map(lambda types: types == ["song"]).all()


def test_every_file_decodes_audibly_for_as_long_as_planned(corpus: Path, table: pd.DataFrame) -> None:
    for name in table["filename"]:
        samples, rate = soundfile.read(corpus / "train_audio" / name, always_2d=True)
        assert 1.0 <= len(samples) / rate < 1.6, name  # MP3 pads to whole frames
        assert np.isfinite(samples).all()
        assert 1e-3 < np.abs(samples).max() <= 1.0, name


def test_formats_rates_and_channels_are_mixed(corpus: Path, table: pd.DataFrame) -> None:
    infos = [soundfile.info(corpus / "train_audio" / name) for name in table["filename"]]
    assert {info.format for info in infos} == {"OGG", "MP3", "WAV", "FLAC"}
    assert {info.samplerate for info in infos} == {22_050, 32_000, 44_100, 48_000}
    assert {info.channels for info in infos} == {1, 2}


def test_secondary_labels_are_other_species_of_the_corpus(table: pd.DataFrame) -> None:
    lists = table["secondary_labels"].map(ast.literal_eval)
    assert 0 < lists.map(len).sum() < len(table) / 2
    for own, others in zip(table["primary_label"], lists, strict=True):
        assert set(others) <= set(table["primary_label"]) - {own}


def test_one_or_two_recordings_have_no_author(table: pd.DataFrame) -> None:
    assert 1 <= (table["author"] == "").sum() <= 2


def test_same_plan_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    assert read_all(synthesize_corpus(tmp_path / "again", SMALL)) == read_all(corpus)


def test_corpus_is_the_one_that_version_1_made_before_there_were_difficulties(corpus: Path) -> None:
    """Table, stamp and levels as commit a1c2ac9 wrote them, which knew one corpus only.

    Audio files depend on the version of libsndfile, so the sounds are compared by their RMS levels.
    """
    table = (corpus / "train_metadata.csv").read_bytes()
    assert hashlib.sha256(table).hexdigest() == "9908404e0d063c2fb639f36c9043f057dfed22506100b7e87d09f8df02834cb8"
    assert json.loads((corpus / "synth.json").read_text()) == {
        "version": 1,
        "plan": {"species": 20, "recordings": 80, "seed": 3, "min_seconds": 1.0, "max_seconds": 1.5},
    }
    levels_db = []
    for planned in plan_recordings(SMALL)[::20]:
        sound, _ = render_recording(planned, tuple(one for one in species_table(20) if one != planned.species))
        levels_db.append(20 * np.log10(np.sqrt(np.square(sound, dtype=np.float64).mean())))
    assert levels_db == pytest.approx([-39.602, -28.933, -25.029, -38.174], abs=0.01)


def test_other_seed_gives_other_recordings_of_the_same_species(table: pd.DataFrame) -> None:
    other = plan_recordings(CorpusPlan(species=20, recordings=80, seed=4))
    assert {planned.species.label for planned in other} == set(table["primary_label"])
    assert {planned.recordist.name for planned in other} != set(table["author"])


def test_second_call_changes_nothing(corpus: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert synthesize_corpus(corpus, SMALL) == corpus
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_no_temporary_folder_is_left(corpus: Path) -> None:
    assert list(corpus.parent.iterdir()) == [corpus]


def test_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise OSError("No space left on device")

    monkeypatch.setattr("cache.synth.encode_audio", fail)
    with pytest.raises(OSError, match="No space"):
        synthesize_corpus(tmp_path / "corpus", SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("same", [True, False])
def test_folder_that_appears_meanwhile_counts_only_if_it_is_the_same(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    target = tmp_path / "corpus"
    others = iter([corpus if same else corpus / "train_audio"])  # threads encode, and one of them loses the race

    def encode_and_lose_the_race(*given: Any, **options: Any) -> bytes:
        if other := next(others, None):
            shutil.copytree(other, target)
        return encode_audio(*given, **options)

    monkeypatch.setattr("cache.synth.encode_audio", encode_and_lose_the_race)
    if same:
        assert synthesize_corpus(target, SMALL) == target
    else:
        with pytest.raises(OSError, match="not empty"):
            synthesize_corpus(target, SMALL)
    assert list(tmp_path.iterdir()) == [target]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    synthesize_corpus(tmp_path, CorpusPlan(species=20, recordings=60, min_seconds=1, max_seconds=1))
    stamp = json.loads((tmp_path / "synth.json").read_text())
    assert stamp["plan"]["recordings"] == 60
    assert len(list((tmp_path / "train_audio").iterdir())) == 20


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=f"{tmp_path}.*Name a new or empty folder"):
        synthesize_corpus(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_corpus_of_another_plan_is_refused(corpus: Path) -> None:
    with pytest.raises(FileExistsError, match="species=24 recordings=240 seed=99") as refused:
        synthesize_corpus(corpus, CorpusPlan(seed=99))
    assert "_seconds" not in str(refused.value)  # `birdclef synth` has no such option


def test_hard_corpus_is_another_than_the_standard_one(corpus: Path, tmp_path: Path) -> None:
    plan = replace(SMALL, difficulty="hard")
    with pytest.raises(FileExistsError, match="difficulty=hard"):
        synthesize_corpus(corpus, plan)
    hard = synthesize_corpus(tmp_path / "hard", plan)
    before = read_all(hard)
    assert before["train_metadata.csv"] != (corpus / "train_metadata.csv").read_bytes()
    assert read_all(synthesize_corpus(hard, plan)) == before
    with pytest.raises(FileExistsError, match="difficulty=standard"):
        synthesize_corpus(hard, SMALL)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"species": 19}, r"species=19 is out of range: set it from 20 to 96"),
        ({"species": 97}, r"species=97 is out of range: set it from 20 to 96"),
        ({"species": 30, "recordings": 89}, "recordings=89 is too small for species=30: set at least recordings=90"),
        ({"seed": -1}, "seed=-1 is negative"),
        ({"min_seconds": 9.0, "max_seconds": 8.0}, "from 9 to 8 s"),
        ({"min_seconds": 0.5}, "from 0.5 to 11 s"),
        ({"difficulty": "hrad"}, r"difficulty=hrad is not known; did you mean hard\?"),
    ],
)
def test_impossible_plan_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        CorpusPlan(**wrong)
    assert "_seconds" not in str(refused.value)


@pytest.mark.parametrize(("species", "recordings"), [(24, 240), (20, 60), (96, 2000)])
def test_counts_have_a_long_tail(species: int, recordings: int) -> None:
    counts = zipf_counts(species, recordings)
    assert sum(counts) == recordings
    assert len(counts) == species
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] >= 2
    assert counts[-3] >= 3


def test_default_counts_follow_rank_to_the_power_of_0_8() -> None:
    counts = zipf_counts(24, 240)
    assert counts[0] > 40  # 240 / sum(rank^-0.8) = 43 without the floor of three recordings
    assert counts[-1] in (2, 3)
    assert 4 <= counts[0] / counts[6] <= 6  # 7^0.8 = 4.7


@pytest.mark.parametrize("seed", range(5))
def test_recordists_specialise_yet_every_species_has_three(seed: int) -> None:
    planned = [one for one in plan_recordings(CorpusPlan(seed=seed)) if one.recordist.name]
    pairs = Counter((one.species.label, one.recordist.name) for one in planned)
    recordists_of = Counter(label for label, _ in pairs)
    species_of = Counter(name for _, name in pairs)
    assert sum(count < 3 for count in recordists_of.values()) <= 2
    assert max(species_of.values()) <= 6
    assert sum(count for count in pairs.values() if count > 1) > 0.6 * len(planned)


def test_layout_is_the_same_each_time() -> None:
    first, second = plan_recordings(SMALL), plan_recordings(SMALL)
    assert first == second
    assert [one.index for one in first] == list(range(80))
