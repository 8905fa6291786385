"""Multinomial logistic regression with balanced classes, for many strengths of the L2 penalty in one pass."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def predict_path(
    statistics: NDArray[np.floating],
    labels: NDArray[np.int64],
    predicted: NDArray[np.floating],
    inverse_penalties: Sequence[float],
) -> NDArray[np.float64]:
    """Returns the probabilities of the species in `labels`, (penalties, recordings to predict, species).

    Features are standardised and turned to the principal axes of the training recordings. The penalty does not depend
    on the axes, and there are no more of them than recordings. Each solution is the start of the next one.

    Args:
        statistics: Features of the training recordings, (recordings, features).
        labels: Species of the training recordings, (recordings,). The species of the result are in sorted order.
        predicted: Features of the recordings to predict.
        inverse_penalties: C, from the strongest penalty to the weakest.
    """
    if len(np.unique(labels)) == 1:
        return np.ones((len(inverse_penalties), len(predicted), 1))
    rotation = make_pipeline(StandardScaler(), PCA(svd_solver="full"))
    inputs, outputs = rotation.fit_transform(statistics.astype(np.float64)), rotation.transform(predicted)
    regression = LogisticRegression(class_weight="balanced", solver="newton-cg", warm_start=True, tol=1e-6)
    probabilities = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The number of unique classes")  # rare species are expected
        for inverse_penalty in inverse_penalties:
            regression.set_params(C=inverse_penalty).fit(inputs, labels)
            probabilities.append(regression.predict_proba(outputs))
    return np.stack(probabilities)
