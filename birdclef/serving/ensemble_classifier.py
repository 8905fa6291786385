"""Classifies windows with an ensemble: all members, the models of all their folds, and all views."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import cast

import numpy as np
import torch

from birdclef.config.evaluate import EnsembleMethod
from birdclef.inference.views import View, aggregate_windows
from birdclef.metrics.calibration import calibrate
from birdclef.metrics.classification import Floats
from birdclef.model.network import SpeciesModel
from birdclef.scores.ensemble import combine_members
from birdclef.scores.member_probabilities import average_probabilities
from birdclef.serving.window_stream import Grid, Window, cut_windows
from cache.audio.decoded_length import Heard
from cache.config.features import FeatureConfig
from cache.front_end.strip import stream_strip
from cache.workspace.feature_directory import FeatureDirectory


@dataclass(frozen=True)
class Member:
    """Models of one member, one per fold, with their front end and views.

    Attributes:
        models: Models in eval mode.
        features: Settings of the front end that strips must come from.
        store: Feature directory, which holds the embedding model if the front end has one.
        views: Views of every window, each with its weight.
    """

    models: Sequence[SpeciesModel]
    features: FeatureConfig
    store: FeatureDirectory
    views: Sequence[tuple[View, float]]

    def grid(self, clip_seconds: float) -> Grid:
        """Returns the places of windows of a length, with a crop for each view of the member."""
        rate = self.features.frames_per_second
        shifts = [view.shift_frames for view, _ in self.views]
        return Grid(max(1, round(clip_seconds * rate)), clip_seconds, rate, shifts)

    def judge(self, crops: torch.Tensor) -> Floats:
        """Returns probabilities, (windows, classes), averaged over models and views; each window is on its own.

        Args:
            crops: Crop of each window and view, (windows, views, channels, frames).
        """
        own = torch.arange(len(crops))
        models = []
        for model in self.models:
            seen = [
                view.of(crops[:, number : number + 1].to(model.mean_db.device))
                for number, (view, _) in enumerate(self.views)
            ]
            each = [aggregate_windows(model(crop).cpu(), own, len(own), "mean") for crop in seen]
            models.append(torch.stack(each).numpy())  # (views, windows, classes)
        return average_probabilities(models, [weight for _, weight in self.views])


@dataclass(frozen=True)
class EnsembleClassifier:
    """Members that classify windows together.

    Attributes:
        species: Labels in the order of label_index.
        clip_seconds: Length of a window, s.
        members: Members of the ensemble.
        method: Method that combines the members.
        weights: Weights of the members for the method `fitted`, (members,).
        temperature: Temperature of the calibration.
        thresholds: Probability from which each species is decided to be present, (classes,).
        batch_windows: Windows per forward pass.
        species_without_recordings: Labels that a submission needs a column for, although no model knows them.
    """

    species: Sequence[str]
    clip_seconds: float
    members: Sequence[Member]
    method: EnsembleMethod
    weights: Floats
    temperature: float
    thresholds: Floats
    batch_windows: int
    species_without_recordings: Sequence[str] = ()

    @property
    def features(self) -> FeatureConfig:
        """Front end of the first member."""
        return self.members[0].features

    def classify(self, recording: Path, heard: Heard) -> Iterator[tuple[Window, Floats]]:
        """Yields the windows of a recording in order with their calibrated probabilities, (classes,).

        Members with the same front end share the strip.

        Args:
            recording: Audio file.
            heard: Receives the number of seconds decoded so far.

        Raises:
            OSError, UnusableAudioError: If the recording does not decode. Windows before the fault are yielded.
        """
        grids = {(member.features, member.store): member.grid(self.clip_seconds) for member in self.members}
        place_of = [list(grids).index((member.features, member.store)) for member in self.members]
        streams = [
            cut_windows(stream_strip(recording, *front_end, heard), grid, heard) for front_end, grid in grids.items()
        ]
        upcoming = side_by_side(streams)
        while windows := list(islice(upcoming, self.batch_windows)):
            crops = [
                torch.from_numpy(np.stack([window.crops for window in column])).transpose(2, 3)
                for column in zip(*windows, strict=True)
            ]
            judged = self._judge([crops[place] for place in place_of])
            yield from zip(map(_whole, windows), judged, strict=True)

    @torch.inference_mode()
    def _judge(self, crops: Sequence[torch.Tensor]) -> Floats:
        """Returns the ensemble's calibrated probabilities, (windows, classes).

        Args:
            crops: Crops for each member, (windows, views, channels, frames).
        """
        members = [member.judge(seen) for member, seen in zip(self.members, crops, strict=True)]
        return calibrate(combine_members(members, self.method, self.weights), self.temperature)


def side_by_side(streams: Sequence[Iterator[Window]]) -> Iterator[tuple[Window, ...]]:
    """Yields the windows of several streams side by side, until all streams have ended.

    A stream that ends early repeats its last window. A front end with coarser steps than another ends early, if its
    last window holds the rest of the recording.
    """
    last: tuple[Window | None, ...] = (None,) * len(streams)
    for row in zip_longest(*streams):
        last = tuple(window or before for window, before in zip(row, last, strict=True))
        yield cast("tuple[Window, ...]", last)


def _whole(row: Sequence[Window]) -> Window:
    """Returns the window of a row of `side_by_side` at its latest place, with the span that its streams heard together.

    A stream that repeats its last window heard an earlier span than the others.
    """
    latest = max(row, key=lambda window: window.place_end)
    return replace(latest, start=min(window.start for window in row), end=max(window.end for window in row))
