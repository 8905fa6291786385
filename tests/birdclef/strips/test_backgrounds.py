"""Where backgrounds come from: pauses of the recordings, the user's own noise, both, or nowhere."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from birdclef.config.augment import AugmentConfig
from birdclef.strips.backgrounds import Backgrounds, build_backgrounds
from birdclef.strips.residency import ResidentStrips, Strips
from cache.config.features import LogMelConfig

FEATURES = LogMelConfig(sample_rate=1600, n_fft=64, hop_length=80, n_mels=5, fmin=0, fmax=800)  # 20 frames/s
FRAMES = 12

LayOut = Callable[[Sequence[NDArray[np.float16]]], ResidentStrips]


@pytest.fixture
def recordings(lay_out: LayOut) -> Strips:
    """Two recordings at -20 dB, of which the second has a pause at -60 dB."""
    pausing = np.full((60, 5), -20, np.float16)
    pausing[20:40] = -60
    return lay_out([np.full((60, 5), -20, np.float16), pausing])


@pytest.fixture
def noise(lay_out: LayOut) -> Strips:
    """Two files of noise, at -30 and at -40 dB, of which the second is shorter than a crop."""
    return lay_out([np.full((100, 5), -30, np.float16), np.full((7, 5), -40, np.float16)])


def build(settings: dict[str, float], recordings: Strips, noise: Strips | None) -> Backgrounds | None:
    return build_backgrounds(AugmentConfig.model_validate(settings), FEATURES, recordings, noise, FRAMES)


def draw(backgrounds: Backgrounds | None, batch: int = 4000) -> Tensor:
    """Returns the level of each of many backgrounds, (batch,)."""
    assert backgrounds
    crops = backgrounds.gather(batch, torch.Generator().manual_seed(3))
    assert crops.shape == (batch, 1, 5, FRAMES)
    assert torch.equal(crops.amin(dim=(1, 2, 3)), crops.amax(dim=(1, 2, 3)))
    return crops[:, 0, 0, 0]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_folder_gives_its_share_and_every_file_the_same(recordings: Strips, noise: Strips, share: float) -> None:
    levels = draw(build({"background_folder_share": share}, recordings, noise))
    shares = [float((levels == level).float().mean()) for level in (-60, -30, -40)]
    assert shares == pytest.approx([1 - share, share / 2, share / 2], abs=0.03)


def test_pauses_serve_alone_without_a_folder(recordings: Strips) -> None:
    assert set(draw(build({}, recordings, None)).tolist()) == {-60.0}


def test_folder_serves_alone_without_pauses(lay_out: LayOut, noise: Strips) -> None:
    steady = lay_out([np.full((60, 5), -20, np.float16)])
    assert set(draw(build({"background_folder_share": 0.1}, steady, noise)).tolist()) == {-30.0, -40.0}


def test_no_background_at_all_is_told(lay_out: LayOut, caplog: pytest.LogCaptureFixture) -> None:
    assert build({}, lay_out([np.full((60, 5), -20, np.float16)]), None) is None
    assert "no recording has a passage that is quiet enough" in caplog.text
    assert "Set data.background to a folder with wind, rain or traffic." in caplog.text


def test_unwanted_background_is_not_searched(recordings: Strips, caplog: pytest.LogCaptureFixture) -> None:
    assert build({"background_probability": 0.0}, recordings, None) is None
    assert caplog.text == ""
