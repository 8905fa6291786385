"""Real audio files, and data sets of them, written into a temporary folder."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from cache.config.data import DataConfig

EncodeAudio = Callable[..., bytes]
WriteDataset = Callable[..., DataConfig]


@pytest.fixture(scope="module")
def without_pictures() -> Iterator[None]:
    """Catalogues and splits have empty pictures, for tests of tables: to draw takes most of the time of a build."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("plot_catalogue", "plot_split"):
            patch.setattr(f"cache.plots.data_set.{name}", lambda *_: b"")
        yield


@pytest.fixture(scope="session")
def encode_audio() -> EncodeAudio:
    """Returns the bytes of an audio file that holds the given samples, (samples,) or (samples, channels)."""

    def encode(
        samples: NDArray[np.floating], sample_rate: int = 32_000, file_format: str = "WAV", subtype: str | None = None
    ) -> bytes:
        stream = io.BytesIO()
        soundfile.write(stream, samples, sample_rate, format=file_format, subtype=subtype)
        return stream.getvalue()

    return encode


@pytest.fixture(scope="session")
def write_dataset() -> WriteDataset:
    """Writes the table and the audio files of a data set; returns its configuration."""

    def write(
        root: Path, rows: Sequence[Mapping[str, str]], audio: Mapping[str, bytes], **options: float
    ) -> DataConfig:
        for name, content in audio.items():
            path = root / "train_audio" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with (root / "train_metadata.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        return DataConfig.model_validate({"root": str(root), **options})

    return write
