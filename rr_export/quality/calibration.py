"""How good probabilities are: accuracy, their likelihood, their calibration, and whether they tell what is unlike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15

Floats = NDArray[np.floating[Any]]


def accuracy(probabilities: Floats, y: NDArray[np.int64]) -> float:
    """Returns the share of right answers; probabilities [N, classes]."""
    return float((probabilities.argmax(1) == y).mean())


def log_loss(probabilities: Floats, y: NDArray[np.int64]) -> float:
    """Returns the mean of -log of the probability of the right answer, in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(y)), y], 1e-12)).mean())


def expected_calibration_error(probabilities: Floats, y: NDArray[np.int64], bins: int = BINS) -> float:
    """Returns the expected calibration error (Guo et al.: On Calibration of Modern Neural Networks, 2017, equation 3).

    Inputs are put into bins of equal width by the largest probability, ]0, 1/15], ]1/15, 2/15], ...; it is the mean
    over all inputs of the distance between the mean confidence and the accuracy of their bin.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == y
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    total = 0.0
    for one in np.unique(place):
        inside = place == one
        total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(total)


def auroc(known: Floats, unlike: Floats) -> float:
    """Returns the area under the ROC curve: P(a score of what is known > one of what is unlike), ties half."""
    ordered = np.sort(known)
    above = len(ordered) - np.searchsorted(ordered, unlike, side="right")
    equal = np.searchsorted(ordered, unlike, side="right") - np.searchsorted(ordered, unlike, side="left")
    return float((above + 0.5 * equal).mean() / len(ordered))
