"""Detections written by hand in each form, for programs whose formats say what a line holds."""

import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import cast

import numpy as np
import pytest

from birdclef.config.predict import DetectionFormat
from birdclef.serving.detections import WRITERS, check_names
from birdclef.serving.window_stream import Window, WindowClassifier
from cache.audio.decoded_length import Heard
from cache.config.features import LogMelConfig

CLASSIFIER = cast(
    "WindowClassifier",
    SimpleNamespace(
        species=["ant", "b,ee"],
        clip_seconds=2.0,
        features=LogMelConfig(fmin=50.0, fmax=9000.0),
        species_without_recordings=(),
    ),
)
THRESHOLDS = np.array([0.3, 0.5])


def write(
    form: DetectionFormat, classifier: WindowClassifier = CLASSIFIER, rates: Mapping[str, int] = MappingProxyType({})
) -> list[str]:
    """Returns the lines of two recordings of 3 and 2 s: one window with both species, one with none, one with one."""
    stream = io.StringIO()
    writer = WRITERS[form](stream, classifier, THRESHOLDS)
    for name, length, windows in (
        ("a.wav", 3.0, ((0, 2, 2, 0.3, 0.7), (1, 3, 4, 0.29, 0.49))),
        ("b.wav", 2.0, ((0, 2, 2, 0.4, 0),)),
    ):
        heard = Heard()
        writer.begin(Path(name), heard)
        heard.sample_rate = rates.get(name, 48_000)
        for start, end, place_end, *probabilities in windows:
            writer.add(Window(start, end, place_end, np.empty(0)), np.array(probabilities))
        writer.finish(length)
    return stream.getvalue().splitlines()


def test_submission_has_all_species_and_whole_windows() -> None:
    assert write("submission") == ['row_id,ant,"b,ee"', "a_2,0.3,0.7", "a_4,0.29,0.49", "b_2,0.4,0"]


def test_submission_has_a_column_of_zeros_for_each_species_without_recordings() -> None:
    wider = cast("WindowClassifier", SimpleNamespace(**{**vars(CLASSIFIER), "species_without_recordings": ["aa", "c"]}))
    assert write("submission", wider)[:2] == ['row_id,aa,ant,"b,ee",c', "a_2,0,0.3,0.7,0"]


def test_long_form_has_species_from_their_thresholds_on_the_most_probable_first() -> None:
    assert write("long")[1:] == ['a.wav,0,2,"b,ee",0.7000', "a.wav,0,2,ant,0.3000", "b.wav,0,2,ant,0.4000"]


def test_raven_counts_selections_and_time_over_all_recordings() -> None:
    rows = [line.split("\t") for line in write("raven")]
    assert rows[0][:5] == ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"]
    assert rows[3] == ["3", "Spectrogram 1", "1", "3.000", "5.000", "50", "9000", "b.wav", "0.000", "ant", "0.4000"]


def test_selection_of_raven_ends_where_the_recording_s_own_spectrogram_ends() -> None:
    rows = [line.split("\t") for line in write("raven", rates={"a.wav": 16_000, "b.wav": 60})]
    assert [row[5:8] for row in rows[1:]] == [["50", "8000", "a.wav"]] * 2 + [["30", "30", "b.wav"]]


def test_audacity_has_start_end_and_label() -> None:
    assert write("audacity")[0] == "0.000000\t2.000000\tb,ee 0.70"


def test_recordings_that_a_form_cannot_tell_apart_are_refused() -> None:
    one, other = Path("x/a.wav"), Path("y/a.ogg")
    check_names([one, other], "long")
    with pytest.raises(ValueError, match=r"same row ids \(a_5"):
        check_names([one, other], "submission")
    with pytest.raises(ValueError, match="2 were given"):
        check_names([one, other], "audacity")
