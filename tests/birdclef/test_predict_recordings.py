"""New recordings through real, small models; probabilities are held against single forward passes."""

import csv
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from birdclef.config.model import ModelConfig
from birdclef.config.predict import DetectionFormat
from birdclef.inference.views import View
from birdclef.model.network import SpeciesModel, build_model
from birdclef.predict_recordings import find_recordings, predict_recordings, predict_with
from birdclef.serving.classifier import load_classifier
from birdclef.serving.ensemble_classifier import EnsembleClassifier, Member
from birdclef.serving.window_stream import Grid, Window, cut_windows
from cache.audio.decoded_length import Heard
from cache.audio.streaming import stream_waveform
from cache.config.features import EmbeddingConfig, LogMelConfig
from cache.front_end.embedding import keep_model, open_embedder
from cache.front_end.log_mel import compute_log_mel
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.unfinished_output import Job

FEATURES = LogMelConfig(sample_rate=8000, n_fft=256, hop_length=100, n_mels=32, fmin=50, fmax=4000)  # 80 frames/s
SPECIES = ["ant", "bee", "c<i>at"]
FRAMES = 160  # two seconds


def make_model(seed: int) -> SpeciesModel:
    torch.manual_seed(seed)
    built = build_model(ModelConfig(backbone="test_resnet", normalisation="dataset", projection_hidden=8), 3)
    torch.nn.init.normal_(built.classifier.weight, std=0.5)  # opinions that differ
    return built.eval()


@pytest.fixture(scope="module")
def classifier() -> EnsembleClassifier:
    """Two members, one with two folds, and two views."""
    models = [[make_model(0), make_model(1)], [make_model(2)]]
    views = [(View(), 1.0), (View(shift_frames=40, gain_db=-6.0), 3.0)]
    members = [Member(of_member, FEATURES, FeatureDirectory(Path()), views) for of_member in models]
    thresholds = np.array([0.2, 0.3, 0.99])
    return EnsembleClassifier(SPECIES, 2.0, members, "fitted", np.array([0.25, 0.75]), 1.5, thresholds, batch_windows=3)


@pytest.fixture
def fusion(tiny_model: Path, tmp_path: Path) -> EnsembleClassifier:
    """A head on one embedding a second, and a network on log-mel."""
    features = EmbeddingConfig(kind="embedding", model=str(tiny_model), stride_seconds=1.0)  # type: ignore[arg-type]
    (tmp_path / "store").mkdir()
    store = FeatureDirectory(tmp_path / "store")
    keep_model(features.model, store)
    torch.manual_seed(3)
    config = ModelConfig(backbone="mean_pool", normalisation="channel", pool_hidden=16, projection_hidden=8)
    head = build_model(config, 3, features.channels).eval()
    torch.nn.init.normal_(head.classifier.weight, std=2.0)
    views = [(View(), 1.0)]
    members = [
        Member([head], features, store, views),
        Member([make_model(0)], FEATURES, FeatureDirectory(Path()), views),
    ]
    return EnsembleClassifier(SPECIES, 2.0, members, "mean", np.ones(2), 1.0, np.zeros(3), batch_windows=2)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    (folder / "deep").mkdir(parents=True)
    for name, seconds in (("a.wav", 9.0), ("deep/b.flac", 1.2), ("deep/c.ogg", 4.0)):
        time = np.arange(round(seconds * 8000)) / 8000
        noise = np.random.default_rng(0).normal(0, 0.05, len(time))
        soundfile.write(folder / name, 0.3 * np.sin(2 * np.pi * (200 + 150 * time) * time) + noise, 8000)
    (folder / "notes.txt").write_text("not audio")
    return folder


def plain_probabilities(classifier: EnsembleClassifier, waveform: np.ndarray) -> list[np.ndarray]:
    """Each window of two seconds by a loop over members, folds and views."""
    strip = compute_log_mel(waveform.astype(np.float32), classifier.features)
    last, rows = len(strip) - FRAMES, []
    for start in range(0, len(strip), FRAMES):
        if len(strip) - start < 0.1 * FRAMES:
            break
        combined = np.zeros(3)
        for models, share in zip([each.models for each in classifier.members], (0.25, 0.75), strict=True):
            member = np.zeros(3)
            for model in models:
                for shift, gain, weight in ((0, 0.0, 0.25), (40, -6.0, 0.75)):
                    first = min(start + shift, last)
                    crop = torch.from_numpy(strip[first : first + FRAMES].T.copy())[None, None] + gain
                    with torch.no_grad():
                        member += weight * softmax(model(crop)[0].numpy().astype(float)) / len(models)
            combined += share * member
        rows.append(softmax(np.log(combined) / 1.5))
    return rows


def read(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def test_folders_are_searched_for_audio_and_files_are_taken_as_they_are(recordings: Path) -> None:
    found = find_recordings([recordings])
    assert [str(path.relative_to(recordings)) for path in found] == ["a.wav", "deep/b.flac", "deep/c.ogg"]
    assert find_recordings([recordings / "notes.txt", recordings / "a.wav", recordings])[:2] == [
        recordings / "notes.txt",
        recordings / "a.wav",
    ]
    assert len(find_recordings([recordings, recordings / "a.wav"])) == 3


def test_hidden_files_are_left_out_links_are_followed_and_the_rest_is_counted(
    recordings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("._a.wav", ".Trash-1000/old.wav", "log.TXT"):
        (recordings / name).parent.mkdir(exist_ok=True)
        (recordings / name).write_bytes(b"x")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "z.wav").write_bytes(b"x")
    (recordings / "site2").symlink_to(tmp_path / "disk")
    (recordings / "site2" / "up").symlink_to(recordings)
    os.mkfifo(recordings / "pipe.wav")
    caplog.set_level("INFO")
    found = find_recordings([recordings])
    assert [str(path.relative_to(recordings)) for path in found] == [
        "a.wav",
        "deep/b.flac",
        "deep/c.ogg",
        "site2/z.wav",
    ]
    told = f"predict: passed over in {recordings}: 2 .txt, 2 hidden, 1 FIFO, socket or device (pipe.wav)"
    assert caplog.messages == [told]


def test_fifo_is_refused_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(ValueError, match=r"pipe\.wav is a FIFO, a socket or a device"):
        find_recordings([tmp_path / "pipe.wav"])


def test_sound_of_phones_and_videos_is_predicted_like_its_source(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path, encode_by_ffmpeg: Callable[..., bytes]
) -> None:
    source, _ = soundfile.read(recordings / "a.wav", dtype="float32")
    for name, container, codec in (
        ("m.M4A", "ipod", "alac"),
        ("v.mkv", "matroska", "flac"),
        ("q.mov", "mov", "aac"),
    ):
        sound = encode_by_ffmpeg(source[np.newaxis], 8000, container, codec, picture=container == "mov")
        (tmp_path / "field").mkdir(exist_ok=True)
        (tmp_path / "field" / name).write_bytes(sound)
    outcome = predict_recordings(
        classifier, find_recordings([tmp_path / "field", recordings / "a.wav"]), tmp_path / "out.csv"
    )
    assert (outcome.recordings, outcome.failures) == (4, {})
    rows = {row["row_id"]: [float(row[name]) for name in SPECIES] for row in read(tmp_path / "out.csv")}
    for window in (2, 4, 6, 8):
        assert rows[f"m_{window}"] == pytest.approx(rows[f"a_{window}"], abs=1e-4)
        assert rows[f"v_{window}"] == pytest.approx(rows[f"a_{window}"], abs=1e-4)
    assert len([name for name in rows if name.startswith("q_")]) == 5


def test_path_that_is_not_there_and_folder_without_audio_are_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"b\.wav: no such file or folder"):
        find_recordings([recordings, tmp_path / "b.wav"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"No audio file below .*empty"):
        find_recordings([tmp_path / "empty"])


def test_submission_has_a_row_for_each_window_and_a_column_for_each_species(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "submission.csv"
    outcome = predict_recordings(classifier, find_recordings([recordings]), output)
    assert (outcome.recordings, outcome.failures) == (3, {})
    assert outcome.seconds == pytest.approx(9 + 1.2 + 4)
    rows = read(output)
    assert list(rows[0]) == ["row_id", *SPECIES]
    names = [row["row_id"] for row in rows]
    assert names == ["a_2", "a_4", "a_6", "a_8", "a_10", "b_2", "c_2", "c_4"]
    waveform, _ = soundfile.read(recordings / "a.wav")
    expected = plain_probabilities(classifier, waveform)
    assert len(expected) == 5
    for row, wanted in zip(rows, expected, strict=False):
        assert [float(row[name]) for name in SPECIES] == pytest.approx(wanted, abs=1e-5)
    assert np.std([float(row["ant"]) for row in rows]) > 1e-4  # windows differ


def test_window_that_only_one_front_end_sees_is_the_last_one(fusion: EnsembleClassifier, tmp_path: Path) -> None:
    waveform = np.random.default_rng(5).normal(0, np.linspace(0.01, 0.1, 35_200)).astype(np.float32)
    soundfile.write(tmp_path / "r.wav", waveform, 8000, subtype="FLOAT")  # 4.4 s: four embeddings
    predict_recordings(fusion, [tmp_path / "r.wav"], tmp_path / "r.csv")
    rows = read(tmp_path / "r.csv")
    assert [row["row_id"] for row in rows] == ["r_2", "r_4", "r_6"]
    predict_recordings(fusion, [tmp_path / "r.wav"], tmp_path / "long.csv", "long", threshold=0.0)
    spans = [(float(row["start_seconds"]), float(row["end_seconds"])) for row in read(tmp_path / "long.csv")[::3]]
    assert spans == [(0, 2), (2, 4), (2, 4.4)]  # at last the head hears 2 to 4 s again, the network 2.4 to 4.4 s
    head, network = fusion.members
    strip = np.concatenate(list(open_embedder(head.features, head.store).embed([waveform])))[:, :4]
    assert len(strip) == 4
    for row, first in zip(rows, (0, 160, 193), strict=True):  # the last window is the last of 353 frames
        crops = (strip[first // 80 : first // 80 + 2], compute_log_mel(waveform, FEATURES)[first : first + FRAMES])
        with torch.no_grad():
            seen = [
                member.models[0](torch.from_numpy(crop.T.copy())[None, None])[0].softmax(0).numpy()
                for member, crop in zip((head, network), crops, strict=True)
            ]
        assert [float(row[name]) for name in SPECIES] == pytest.approx(np.mean(seen, axis=0), abs=1e-5)


def test_every_window_passes_once_through_each_model_and_view(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path
) -> None:
    passed = []
    models = [model for member in classifier.members for model in member.models]
    hooks = [model.register_forward_hook(lambda module, given, out: passed.append(len(out))) for model in models]
    predict_recordings(classifier, find_recordings([recordings]), tmp_path / "a.csv")
    for hook in hooks:
        hook.remove()
    assert sum(passed) == 8 * 2 * 3  # windows, views, models
    assert len(passed) == 4 * 2 * 3  # batches of up to three windows: 3 + 2, 1, 2


def test_long_form_has_the_species_that_reach_their_thresholds(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path
) -> None:
    predict_recordings(classifier, [recordings / "a.wav"], tmp_path / "all.csv", "submission")
    predict_recordings(classifier, [recordings / "a.wav"], tmp_path / "long.csv", "long")
    expected = []
    for number, row in enumerate(read(tmp_path / "all.csv")):
        present = [
            (-float(row[name]), name)
            for name, least in zip(SPECIES, (0.2, 0.3, 0.99), strict=True)
            if float(row[name]) >= least
        ]
        expected += [(min(2.0 * number, 7.0125), name) for _, name in sorted(present)]  # the last is frames 561 to 721
    rows = read(tmp_path / "long.csv")
    assert [(float(row["start_seconds"]), row["species"]) for row in rows] == expected
    assert 0 < len(rows) < 15
    assert {row["recording"] for row in rows} == {str(recordings / "a.wav")}
    assert float(rows[-1]["end_seconds"]) == 9


@dataclass(frozen=True)
class LoudClassifier:
    """Finds a species in a window in which a sample is loud."""

    clip_seconds: float
    species: tuple[str, ...] = ("bird",)
    features: LogMelConfig = FEATURES
    thresholds: NDArray[np.float64] = field(default_factory=lambda: np.array([0.5]))
    species_without_recordings: tuple[str, ...] = ()

    def classify(self, recording: Path, heard: Heard) -> Iterator[tuple[Window, NDArray[np.float64]]]:
        grid = Grid(round(self.clip_seconds * 8000), self.clip_seconds, 8000, [0])
        pieces = (waveform[:, None] for waveform in stream_waveform(recording, 8000, heard))
        for window in cut_windows(pieces, grid, heard):
            yield window, np.array([float(np.abs(window.crops).max() > 0.5)])


def read_spans(path: Path, form: DetectionFormat) -> list[tuple[float, float]]:
    """Returns start and end of each detection, s."""
    if form == "audacity":
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        return [(float(start), float(end)) for start, end, _ in rows]
    if form == "long":
        return [(float(row["start_seconds"]), float(row["end_seconds"])) for row in read(path)]
    return [(float(row["Begin Time (s)"]), float(row["End Time (s)"])) for row in read(path, "\t")]


@pytest.mark.parametrize("form", ["long", "raven", "audacity"])
@pytest.mark.parametrize(
    ("bird", "length", "clip", "spans"),
    [
        (2.0, 13.3, 12.0, [(0, 12), (1.3, 13.3)]),
        (1.0, 13.3, 12.0, [(0, 12)]),
        (8.0, 12.5, 5.0, [(5, 10), (7.5, 12.5)]),
        (11.0, 12.5, 5.0, [(7.5, 12.5)]),
        (2.0, 3.0, 5.0, [(0, 3)]),
    ],
)
def test_detections_have_the_span_that_was_heard(
    form: DetectionFormat, bird: float, length: float, clip: float, spans: list[tuple[float, float]], tmp_path: Path
) -> None:
    sound = np.zeros(round(8000 * length), np.float32)
    sound[round(8000 * bird)] = 0.9
    soundfile.write(tmp_path / "day.wav", sound, 8000)
    outcome = predict_recordings(LoudClassifier(clip), [tmp_path / "day.wav"], tmp_path / "found", form)
    assert read_spans(tmp_path / "found", form) == [pytest.approx(span, abs=1e-3) for span in spans]
    assert outcome.detections == len(spans)


@pytest.mark.parametrize(
    ("form", "birds", "told"),
    [
        ("long", (), "predicted, 0 detections"),
        ("raven", (1.0,), "predicted, 1 detection"),
        ("long", (1.0, 7.0), "predicted, 2 detections"),
        ("submission", (1.0,), "predicted"),
    ],
)
def test_detections_are_counted_over_all_recordings(
    form: DetectionFormat, birds: tuple[float, ...], told: str, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        sound = np.zeros(40_000, np.float32)  # one window of 5 s
        for bird in birds:
            if (bird > 5) == (name == "b"):
                sound[round(8000 * (bird % 5))] = 0.9
        soundfile.write(tmp_path / f"{name}.wav", sound, 8000)
    outcome = predict_recordings(LoudClassifier(5.0), find_recordings([tmp_path]), tmp_path / "found", form)
    assert outcome.describe() == f"2 of 2 recordings (0.00 h) {told}"


def test_rows_of_a_submission_are_named_by_their_places(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "day.wav", np.zeros(100_000, np.float32), 8000)  # 12.5 s
    predict_recordings(LoudClassifier(5.0), [tmp_path / "day.wav"], tmp_path / "rows.csv")
    assert [row["row_id"] for row in read(tmp_path / "rows.csv")] == ["day_5", "day_10", "day_15"]


def test_one_threshold_may_stand_for_all(classifier: EnsembleClassifier, recordings: Path, tmp_path: Path) -> None:
    for threshold, count in ((0.0, 15), (1.0, 0)):
        predict_recordings(classifier, [recordings / "a.wav"], tmp_path / "long.csv", "long", threshold)
        assert len(read(tmp_path / "long.csv")) == count


def test_threshold_is_refused_in_a_submission(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"threshold 0 changes nothing in a submission, .* the format long, raven or"):
        predict_with(tmp_path / "model.onnx", [recordings / "a.wav"], tmp_path / "a.csv", "submission", 0.0)


def test_raven_counts_time_over_all_recordings(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path
) -> None:
    predict_recordings(classifier, find_recordings([recordings]), tmp_path / "a.txt", "raven", 0.0)
    rows = read(tmp_path / "a.txt", "\t")
    assert [row["Selection"] for row in rows] == [str(number + 1) for number in range(8 * 3)]
    of_c = [row for row in rows if row["Begin Path"].endswith("c.ogg")]
    begin, offset = float(of_c[0]["Begin Time (s)"]), float(of_c[0]["File Offset (s)"])
    assert (begin, offset) == (pytest.approx(9 + 1.2), 0)
    assert float(of_c[0]["End Time (s)"]) == pytest.approx(begin + 2, abs=1e-3)
    assert {(row["Low Freq (Hz)"], row["High Freq (Hz)"], row["Channel"]) for row in rows} == {("50", "4000", "1")}


def test_selection_of_raven_ends_at_half_the_rate_of_the_file(classifier: EnsembleClassifier, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 20_000), 5000)
    predict_recordings(classifier, [tmp_path / "a.wav"], tmp_path / "a.txt", "raven", 0.0)
    assert {row["High Freq (Hz)"] for row in read(tmp_path / "a.txt", "\t")} == {"2500"}


@pytest.mark.parametrize(("form", "place"), [("submission", 0), ("long", 0), ("raven", 7), ("audacity", None)])
def test_name_that_is_no_utf8_keeps_its_bytes(
    form: DetectionFormat, place: int | None, recordings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = os.fsdecode("Zürich".encode("latin-1"))  # as an old archive has it
    shutil.copy(recordings / "deep" / "c.ogg", tmp_path / f"{name}.ogg")
    outcome = predict_recordings(LoudClassifier(1.0), [tmp_path / f"{name}.ogg"], tmp_path / "out", form, 0.0)
    assert outcome.failures == {}
    rows = (tmp_path / "out").read_bytes().splitlines()[-4:]
    assert len(rows) == 4
    if place is not None:
        field = re.split(rb"[\t,]", rows[0])[place]
        assert field.startswith(b"Z\xfcrich_1" if form == "submission" else os.fsencode(tmp_path / name))
    assert r"have a name that is no UTF-8, such as 'Z\udcfcrich.ogg'" in caplog.text


@pytest.mark.parametrize("front_ends", ["classifier", "fusion"])
def test_raven_counts_rests_that_make_no_window(
    front_ends: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for name in "abcd":
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 32_800), 8000)  # 4.1 s
    recordings = find_recordings([tmp_path])
    outcome = predict_recordings(request.getfixturevalue(front_ends), recordings, tmp_path / "a.txt", "raven", 0.0)
    rows = read(tmp_path / "a.txt", "\t")
    begins = [float(row["Begin Time (s)"]) for row in rows if float(row["File Offset (s)"]) == 0]
    assert begins[::3] == pytest.approx([0, 4.1, 8.2, 12.3])
    assert len(rows) == 4 * 2 * 3
    assert outcome.seconds == pytest.approx(16.4)


def test_window_of_embeddings_ends_with_the_recording(fusion: EnsembleClassifier, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 20_800), 8000)
    head = replace(fusion, members=fusion.members[:1])
    outcome = predict_recordings(head, [tmp_path / "a.wav"], tmp_path / "a.txt", "audacity", 0.0)
    ends = [float(line.split("\t")[1]) for line in (tmp_path / "a.txt").read_text().splitlines()]
    assert ends[::3] == [2, 2.6]  # its three embeddings reach to 3 s
    assert outcome.seconds == 2.6


def test_audacity_labels_belong_to_one_recording(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path
) -> None:
    predict_recordings(classifier, [recordings / "a.wav"], tmp_path / "a.txt", "audacity", 0.0)
    lines = [line.split("\t") for line in (tmp_path / "a.txt").read_text().splitlines()]
    assert len(lines) == 15
    assert [float(value) for value in lines[3][:2]] == [2, 4]
    assert {line[2].rsplit(" ", 1)[0] for line in lines} == set(SPECIES)
    with pytest.raises(ValueError, match="belongs to one recording, but 3 were given"):
        predict_recordings(classifier, find_recordings([recordings]), tmp_path / "b.txt", "audacity")
    assert not (tmp_path / "b.txt").exists()


def test_recordings_of_one_name_are_refused_in_a_submission(classifier: EnsembleClassifier, tmp_path: Path) -> None:
    twins = [tmp_path / "x" / "a.wav", tmp_path / "y" / "a.flac"]
    with pytest.raises(ValueError, match=r"x/a\.wav and .*y/a\.flac would have the same row ids \(a_5"):
        predict_recordings(classifier, twins, tmp_path / "a.csv")


def test_bad_recordings_are_told_and_the_others_predicted(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path
) -> None:
    (recordings / "broken.ogg").write_bytes(b"OggS and no more")
    outcome = predict_recordings(classifier, find_recordings([recordings]), tmp_path / "a.csv")
    assert list(outcome.failures) == [recordings / "broken.ogg"]
    assert outcome.recordings == 3
    assert len(read(tmp_path / "a.csv")) == 8


def test_this_process_decodes_nothing(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cache.audio.streaming", "cache.audio.decoding"):
        monkeypatch.setattr(f"{module}.read_blocks", lambda *_, **__: pytest.fail("decoded here"))
    assert predict_recordings(classifier, [recordings / "a.wav"], tmp_path / "a.csv").failures == {}


def test_recording_that_breaks_half_way_keeps_what_it_had(classifier: EnsembleClassifier, tmp_path: Path) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 150 * 8000).astype(np.float32)
    waveform[130 * 8000] = np.inf  # in the third block of a minute
    soundfile.write(tmp_path / "a.wav", waveform, 8000, subtype="FLOAT")
    outcome = predict_recordings(classifier, [tmp_path / "a.wav"], tmp_path / "a.csv")
    assert "infinite after 120 s; predicted up to" in outcome.failures[tmp_path / "a.wav"]
    assert 110 <= outcome.seconds <= 120
    assert len(read(tmp_path / "a.csv")) == outcome.seconds / 2
    predict_recordings(classifier, [tmp_path / "a.wav"] * 2, tmp_path / "a.txt", "raven", 0.0)
    begins = [
        float(row["Begin Time (s)"]) for row in read(tmp_path / "a.txt", "\t") if row["File Offset (s)"] == "0.000"
    ]
    assert begins[::3] == [0, 150]


def test_recording_with_sound_behind_its_end_that_cannot_be_read_has_failed(tmp_path: Path) -> None:
    for name, rate in (("first", 8000), ("second", 16_000)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(10 * rate), rate)
    joined = tmp_path / "a.wav"
    joined.write_bytes((tmp_path / "first.wav").read_bytes() + (tmp_path / "second.wav").read_bytes())
    outcome = predict_recordings(LoudClassifier(5.0), [joined], tmp_path / "a.csv")
    reason = "only the first 10.0 s decode: the sample rate changes from 8000 to 16000 Hz; predicted up to 10 s"
    assert outcome.failures == {joined: reason}


def test_raven_counts_what_is_heard_of_a_recording_whose_header_states_no_length(tmp_path: Path) -> None:
    sound = np.zeros(8000 * 7, np.float32)
    sound[8000] = 0.9
    soundfile.write(tmp_path / "a.flac", sound, 8000)
    flac = bytearray((tmp_path / "a.flac").read_bytes())
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)  # the number of samples in STREAMINFO (RFC 9639, 8.2)
    (tmp_path / "a.flac").write_bytes(flac)
    (tmp_path / "broken.flac").write_bytes(flac[: flac.index(b"\xff\xf8")])  # no frame
    soundfile.write(tmp_path / "c.wav", sound, 8000)
    names = [tmp_path / name for name in ("a.flac", "broken.flac", "c.wav")]
    outcome = predict_recordings(LoudClassifier(5.0), names, tmp_path / "found", "raven")
    assert list(outcome.failures) == [tmp_path / "broken.flac"]
    assert read_spans(tmp_path / "found", "raven") == [pytest.approx((0, 5)), pytest.approx((7, 12))]


def test_output_appears_whole_or_not_at_all(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "a.csv").write_text("before")
    monkeypatch.setattr(EnsembleClassifier, "classify", interrupt)
    with pytest.raises(KeyboardInterrupt):
        predict_recordings(classifier, [recordings / "a.wav"], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("form", ["submission", "long", "raven"])
def test_interrupted_prediction_goes_on_after_the_finished_recordings(
    classifier: EnsembleClassifier,
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: DetectionFormat,
) -> None:
    listed = find_recordings([recordings])
    whole = predict_recordings(classifier, listed, tmp_path / "whole", form, 0.2)
    begun: list[Path] = []

    def classify(
        self: EnsembleClassifier, recording: Path, heard: Heard
    ) -> Iterator[tuple[Window, NDArray[np.float64]]]:
        begun.append(recording)
        windows = plain(self, recording, heard)
        yield next(windows)
        if len(begun) == 2:
            raise KeyboardInterrupt
        yield from windows

    plain = EnsembleClassifier.classify
    monkeypatch.setattr(EnsembleClassifier, "classify", classify)
    output = tmp_path / "out" / "a.csv"
    begun_when_kept: list[int] = []
    job = Job("key", resume=False, when_kept=lambda: begun_when_kept.append(len(begun)))
    with pytest.raises(KeyboardInterrupt):
        predict_recordings(classifier, listed, output, form, 0.2, job)
    assert begun_when_kept == [1]
    assert sorted(path.name for path in output.parent.iterdir()) == ["a.csv.steps", "a.csv.unfinished"]
    with pytest.raises(ValueError, match=r"a\.csv\.unfinished was written for other recordings, .* leave out --resume"):
        predict_recordings(classifier, listed, output, form, 0.2, Job("other", resume=True))
    assert predict_recordings(classifier, listed, output, form, 0.2, Job("key", resume=True)) == whole
    assert begun == [listed[0], listed[1], listed[1], listed[2]]
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert [path.name for path in output.parent.iterdir()] == ["a.csv"]


def test_resuming_without_a_finished_recording_is_told(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    job = Job("key", resume=True)
    assert predict_recordings(classifier, [recordings / "a.wav"], tmp_path / "a.csv", job=job).recordings == 1
    told = f"predict: no recording is finished beside {tmp_path}/a.csv, so --resume begins with the first one"
    assert caplog.messages.count(told) == 1


@pytest.mark.parametrize("name", ["day.steps", "day.unfinished"])
def test_recording_beside_the_output_is_not_replaced(recordings: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(recordings / "a.wav", tmp_path / name)
    for listed in ([tmp_path / name], []):
        with pytest.raises(ValueError, match=rf"/{name} is no part of an unfinished output"):
            predict_with(tmp_path / "model.onnx", listed, tmp_path / "day")
    assert (tmp_path / name).read_bytes() == (recordings / "a.wav").read_bytes()


def test_output_has_no_suffix_of_a_recording(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"/a\.WAV has the suffix of a recording\. Name a file such as .*/a\.csv\."):
        predict_with(tmp_path / "model.onnx", [], tmp_path / "a.WAV")


def test_recording_is_not_overwritten_by_its_prediction(classifier: EnsembleClassifier, recordings: Path) -> None:
    before = (recordings / "a.wav").read_bytes()
    with pytest.raises(ValueError, match=r"a\.wav is one of the files to read"):
        predict_recordings(classifier, [recordings / "a.wav"], recordings / "a.wav")
    assert (recordings / "a.wav").read_bytes() == before


def test_rows_go_to_the_standard_output(
    classifier: EnsembleClassifier, recordings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for output in (tmp_path / "a.csv", Path("-")):
        predict_recordings(classifier, [recordings / "a.wav"], output)
    assert capfd.readouterr().out == (tmp_path / "a.csv").read_text()


def test_what_is_no_run_or_report_is_refused(tmp_path: Path, evaluation_split: Path) -> None:
    with pytest.raises(ValueError, match=r"is neither a run nor a report\. Give workspace/runs/KEY"):
        load_classifier(tmp_path)
    with pytest.raises(ValueError, match=r"holds splits, which cannot predict\. Give a run or a report"):
        load_classifier(evaluation_split)
