"""Windows, aggregation and prediction against plain loops."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from birdclef.config.model import ModelConfig
from birdclef.inference.views import Aggregation, View, aggregate_windows, predict_view, window_batches
from birdclef.model.network import SpeciesModel, build_model
from birdclef.strips.crops import gather_windows
from birdclef.strips.residency import ResidentStrips
from birdclef.strips.windows import plan_windows

LayOut = Callable[[Sequence[NDArray[np.float16]]], ResidentStrips]


def aggregate_by_loop(
    logits: NDArray[np.float64], rows: NDArray[np.int64], recordings: int, aggregation: str
) -> NDArray[np.float64]:
    """Returns softmax probabilities of each recording, from its windows one class at a time."""
    scores = np.empty((recordings, logits.shape[1]))
    for recording in range(recordings):
        windows = logits[rows == recording]
        for column in range(logits.shape[1]):
            highest = sorted(windows[:, column], reverse=True)
            kept = {"mean": highest, "max": highest[:1], "top3": highest[:3]}[aggregation]
            scores[recording, column] = sum(kept) / len(kept)
    return np.asarray(softmax(scores, axis=1))


@pytest.mark.parametrize("aggregation", ["mean", "max", "top3"])
def test_aggregation_equals_a_loop_over_recordings_and_classes(aggregation: Aggregation) -> None:
    rows = np.repeat(np.arange(5), [1, 2, 3, 4, 9])
    logits = np.random.default_rng(0).normal(size=(len(rows), 4)) * 3
    probabilities = aggregate_windows(torch.from_numpy(logits), torch.from_numpy(rows), 5, aggregation)
    assert probabilities.shape == (5, 4)
    np.testing.assert_allclose(probabilities.numpy(), aggregate_by_loop(logits, rows, 5, aggregation), atol=1e-6)


def test_top3_is_taken_of_each_class_on_its_own() -> None:
    """Highest three of (9, 0, 6, 3) and of (0, 6, 0, 0) have the means 6 and 2: odds of e ** 4."""
    logits = torch.tensor([[9.0, 0.0], [0.0, 6.0], [6.0, 0.0], [3.0, 0.0]])
    probabilities = aggregate_windows(logits, torch.zeros(4, dtype=torch.int64), 1, "top3")
    assert (probabilities[0, 0] / probabilities[0, 1]).item() == pytest.approx(np.exp(4), rel=1e-5)


def test_half_precision_logits_are_aggregated_in_float32() -> None:
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.bfloat16)
    assert aggregate_windows(logits, torch.tensor([0, 1]), 2, "mean").dtype == torch.float32


@pytest.mark.parametrize("batch_windows", [1, 3, 7, 100])
def test_batches_hold_every_window_once_in_order(batch_windows: int) -> None:
    rows, firsts = torch.arange(7) // 2, torch.arange(7) * 10
    batches = list(window_batches(rows, firsts, batch_windows))
    assert max(len(batch) for batch, _ in batches) == min(7, batch_windows)
    assert torch.equal(torch.cat([batch for batch, _ in batches]), rows)
    assert torch.equal(torch.cat([batch for _, batch in batches]), firsts)


@pytest.fixture(scope="module")
def model() -> SpeciesModel:
    torch.manual_seed(0)
    built = build_model(ModelConfig(backbone="test_resnet", normalisation="dataset", projection_hidden=8), 3).eval()
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # so that an accidental train mode would show
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return built


@pytest.mark.parametrize("gain_db", [0.0, -7.5])
@pytest.mark.parametrize("batch_windows", [1, 4, 64])
def test_prediction_equals_single_forward_passes(
    lay_out: LayOut, model: SpeciesModel, gain_db: float, batch_windows: int
) -> None:
    generator = np.random.default_rng(2)
    strips = [generator.normal(-50, 10, (length, 16)).astype(np.float16) for length in (70, 20, 32)]
    windows = plan_windows(torch.tensor([70, 20, 32]), 32, 16)
    logits = predict_view(model, lay_out(strips), windows, 32, View(gain_db=gain_db), batch_windows).logits
    assert logits.shape == (6, 3)
    assert logits.dtype == torch.float32
    expected = []
    for row, first in ((0, 0), (0, 16), (0, 32), (0, 38), (1, 0), (2, 0)):
        repeated = np.concatenate([strips[row]] * 2)[first : first + 32].astype(np.float32)  # 20 frames go on from 0
        with torch.no_grad():
            expected.append(model(torch.from_numpy(repeated.T.copy())[None, None] + gain_db)[0])
    torch.testing.assert_close(logits, torch.stack(expected), atol=1e-5, rtol=1e-4)
    assert torch.cdist(logits, logits)[~torch.eye(6, dtype=torch.bool)].min() > 1e-3  # no two windows look alike


def test_gain_reaches_the_model(lay_out: LayOut, model: SpeciesModel) -> None:
    resident = lay_out([np.random.default_rng(3).normal(-50, 10, (40, 16)).astype(np.float16)])
    windows = plan_windows(torch.tensor([40]), 32, 16)
    plain, louder = (
        predict_view(model, resident, windows, 32, View(gain_db=gain_db), 8).logits for gain_db in (0.0, 20.0)
    )
    assert (plain - louder).abs().max() > 1e-2


def test_prediction_leaves_the_strips_and_needs_no_gradient(lay_out: LayOut, model: SpeciesModel) -> None:
    resident = lay_out([np.random.default_rng(3).normal(-50, 10, (40, 16)).astype(np.float16)])
    before = resident.values.clone()
    output = predict_view(model, resident, plan_windows(torch.tensor([40]), 32, 16), 32, View(gain_db=5.0), 8)
    assert not output.logits.requires_grad
    assert not output.features.requires_grad
    assert torch.equal(resident.values, before)


def test_view_shifts_time_and_bands(lay_out: LayOut, model: SpeciesModel) -> None:
    strip = np.random.default_rng(4).normal(-50, 10, (70, 16)).astype(np.float16)
    windows = plan_windows(torch.tensor([70]), 32, 16)
    output = predict_view(model, lay_out([strip]), windows, 32, View(shift_frames=-3, shift_bands=2), 8)
    for logits, first in zip(output.logits, (0, 13, 29, 35), strict=True):  # the first stays inside the strip
        window = strip[first : first + 32].astype(np.float32).T  # (n_mels, frames)
        higher = np.concatenate([window[:1], window[:1], window[:-2]])
        with torch.no_grad():
            expected = model(torch.from_numpy(higher.copy())[None, None])[0]
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


def test_features_are_the_mean_over_the_windows_of_a_recording(lay_out: LayOut, model: SpeciesModel) -> None:
    generator = np.random.default_rng(5)
    strips = lay_out([generator.normal(-50, 10, (length, 16)).astype(np.float16) for length in (70, 20)])
    rows, firsts = plan_windows(torch.tensor([70, 20]), 32, 16)
    features = predict_view(model, strips, (rows, firsts), 32, View(), 3).features
    for row in (0, 1):
        with torch.no_grad():
            expected = model.encode(gather_windows(strips, rows[rows == row], firsts[rows == row], 32)).mean(dim=0)
        torch.testing.assert_close(features[row], expected, atol=1e-5, rtol=1e-4)
