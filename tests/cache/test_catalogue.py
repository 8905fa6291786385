import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cache.catalogue import build_catalogue
from cache.computing.part import compute_part
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.features import find_missing, open_feature_directory
from cache.recordings.catalogue_tables import feature_directory, read_catalogue, read_quarantine, read_species
from cache.recordings.hashes import hash_recordings
from cache.recordings.user_table import audio_directory, read_recordings
from cache.store.fragment import Failure
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

pytestmark = pytest.mark.usefixtures("without_pictures")

EncodeAudio = Callable[..., bytes]
WriteDataset = Callable[..., DataConfig]

FEATURES = LogMelConfig(sample_rate=16_000, fmax=8000.0, n_fft=512, hop_length=160, n_mels=16)
CONTENT = ("recordings.csv", "species.csv", "quarantine.csv", "summary.json")
USABLE = ["bird1/a.wav", "bird1/b.wav", "bird1/twin.wav", "bird2/c.wav"]
REASONS = {
    "bird1/empty.wav": "empty",
    "bird1/nan.wav": "non_finite",
    "bird1/noise.wav": "undecodable",
    "bird1/pointer.ogg": "undecodable",
    "bird1/quiet.wav": "silent",
    "bird1/same.wav": "label_conflict",
    "bird2/click.wav": "too_short",
    "bird2/same.wav": "label_conflict",
}


def noise(seed: int, seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * 16_000)).clip(-1, 1)


def catalogue_of(data: DataConfig, workspace: Path) -> Path:
    """Builds the catalogue as the stage does, with all strips in one part and no Dask."""
    recordings = read_recordings(data)
    audio = audio_directory(data)
    recordings["sha256"] = hash_recordings(recordings, audio, Workspace(workspace))
    store = open_feature_directory(FEATURES, Workspace(workspace)).path
    missing = find_missing(recordings, audio, StripStore(FeatureDirectory(store)), FEATURES)
    if missing:
        list(compute_part(missing, FEATURES, FeatureDirectory(store), {}))
    return build_catalogue(recordings, data, FeatureDirectory(store), Workspace(workspace))


@pytest.fixture
def mixed(tmp_path: Path, encode_audio: EncodeAudio, write_dataset: WriteDataset) -> DataConfig:
    """Twelve recordings: four usable, and each kind of unusable one."""
    with_nan = noise(7).astype(np.float32)
    with_nan[5] = np.nan
    audio = {
        "bird2/same.wav": encode_audio(noise(6), 16_000),
        "bird1/b.wav": encode_audio(noise(2, seconds=1.5), 32_000),
        "bird1/a.wav": encode_audio(noise(1), 16_000),
        "bird1/twin.wav": encode_audio(noise(1), 16_000),
        "bird2/c.wav": encode_audio(noise(3, seconds=2.0), 16_000),
        "bird1/noise.wav": b"this is not audio",
        "bird1/pointer.ogg": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12\n",
        "bird1/empty.wav": encode_audio(np.zeros(0), 16_000),
        "bird1/nan.wav": encode_audio(with_nan, 16_000, subtype="FLOAT"),
        "bird1/quiet.wav": encode_audio(noise(4, level=1e-5), 16_000, subtype="FLOAT"),
        "bird2/click.wav": encode_audio(noise(5, seconds=0.4), 16_000),
        "bird1/same.wav": encode_audio(noise(6), 16_000),
    }
    names = {"bird1": ("Avis prima", "First Bird"), "bird2": ("Avis secunda", "Second Bird")}
    rows = [
        {
            "primary_label": name.split("/")[0],
            "filename": name,
            "author": "Ann Other",
            "scientific_name": names[name.split("/")[0]][0],
            "common_name": names[name.split("/")[0]][1],
            "rating": "4.0",
        }
        for name in audio
    ]
    return write_dataset(tmp_path / "data", rows, audio, max_quarantined_share=0.7)


def test_each_unusable_recording_is_listed_with_its_reason(mixed: DataConfig, tmp_path: Path) -> None:
    quarantine = read_quarantine(catalogue_of(mixed, tmp_path / "work"))
    assert list(quarantine.columns) == ["recording_id", "label", "sha256", "reason", "detail"]
    assert dict(zip(quarantine["recording_id"], quarantine["reason"], strict=True)) == REASONS
    assert list(quarantine["recording_id"]) == sorted(REASONS)
    detail = quarantine.set_index("recording_id")["detail"]
    assert "Git-LFS pointer" in detail["bird1/pointer.ogg"]
    assert detail["bird1/nan.wav"] == "1 samples are NaN or infinite"
    assert detail["bird1/same.wav"] == "the same bytes have the labels bird1, bird2"
    assert detail["bird2/click.wav"] == "0.410 s decode, data.min_seconds is 0.5"  # 1 + 6400 // 160 = 41 frames
    assert "data.silence_db is -60" in detail["bird1/quiet.wav"]


def test_log_counts_usable_recordings_and_names_some_of_each_reason(
    mixed: DataConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):  # built, and from cache
        caplog.clear()
        with caplog.at_level("INFO"):
            catalogue_of(mixed, tmp_path / "work")
        (told,) = [record for record in caplog.records if "recordings usable" in record.getMessage()]
        assert told.levelname == "WARNING"
        counts, reasons = told.getMessage().split("; quarantine: ")
        assert counts == "catalogue: 4 of 12 recordings usable"
        assert "1 too_short (bird2/click.wav)" in reasons.split(", ")
        alike = [name for name, reason in REASONS.items() if reason == "label_conflict"]
        assert f"{len(alike)} label_conflict ({', '.join(sorted(alike))})" in reasons
    assert sum(map(int, re.findall(r"(\d+) [a-z_]+ \(", reasons))) == 8


def test_log_names_three_recordings_of_a_reason_and_counts_the_others(
    tmp_path: Path, encode_audio: EncodeAudio, write_dataset: WriteDataset, caplog: pytest.LogCaptureFixture
) -> None:
    audio = {f"{number}.wav": encode_audio(noise(number, seconds=0.3), 16_000) for number in range(5)}
    audio["long.wav"] = encode_audio(noise(9), 16_000)
    rows = [{"primary_label": "bird", "filename": name} for name in audio]
    catalogue_of(write_dataset(tmp_path / "data", rows, audio, max_quarantined_share=0.9), tmp_path / "work")
    (told,) = [message for message in caplog.messages if "recordings usable" in message]
    assert told.endswith("1 of 6 recordings usable; quarantine: 5 too_short (0.wav, 1.wav, 2.wav and 2 more)")


def test_usable_recordings_come_by_name_with_frames_and_seconds(mixed: DataConfig, tmp_path: Path) -> None:
    recordings = read_catalogue(catalogue_of(mixed, tmp_path / "work"))
    assert list(recordings["recording_id"]) == USABLE
    assert list(recordings["frames"]) == [101, 76, 101, 201]  # 1 + samples // 160, at 16 kHz
    assert list(recordings["seconds"]) == [1.01, 0.76, 1.01, 2.01]  # frames / 100
    assert set(recordings["recordist"]) == {"ann other"}
    assert list(recordings["rating"]) == ["4.0"] * 4
    assert recordings["sha256"].nunique() == 3  # a and twin hold the same bytes
    assert not {"size", "version"} & set(recordings.columns)


def test_species_are_counted_over_usable_recordings(mixed: DataConfig, tmp_path: Path) -> None:
    species = read_species(catalogue_of(mixed, tmp_path / "work"))
    assert species.to_dict("list") == {
        "label": ["bird1", "bird2"],
        "scientific_name": ["Avis prima", "Avis secunda"],
        "common_name": ["First Bird", "Second Bird"],
        "recordings": [3, 1],
    }


def test_species_without_names_have_empty_ones(
    tmp_path: Path, encode_audio: EncodeAudio, write_dataset: WriteDataset
) -> None:
    audio = {"1.wav": encode_audio(noise(1), 16_000), "2.wav": encode_audio(noise(2), 16_000)}
    rows = [{"primary_label": label, "filename": name} for label, name in zip("ba", audio, strict=True)]
    species = read_species(catalogue_of(write_dataset(tmp_path / "data", rows, audio), tmp_path / "work"))
    assert species.to_dict("list") == {
        "label": ["a", "b"],
        "scientific_name": ["", ""],
        "common_name": ["", ""],
        "recordings": [1, 1],
    }


def test_species_take_the_names_of_the_first_recording_that_has_them(
    tmp_path: Path, encode_audio: EncodeAudio, write_dataset: WriteDataset
) -> None:
    names = {"1.wav": ("", " "), "2.wav": ("Avis prima", ""), "3.wav": ("Avis altera", "First Bird")}
    audio = {name: encode_audio(noise(number), 16_000) for number, name in enumerate(names)}
    rows = [
        {"primary_label": "a", "filename": name, "scientific_name": scientific, "common_name": common}
        for name, (scientific, common) in names.items()
    ]
    species = read_species(catalogue_of(write_dataset(tmp_path / "data", rows, audio), tmp_path / "work"))
    assert species[["scientific_name", "common_name"]].values.tolist() == [["Avis prima", "First Bird"]]


def test_summary_counts_recordings_species_and_hours(mixed: DataConfig, tmp_path: Path) -> None:
    summary = json.loads((catalogue_of(mixed, tmp_path / "work") / "summary.json").read_text())
    assert summary == {
        "recordings": 12,
        "usable": 4,
        "quarantined": 8,
        "species": 2,
        "duplicates": 1,  # bird1/twin.wav has the bytes of bird1/a.wav
        "hours": 0.0013,  # 4.79 s
    }


def test_unreadable_recording_is_quarantined(
    mixed: DataConfig, tmp_path: Path, encode_audio: EncodeAudio, caplog: pytest.LogCaptureFixture
) -> None:
    recordings = read_recordings(mixed)
    audio = audio_directory(mixed)
    recordings["sha256"] = hash_recordings(recordings, audio, Workspace(tmp_path / "work"))
    store = open_feature_directory(FEATURES, Workspace(tmp_path / "work")).path
    missing = find_missing(recordings, audio, StripStore(FeatureDirectory(store)), FEATURES)
    Path(audio, "bird1/b.wav").unlink()
    Path(audio, "bird2/c.wav").write_bytes(encode_audio(noise(99), 16_000))
    list(compute_part(missing, FEATURES, FeatureDirectory(store), {}))
    data = mixed.model_copy(update={"max_quarantined_share": 0.9})
    quarantine = read_quarantine(
        build_catalogue(recordings, data, FeatureDirectory(store), Workspace(tmp_path / "work"))
    ).set_index("recording_id")
    assert quarantine.loc["bird1/b.wav", "reason"] == "unreadable"
    assert quarantine.loc["bird2/c.wav", "reason"] == "unreadable"
    assert len(quarantine) == 10


def test_a_file_that_can_be_read_again_leaves_the_quarantine(mixed: DataConfig, tmp_path: Path) -> None:
    recordings = read_recordings(mixed)
    audio = audio_directory(mixed)
    recordings["sha256"] = hash_recordings(recordings, audio, Workspace(tmp_path / "work"))
    store = open_feature_directory(FEATURES, Workspace(tmp_path / "work")).path
    data = mixed.model_copy(update={"max_quarantined_share": 0.9})
    content = Path(audio, "bird1/b.wav").read_bytes()
    Path(audio, "bird1/b.wav").unlink()
    list(
        compute_part(
            find_missing(recordings, audio, StripStore(FeatureDirectory(store)), FEATURES),
            FEATURES,
            FeatureDirectory(store),
            {},
        )
    )
    assert "bird1/b.wav" not in set(
        read_catalogue(build_catalogue(recordings, data, FeatureDirectory(store), Workspace(tmp_path / "work")))[
            "recording_id"
        ]
    )
    Path(audio, "bird1/b.wav").write_bytes(content)
    list(
        compute_part(
            find_missing(recordings, audio, StripStore(FeatureDirectory(store)), FEATURES),
            FEATURES,
            FeatureDirectory(store),
            {},
        )
    )
    assert "bird1/b.wav" in set(
        read_catalogue(build_catalogue(recordings, data, FeatureDirectory(store), Workspace(tmp_path / "work")))[
            "recording_id"
        ]
    )


def test_samples_whose_power_overflows_are_non_finite(
    tmp_path: Path, encode_audio: EncodeAudio, write_dataset: WriteDataset
) -> None:
    huge = encode_audio(np.full(16_000, 1e25, np.float32), 16_000, "WAV", "FLOAT")
    rows = [{"primary_label": "bird1", "filename": name} for name in ("a.wav", "huge.wav")]
    audio = {"a.wav": encode_audio(noise(1), 16_000), "huge.wav": huge}
    data = write_dataset(tmp_path / "data", rows, audio, max_quarantined_share=0.9)
    quarantine = read_quarantine(catalogue_of(data, tmp_path / "work"))
    assert quarantine[["recording_id", "reason"]].to_numpy().tolist() == [["huge.wav", "non_finite"]]
    assert "overflow" in quarantine["detail"][0]


def test_recording_without_hash_is_unreadable(mixed: DataConfig, tmp_path: Path) -> None:
    catalogue_of(mixed, tmp_path / "work")
    recordings = read_recordings(mixed)
    recordings["sha256"] = hash_recordings(recordings, audio_directory(mixed), Workspace(tmp_path / "work"))
    recordings.loc[recordings["recording_id"].isin(["bird1/a.wav", "bird2/c.wav"]), "sha256"] = ""
    store = open_feature_directory(FEATURES, Workspace(tmp_path / "work")).path
    data = mixed.model_copy(update={"max_quarantined_share": 0.9})
    catalogue = build_catalogue(recordings, data, FeatureDirectory(store), Workspace(tmp_path / "work"))
    reasons = read_quarantine(catalogue).set_index("recording_id")["reason"]
    assert reasons["bird1/a.wav"] == reasons["bird2/c.wav"] == "unreadable"
    assert list(read_catalogue(catalogue)["recording_id"]) == ["bird1/b.wav", "bird1/twin.wav"]


def test_limits_decide_what_is_short_and_silent(mixed: DataConfig, tmp_path: Path) -> None:
    lenient = mixed.model_copy(update={"min_seconds": 0.3, "silence_db": -99.0})
    names = set(read_catalogue(catalogue_of(lenient, tmp_path / "work"))["recording_id"])
    assert names == {*USABLE, "bird2/click.wav", "bird1/quiet.wav"}


@pytest.mark.parametrize("share", [0.1, 0.66])
def test_too_many_unusable_recordings_fail_the_build(mixed: DataConfig, tmp_path: Path, share: float) -> None:
    strict = mixed.model_copy(update={"max_quarantined_share": share})
    with pytest.raises(ValueError) as caught:
        catalogue_of(strict, tmp_path / "work")
    message = str(caught.value)
    assert message.startswith("8 of 12 recordings are unusable (")
    for counted in ("2 undecodable", "2 label_conflict", "1 empty", "1 non_finite", "1 silent", "1 too_short"):
        assert counted in message
    assert f"more than data.max_quarantined_share={share:g}." in message
    assert message.endswith("remove these recordings, or set data.max_quarantined_share=0.67.")  # 8 / 12 = 0.667
    named = Path(message.split(". ")[1].split(" lists them")[0])
    assert len(named.read_text().splitlines()) == 1 + 8


def test_share_at_the_limit_passes_and_a_raised_share_mends_the_build(mixed: DataConfig, tmp_path: Path) -> None:
    strict = mixed.model_copy(update={"max_quarantined_share": 0.5})
    with pytest.raises(ValueError, match="8 of 12"):
        catalogue_of(strict, tmp_path / "work")
    at_limit = mixed.model_copy(update={"max_quarantined_share": 8 / 12})
    assert len(read_catalogue(catalogue_of(at_limit, tmp_path / "work"))) == 4


def test_data_set_without_usable_recording_fails_at_any_share(tmp_path: Path, write_dataset: WriteDataset) -> None:
    rows = [{"primary_label": "bird1", "filename": "1.wav"}]
    data = write_dataset(tmp_path / "data", rows, {"1.wav": b"no audio"}, max_quarantined_share=1.0)
    with pytest.raises(ValueError, match=r"1 of 1 recordings are unusable \(1 undecodable\)"):
        catalogue_of(data, tmp_path / "work")


def test_catalogue_is_the_same_in_every_workspace(mixed: DataConfig, tmp_path: Path) -> None:
    one, two = catalogue_of(mixed, tmp_path / "one"), catalogue_of(mixed, tmp_path / "two")
    assert one.name == two.name
    for name in CONTENT:
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_order_of_the_table_makes_no_other_catalogue(mixed: DataConfig, tmp_path: Path) -> None:
    catalogue = catalogue_of(mixed, tmp_path / "work")
    table = Path(mixed.root) / mixed.metadata
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *reversed(rows)]) + "\n")
    assert catalogue_of(mixed, tmp_path / "work") == catalogue


def test_catalogue_names_its_feature_directory(mixed: DataConfig, tmp_path: Path) -> None:
    catalogue = catalogue_of(mixed, tmp_path / "work")
    store = feature_directory(catalogue, Workspace(tmp_path / "work")).path
    assert store == open_feature_directory(FEATURES, Workspace(tmp_path / "work")).path
    assert artefact_key(store) == store.name


def test_key_changes_with_a_label_and_not_with_a_modification_time(mixed: DataConfig, tmp_path: Path) -> None:
    before = catalogue_of(mixed, tmp_path / "work")
    for path in Path(audio_directory(mixed)).rglob("*.wav"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert catalogue_of(mixed, tmp_path / "work") == before
    table = Path(mixed.root) / mixed.metadata
    table.write_text(table.read_text().replace("bird2,bird2/c.wav", "bird3,bird2/c.wav"))
    after = catalogue_of(mixed, tmp_path / "work")
    assert after != before
    assert list(read_species(after)["label"]) == ["bird1", "bird3"]
    assert list(read_species(before)["label"]) == ["bird1", "bird2"]


def test_key_changes_with_the_content_of_a_recording(
    mixed: DataConfig, tmp_path: Path, encode_audio: EncodeAudio
) -> None:
    before = catalogue_of(mixed, tmp_path / "work")
    Path(audio_directory(mixed), "bird2/c.wav").write_bytes(encode_audio(noise(77, seconds=2.0), 16_000))
    assert catalogue_of(mixed, tmp_path / "work") != before


def test_recording_that_succeeds_with_a_higher_limit_leaves_the_quarantine(
    tmp_path: Path, encode_audio: EncodeAudio, write_dataset: WriteDataset
) -> None:
    audio = {f"bird/{number}.wav": encode_audio(noise(number), 16_000) for number in range(2)}
    data = write_dataset(tmp_path / "data", [{"primary_label": "bird", "filename": name} for name in audio], audio)
    data = data.model_copy(update={"max_quarantined_share": 0.5})
    recordings, workspace = read_recordings(data), tmp_path / "work"
    recordings["sha256"] = hash_recordings(recordings, audio_directory(data), Workspace(workspace))
    store = open_feature_directory(FEATURES, Workspace(workspace)).path
    slow, quick = find_missing(recordings, audio_directory(data), StripStore(FeatureDirectory(store)), FEATURES)
    refusal = Failure(slow.sha256, "timeout", "not decoded in time", limit=1.0)
    list(compute_part([slow, quick], FEATURES, FeatureDirectory(store), {slow.sha256: refusal}))
    assert read_quarantine(build_catalogue(recordings, data, FeatureDirectory(store), Workspace(workspace)))[
        "reason"
    ].tolist() == ["timeout"]
    list(compute_part([slow], FEATURES, FeatureDirectory(store), {}))
    catalogue = build_catalogue(recordings, data, FeatureDirectory(store), Workspace(workspace))
    assert len(read_catalogue(catalogue)) == 2
    assert read_quarantine(catalogue).empty
