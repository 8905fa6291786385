"""Averages the models and views of a member: for out-of-fold scores, for the held-out part and for new recordings.

A model's prediction of a recording, in one view, is the softmax of the aggregated logits of its windows
(`birdclef.inference.views.aggregate_windows`). A window of a new recording is predicted as a recording that consists of
this window alone. A member's prediction is the weighted mean of these probabilities over its views and its models. Out
of fold there is one model, the one that did not see the recording.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from birdclef.metrics.classification import Floats


def average_probabilities(models: Sequence[NDArray[np.floating]], weights: Sequence[float] | Floats) -> Floats:
    """Returns a member's probabilities, (rows, classes), where a row is a recording or a window.

    Args:
        models: Probabilities by each model, (views, rows, classes).
        weights: Weight of each view, (views,).
    """
    each = [np.average(views, axis=0, weights=np.asarray(weights, np.float64)) for views in models]
    return np.asarray(np.mean(each, axis=0), np.float64)
