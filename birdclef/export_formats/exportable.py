"""Modules that an export turns into a file, with inputs to compare file and library: a class per kind of features."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birdclef.model.network import SpeciesModel
from birdclef.model.trained_run import TrainedRun
from cache.config.features import EmbeddingConfig, LogMelConfig
from cache.front_end.log_mel import compute_log_mel

_CHECKED_WINDOWS = 6


class Exportable(Protocol):
    """A run that can be exported.

    Attributes:
        input_name: Name of the file's only input.
        module: Takes the input, (batch, ...), and returns probabilities, (batch, classes).
    """

    @property
    def input_name(self) -> str: ...  # noqa: D102
    @property
    def module(self) -> nn.Module: ...  # noqa: D102

    def make_inputs(self) -> NDArray[np.float32]:
        """Returns varied inputs, (windows, ...)."""
        ...

    def expected(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the probabilities that the library computes for inputs, (windows, classes)."""
        ...


class WaveformModel(nn.Module):
    """Log-mel front end, model and softmax in one module.

    The front end is torchaudio's, with the settings of the strips. A strip goes on beyond the ends of a window, but an
    exported model gets one window alone. So the window is mirrored at its ends; silence there would look like a click.
    """

    def __init__(self, model: SpeciesModel, features: LogMelConfig, frames: int) -> None:
        # Imported here so that torchaudio is needed for an export only.
        from torchaudio.transforms import MelSpectrogram

        super().__init__()
        self.model = model
        self.frames = frames
        self.floor_power = 10 ** (features.floor_db / 10)
        self.mel = MelSpectrogram(
            sample_rate=features.sample_rate,
            n_fft=features.n_fft,
            hop_length=features.hop_length,
            f_min=features.fmin,
            f_max=features.fmax,
            n_mels=features.n_mels,
            power=2.0,
            center=True,
            pad_mode="reflect",
            norm="slaney",
            mel_scale="slaney",
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """Returns probabilities, (batch, classes).

        Args:
            waveform: Windows, (batch, samples) in [-1, 1].
        """
        power = self.mel(waveform)[:, :, : self.frames]  # (batch, n_mels, frames)
        log_mel = 10 * torch.log10(power.clamp(min=self.floor_power))
        probabilities: Tensor = self.model(log_mel.unsqueeze(1)).softmax(dim=1)
        return probabilities


class LogMelRun:
    """A run on log-mel; its file takes waveforms."""

    input_name = "waveform"

    def __init__(self, trained: TrainedRun, features: LogMelConfig) -> None:
        self._model = trained.model
        self._features = features
        self._frames = trained.features.count_frames(trained.clip_seconds)
        self._samples = round(trained.clip_seconds * features.sample_rate)
        self.module = WaveformModel(trained.model, features, self._frames).eval()

    def make_inputs(self) -> NDArray[np.float32]:
        """Returns windows of noise, chirps and near silence, (windows, samples)."""
        generator = np.random.default_rng(0)
        time = np.arange(self._samples) / self._features.sample_rate
        sounds = []
        for number in range(_CHECKED_WINDOWS):
            level = 10.0 ** -(number / 2)
            hertz = generator.uniform(500, self._features.sample_rate / 4)
            chirp = np.sin(2 * np.pi * hertz * time * (1 + 0.1 * time)) * (np.sin(2 * np.pi * 3 * time) > 0)
            sounds.append(level * (0.3 * chirp + generator.normal(0, 0.05, self._samples)))
        return np.stack(sounds).astype(np.float32)

    def expected(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns probabilities, (windows, classes), of waveforms, (windows, samples), by `cache.front_end.log_mel`."""
        margin = -(
            -self._features.n_fft // (2 * self._features.hop_length)
        )  # frames whose samples reach over an end of the window
        beyond = margin * self._features.hop_length
        mirrored = np.pad(inputs, ((0, 0), (beyond, beyond)), mode="reflect")
        inside = slice(margin, margin + self._frames)
        strips = np.stack([compute_log_mel(waveform, self._features)[inside].T for waveform in mirrored])
        return _judge(self._model, torch.from_numpy(strips).unsqueeze(1))


class EmbeddingHead(nn.Module):
    """Head and softmax in one module."""

    def __init__(self, model: SpeciesModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, embeddings: Tensor) -> Tensor:
        """Returns probabilities, (batch, classes), of embeddings, (batch, steps, channels)."""
        probabilities: Tensor = self.model(embeddings.transpose(1, 2).unsqueeze(1)).softmax(dim=1)
        return probabilities


class EmbeddingRun:
    """A run on embeddings; its file takes embeddings by the model in the folder beside the file."""

    input_name = "embeddings"

    def __init__(self, trained: TrainedRun, features: EmbeddingConfig) -> None:
        self._model = trained.model
        self._shape = _CHECKED_WINDOWS, features.count_frames(trained.clip_seconds), features.channels
        self.module = EmbeddingHead(trained.model).eval()

    def make_inputs(self) -> NDArray[np.float32]:
        """Returns random embeddings with mean and deviation of the training data, (windows, steps, channels)."""
        drawn = torch.randn(self._shape, generator=torch.Generator().manual_seed(0))
        mean, deviation = self._model.mean_db.flatten(), self._model.deviation_db.flatten()
        return (mean + deviation * drawn).numpy()

    def expected(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns probabilities, (windows, classes), of embeddings, (windows, steps, channels)."""
        return _judge(self._model, torch.from_numpy(inputs).transpose(1, 2).unsqueeze(1))


def exportable(trained: TrainedRun) -> Exportable:
    """Returns the exportable form of a run, by the kind of its features."""
    if trained.features.kind == "log_mel":
        return LogMelRun(trained, trained.features)
    return EmbeddingRun(trained, trained.features)


@torch.inference_mode()
def _judge(model: SpeciesModel, crops: Tensor) -> NDArray[np.float32]:
    probabilities: NDArray[np.float32] = model(crops).softmax(dim=1).numpy()
    return probabilities
