"""Two small metrics: a mean, and one that exists only over a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from medeval.metrics.base import MeanMetric, Metric, Value


class Mean(MeanMetric):
    name = "mean"

    def observe(self, pair: Any) -> Value:
        return Value({"value": float(pair)})

    def failed(self, reference: Any) -> dict[str, float]:
        return {"value": 0.0}


class ReducedMean(Mean):
    """The same number, through ``reduce``."""

    linear: ClassVar[bool] = False


class Auroc(Metric):
    """Weighted probability that a positive scores above a negative, ties half."""

    name = "auroc"
    statistic: ClassVar[Mapping[str, str]] = {"score": "double", "label": "int64"}

    def observe(self, pair: Any) -> Value:
        return Value({"score": pair[0], "label": pair[1]})

    def failed(self, reference: Any) -> dict[str, float]:
        return {"score": float(1 - reference), "label": reference}

    def reduce(
        self, statistics: Mapping[str, NDArray], weights: NDArray[np.float64], state: Any = None
    ) -> NDArray[np.float64]:
        scores, labels = statistics["score"], statistics["label"]
        positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
        wins = np.sign(scores[positive][:, None] - scores[negative][None, :]) / 2 + 0.5
        above = np.einsum("rp,pn,rn->r", weights[:, positive], wins, weights[:, negative], optimize=True)
        pairs = weights[:, positive].sum(axis=1) * weights[:, negative].sum(axis=1)
        return np.divide(above, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


@pytest.fixture(scope="session")
def mean() -> Metric:
    return Mean()


@pytest.fixture(scope="session")
def reduced_mean() -> Metric:
    return ReducedMean()


@pytest.fixture(scope="session")
def auroc() -> Metric:
    return Auroc()
