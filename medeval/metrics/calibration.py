"""Probabilities against labels: calibration errors, proper scores and ranking, as pure functions over samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def _bins(probabilities: Floats, labels: Ints, bins: int) -> tuple[NDArray, NDArray, NDArray]:
    """Count, sum of labels and sum of probabilities in ``bins`` equal bins (l, u]; p = 0 lies in none."""
    values = np.asarray(probabilities, dtype=np.float64).ravel()
    truth = np.asarray(labels, dtype=np.float64).ravel()
    edges = np.linspace(0.0, 1.0, bins + 1)
    at = np.searchsorted(edges, values, side="left") - 1
    kept = at >= 0
    count = np.bincount(at[kept], minlength=bins)
    return count, np.bincount(at[kept], truth[kept], bins), np.bincount(at[kept], values[kept], bins)


def expected_calibration_error(probabilities: Floats, labels: Ints, bins: int = 10) -> float:
    """Binary ECE, in [0, 1]; nan without a sample.

    probabilities: of class 1, any shape. labels: {0, 1}, the same shape. Bins are (l, u]: samples with p = 0 exactly
    fall into none and are not counted (MetricsReloaded).
    """
    count, truth, score = _bins(probabilities, labels, bins)
    total = count.sum()
    return float(np.abs(truth - score).sum() / total) if total else float("nan")


def maximum_calibration_error(probabilities: Floats, labels: Ints, bins: int = 10) -> float:
    """Largest gap of a bin between mean label and mean probability, in [0, 1]; nan without a sample."""
    count, truth, score = _bins(probabilities, labels, bins)
    used = count > 0
    return float((np.abs(truth - score)[used] / count[used]).max()) if used.any() else float("nan")


def classwise_calibration_error(probabilities: Floats, labels: Ints, bins: int = 10) -> float:
    """Mean over classes of the binary ECE of each class, with all samples as the denominator, in [0, 1].

    probabilities: (n, classes), or (n,) of class 1 of two. labels: (n,) class numbers.
    """
    table = as_classes(probabilities)
    errors = []
    for k in range(table.shape[1]):
        _, truth, score = _bins(table[:, k], np.asarray(labels) == k, bins)
        errors.append(np.abs(truth - score).sum() / len(table))
    return float(np.mean(errors))


def top_label_calibration_error(probabilities: Floats, labels: Ints, bins: int = 10) -> float:
    """ECE of the highest probability against the right answer (Guo et al. 2017), in [0, 1]."""
    table = as_classes(probabilities)
    count, right, score = _bins(table.max(axis=1), table.argmax(axis=1) == np.asarray(labels), bins)
    return float(np.abs(right - score).sum() / len(table)) if count.sum() else float("nan")


def brier_score(probabilities: Floats, labels: Ints) -> float:
    """Mean over samples of the squared error summed over classes, in [0, 2] (binary: twice the usual)."""
    table = as_classes(probabilities)
    truth = np.asarray(labels)[:, None] == np.arange(table.shape[1])
    return float(((table - truth) ** 2).sum(axis=1).mean())


def negative_log_likelihood(probabilities: Floats, labels: Ints, epsilon: float = 1e-10) -> float:
    """Mean of -log(p of the true class + epsilon), from 0 up."""
    table = as_classes(probabilities)
    own = np.take_along_axis(table, np.asarray(labels, dtype=np.int64)[:, None], axis=1)
    return float(-np.log(own + epsilon).mean())


def auroc(scores: Floats, labels: Ints) -> float:
    """Area under the ROC curve by ranks (ties count half), in [0, 1]; nan when one class is missing."""
    from scipy.stats import rankdata  # half a second that only this metric should cost

    truth = np.asarray(labels).ravel() != 0
    positive = int(truth.sum())
    negative = truth.size - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(np.asarray(scores).ravel())
    return float((ranks[truth].sum() - positive * (positive + 1) / 2.0) / (positive * negative))


def soft_dice(probabilities: Floats, labels: Ints) -> float:
    """2 sum(p y) / (sum p + sum y), in [0, 1]; nan when both sums are 0."""
    values = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.float64)
    both = float(values.sum() + truth.sum())
    return 2.0 * float((values * truth).sum()) / both if both else float("nan")


def as_classes(probabilities: Floats) -> NDArray[np.float64]:
    """(n, classes) probabilities; (n,) of class 1 becomes two columns."""
    table = np.asarray(probabilities, dtype=np.float64)
    return np.stack([1.0 - table, table], axis=1) if table.ndim == 1 else table
