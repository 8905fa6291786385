"""Excerpts of recordings: where they are loudest, and what their pictures show beside embeddings in the store."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdclef.report.mistakes import Exhibitor, find_loudest
from birdclef.report.plots import plot_strip
from birdclef.scores.lineage import Lineage
from birdclef.scores.report_scores import Scored
from cache.config.data import DataConfig
from cache.config.features import EmbeddingConfig
from cache.recordings.excerpt import read_log_mel
from cache.store.part_writer import PartWriter
from cache.workspace.feature_directory import FeatureDirectory

NAMES = ["one.wav", "two.wav"]


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    """Two recordings of noise, 2 s each."""
    (tmp_path / "train_audio").mkdir()
    for seed, name in enumerate(NAMES):
        sound = np.random.default_rng(seed).normal(0, 0.1, 16_000)
        soundfile.write(tmp_path / "train_audio" / name, sound, 8_000)
    return DataConfig(root=str(tmp_path))


@pytest.fixture
def scored(data: DataConfig, tiny_model: Path, tmp_path: Path) -> Scored:
    """The parts of a report on embeddings that pictures are drawn from."""
    config = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)})
    sha256s = [hashlib.sha256((tmp_path / data.audio / name).read_bytes()).hexdigest() for name in NAMES]
    store = FeatureDirectory(tmp_path / "features")
    writer = PartWriter(store, config.channels)
    for number, sha256 in enumerate(sha256s):
        writer.add_strip(sha256, np.random.default_rng(number).normal(size=(3, 4)).astype(np.float32))
    writer.publish()
    table = pd.DataFrame({"recording_id": NAMES, "sha256": sha256s})
    report = {"lineage": {"features": {"config": config.identity()}}}
    nothing = np.empty((0, 0))
    lineage = Lineage((), tmp_path, tmp_path, store)
    return Scored(report, table, table, table, nothing, nothing, nothing, lineage, {}, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(("megabytes", "silence"), [(0.0, "left out"), (1e-6, "no room left"), (1.0, "")])
def test_pictures_are_spectrograms_whether_or_not_there_are_sounds(
    megabytes: float, silence: str, scored: Scored, data: DataConfig, tiny_model: Path
) -> None:
    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)}).compared_log_mel
    exhibitor = Exhibitor(scored, data, megabytes)
    for name, sha256 in zip(NAMES, scored.catalogue["sha256"], strict=True):
        shown = exhibitor.show(name)
        assert shown.picture == plot_strip(read_log_mel(data, name, sha256, features))
        assert not shown.shows_embeddings
        assert shown.silence.startswith(silence)
        assert (shown.excerpt is None) == bool(silence)


@pytest.mark.parametrize(("megabytes", "silence"), [(0.0, "left out"), (1.0, "the recordings were out of reach")])
def test_pictures_of_recordings_out_of_reach_are_said_to_be_embeddings(
    megabytes: float, silence: str, scored: Scored, data: DataConfig, caplog: pytest.LogCaptureFixture
) -> None:
    exhibitor = Exhibitor(scored, data.model_copy(update={"root": f"{data.root}/gone"}), megabytes)
    shown = [exhibitor.show(name) for name in NAMES]
    assert [one.shows_embeddings for one in shown] == [True, True]
    assert [one.silence for one in shown] == [silence, silence]
    assert caplog.text.count("cannot read the recordings") == 1


def test_picture_of_a_changed_recording_alone_shows_embeddings(scored: Scored, data: DataConfig) -> None:
    other = scored.catalogue.assign(recording_id=NAMES[:1] * 2)
    changed = replace(scored, catalogue=pd.concat([other[1:], scored.catalogue[1:]]))
    exhibitor = Exhibitor(changed, data, 0)
    assert [exhibitor.show(name).shows_embeddings for name in NAMES] == [True, False]


@pytest.mark.parametrize(("loudest", "first"), [(200, 180), (3, 0), (297, 260)])
def test_frames_lie_around_the_loudest_one_and_inside_the_strip(loudest: int, first: int) -> None:
    strip = np.random.default_rng(0).normal(-60, 3, (300, 8)).astype(np.float16)
    strip[loudest] = -5
    assert find_loudest(strip, 40) == first


def test_whole_strip_begins_at_its_begin() -> None:
    strip = np.full((30, 8), -60, np.float16)
    strip[20] = -5
    assert find_loudest(strip, 30) == 0
