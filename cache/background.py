"""Stage 1, beside the features: strips of the user's own noise, and embeddings of noisy copies of the recordings."""

import json
import logging
from pathlib import Path

import pandas as pd

from cache.audio.containers import AUDIO_SUFFIXES
from cache.config.data import DataConfig
from cache.config.features import EmbeddingConfig, FeatureConfig, NoisyEmbeddingConfig
from cache.config.noise import NoiseFile, NoiseMix
from cache.features import build_features, compute_strips, feature_recipe
from cache.recordings.audio_files import FoundFiles, fits_table, scan_audio
from cache.recordings.hashes import hash_recordings
from cache.recordings.quarantine import find_faults, measure_strips, part_by_faults
from cache.recordings.user_table import audio_directory, read_recordings, recording_address
from cache.store.strip_store import StripStore
from cache.workspace.keys import Recipe, content_key
from cache.workspace.provenance import artefact_key, is_finished
from cache.workspace.urls import is_url, resolve_address
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 1
"""Version of the background; raised by hand when the same files give another background."""


def build_background(data: DataConfig, features: FeatureConfig, workspace: Workspace) -> Path:
    """Computes the missing strips of the background; returns the background's directory.

    The directory holds `recordings.csv` (the usable files: recording_id, label, sha256, frames, seconds; no label),
    `quarantine.csv` and `summary.json`. For embeddings, its inputs name a catalogue for each noisy copy of the
    recordings, whose embeddings are computed too.

    Args:
        data: Data set; `data.background` is set.
        features: Features of the members that are trained with the background.
        workspace: Workspace of the feature store and the background.

    Raises:
        FileNotFoundError, ValueError: If the folder or the data set cannot be read, or no file of the folder is usable.
    """
    with workspace.at_work():
        address = background_directory(data)
        found = find_sounds(address)
        if passed_over := found.describe_passed_over():
            logger.info("background: passed over in %s: %s", address, passed_over)
        if odd := [name for name in found.audio() if not fits_table(name)]:
            logger.warning(
                "background: %d file(s) are left out, because their names are no UTF-8 or hold a line end, such as %s. "
                "Rename them",
                *(len(odd), ascii(odd[0])),
            )
        _, store = compute_strips(list_sounds(found), address, features, workspace)
        usable, quarantine = judge_files(data, features, workspace)
        if usable.empty:
            reasons = ", ".join(f"{count} {reason}" for reason, count in quarantine["reason"].value_counts().items())
            raise ValueError(
                f"No file of data.background={data.background} is usable ({reasons}). Bring other sounds there, or set "
                "data.background=null."
            )
        if len(quarantine):
            named = ", ".join(f"{row.recording_id} ({row.reason}: {row.detail})" for row in quarantine.itertuples())
            logger.warning("background: %d of its files are not used: %s", len(quarantine), named)
        copies = [build_features(data, noisy, workspace) for noisy in plan_copies(data, features, usable)]
        inputs = {
            "features": artefact_key(store.path),
            "files": content_key([usable.to_csv(index=False), quarantine.to_csv(index=False)]),
            **{f"copy_{number}": artefact_key(copy) for number, copy in enumerate(copies, start=1)},
        }
        recipe = Recipe("backgrounds", data.identity(), inputs, VERSION)
        return workspace.materialise(recipe, lambda staging: _write(usable, quarantine, staging))


def _write(usable: pd.DataFrame, quarantine: pd.DataFrame, staging: Path) -> None:
    usable.to_csv(staging / "recordings.csv", index=False)
    quarantine.to_csv(staging / "quarantine.csv", index=False)
    minutes = round(float(usable["seconds"].sum()) / 60, 2)
    summary = {"usable": len(usable), "quarantined": len(quarantine), "minutes": minutes}
    (staging / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    logger.info("background: %d files, %.1f min", len(usable), minutes)


def background_directory(data: DataConfig) -> str:
    """Returns the absolute path or the URL of the folder of noise."""
    return resolve_address(str(data.background))


def find_sounds(directory: str) -> FoundFiles:
    """Returns what lies below a folder of noise, or a URL.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If it holds no audio file.
    """
    found = scan_audio(directory)
    if not found.files and (is_url(directory) or not Path(directory).is_dir()):
        raise FileNotFoundError(
            f"data.background={directory}: there is no such folder. Set it to a folder with sounds such as wind "
            "and rain, or to null."
        )
    if not found.audio():
        raise ValueError(
            f"data.background={directory} holds no audio file. Put sounds such as wind and rain there, or set it to "
            f"null. Audio files have one of these suffixes: {', '.join(AUDIO_SUFFIXES)}."
        )
    return found


def list_sounds(found: FoundFiles) -> pd.DataFrame:
    """Returns the audio files of a folder, known by their suffix: recording_id, label (empty), size, version.

    A file whose name no table can hold is left out.
    """
    files = [(name, "", *found.files[name]) for name in found.audio() if fits_table(name)]
    return pd.DataFrame(files, columns=["recording_id", "label", "size", "version"])


def judge_files(data: DataConfig, features: FeatureConfig, workspace: Workspace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the usable files of the background and its quarantine, as `part_by_faults`; computes no strip.

    A file with the same bytes as a recording of the data set is not used: a species is heard in it, and a fold would
    be trained on what it is scored on.
    """
    address, audio = background_directory(data), audio_directory(data)
    files, recordings = list_sounds(find_sounds(address)), read_recordings(data)
    files["sha256"] = hash_recordings(files, address, workspace)
    labelled = dict(zip(hash_recordings(recordings, audio, workspace), recordings["recording_id"], strict=True))
    strips = StripStore(workspace.feature_directory(feature_recipe(features).key))
    table = measure_strips(files.drop(columns=["size", "version"]), strips, features)
    faults = {
        name: ("labelled", f"the same bytes are the recording {labelled[sha256]} of the data set")
        for name, sha256 in zip(table["recording_id"], table["sha256"], strict=True)
        if sha256 in labelled
    }
    usable, quarantine = part_by_faults(table, faults | find_faults(table, data, strips))
    return usable.drop_duplicates("sha256"), quarantine


def plan_copies(data: DataConfig, features: FeatureConfig, usable: pd.DataFrame) -> list[NoisyEmbeddingConfig]:
    """Returns the features of each noisy copy of the recordings; none for log-mel, which is mixed during training.

    Args:
        data: Data set.
        features: Features of the recordings.
        usable: recording_id and sha256 of the usable files of noise.
    """
    if not isinstance(features, EmbeddingConfig):
        return []
    address, ordered = background_directory(data), usable.sort_values("sha256")
    names = zip(ordered["sha256"], ordered["recording_id"], strict=True)
    files = tuple(NoiseFile(sha256, recording_address(address, name)) for sha256, name in names)
    mixes = (
        NoiseMix(
            variant=number,
            background=content_key(ordered["sha256"].tolist()),
            snr_db=features.background_snr_db,
            song_hz=features.song_hz,
            files=files,
        )
        for number in range(1, features.background_variants + 1)
    )
    return [NoisyEmbeddingConfig(**dict(features), noise=mix) for mix in mixes]


def list_copies(data: DataConfig, features: FeatureConfig, workspace: Workspace) -> list[NoisyEmbeddingConfig]:
    """Returns the features of the noisy copies that the workspace holds; computes nothing.

    Raises:
        DamagedPartError: If an index fragment of the features cannot be read.
    """
    if not data.background or not isinstance(features, EmbeddingConfig):
        return []
    copies = plan_copies(data, features, judge_files(data, features, workspace)[0])
    return [copy for copy in copies if is_finished(workspace.feature_directory(feature_recipe(copy).key).path)]
