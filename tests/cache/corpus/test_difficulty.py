import ast
from dataclasses import replace

import numpy as np
import pytest

from cache.corpus.difficulty import find_difficulty
from cache.corpus.recording import PlannedRecording, render_recording
from cache.corpus.song import Grammar, Phrase, Syllable
from cache.corpus.species import species_table
from cache.synth import CorpusPlan, plan_recordings

SILENT_DB = -200.0
Rendered = dict[str, list[tuple[float, list[str]]]]


def plan_in_silence(difficulty: str) -> list[PlannedRecording]:
    """Short recordings in which nothing but the birds is heard, so that a recording's level is its song's."""
    plan = CorpusPlan(20, 160, 1, min_seconds=1.0, max_seconds=1.5, difficulty=difficulty)
    return [silence(planned) for planned in plan_recordings(plan)]


def silence(planned: PlannedRecording) -> PlannedRecording:
    recordist = planned.recordist
    site = replace(recordist.site, level_db=SILENT_DB)
    microphone = replace(recordist.microphone, noise_floor_db=SILENT_DB)
    return replace(planned, recordist=replace(recordist, site=site, microphone=microphone))


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    """Peak level in dB, and secondary species, of each recording of both corpora."""
    table, heard = species_table(20), {}
    for name in ("standard", "hard"):
        pairs = [render_recording(planned, table) for planned in plan_in_silence(name)]
        heard[name] = [
            (20 * np.log10(float(np.abs(sound).max())), ast.literal_eval(str(row["secondary_labels"])))
            for sound, row in pairs
        ]
    return heard


def test_hard_songs_are_6_db_weaker(rendered: Rendered) -> None:
    standard, hard = (np.array([level_db for level_db, _ in rendered[name]]) for name in ("standard", "hard"))
    assert np.mean(standard - hard) == pytest.approx(6.0, abs=0.5)


def test_second_species_sing_in_a_third_of_the_hard_recordings(rendered: Rendered) -> None:
    standard, hard = (np.mean([bool(others) for _, others in rendered[name]]) for name in ("standard", "hard"))
    assert standard == pytest.approx(0.15, abs=0.06)  # two standard errors of 160 draws
    assert hard == pytest.approx(0.35, abs=0.08)


def test_hard_recordings_last_14_to_34_seconds() -> None:
    planned = plan_recordings(CorpusPlan(difficulty="hard"))
    for one in planned[::60]:
        sound, _ = render_recording(one, (planned[0].species,))
        assert 14 <= len(sound) / one.recordist.sample_rate <= 34
    assert {one.seconds_range for one in planned} == {(14.0, 34.0)}
    assert {one.seconds_range for one in plan_recordings(CorpusPlan())} == {(5.0, 11.0)}


def test_lengths_of_the_plan_go_before_those_of_the_difficulty() -> None:
    plan = CorpusPlan(difficulty="hard", max_seconds=20.0)
    assert {one.seconds_range for one in plan_recordings(plan)} == {(14.0, 20.0)}


def test_hard_dialects_differ_more_in_pitch() -> None:
    """Dialects of 1.6 and individuals of 0.7 give sqrt(1.6² + 0.7²) / sqrt(1 + 0.7²) = 1.43 times the spread."""
    standard, hard = (pitch_octaves(name).std() for name in ("standard", "hard"))
    assert hard / standard == pytest.approx(1.43, abs=0.2)


def pitch_octaves(difficulty: str) -> np.ndarray:
    """Pitch of one whistle in 160 dialects relative to the species', (dialects,)."""
    whistle = Grammar(2000.0, (Syllable((0.0, 0.0), 0.5, (0.0,)),), (Phrase((0,), 1, 1),), 0.1, 5.0)
    species = replace(species_table(1)[0], grammar=whistle)
    pitches = []
    for index, planned in enumerate(plan_in_silence(difficulty)):
        one = replace(planned, species=species, recordist_index=index)
        alone = replace(one, difficulty=replace(one.difficulty, secondary_share=0.0))
        sound = render_recording(alone, (species,))[0][:, 0]
        loudest = np.argmax(np.abs(np.fft.rfft(sound)))
        pitches.append(np.log2(loudest * one.recordist.sample_rate / len(sound) / 2000.0))
    return np.array(pitches)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("hrad", "difficulty=hrad is not known; did you mean hard? Set standard or hard."),
        ("Standart", "did you mean standard?"),
        ("9", "difficulty=9 is not known. Set standard or hard."),
    ],
)
def test_unknown_difficulty_is_refused_with_the_near_word(typed: str, told: str) -> None:
    with pytest.raises(ValueError) as refused:
        find_difficulty(typed)
    assert told in str(refused.value)
