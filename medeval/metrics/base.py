"""A metric is two functions: ``observe`` once a case, ``reduce`` over cases.

``observe`` turns one typed pair into a small *statistic* that is stored; ``reduce`` turns stored statistics and weights
into values. Metrics that exist only over a corpus (AUROC, BLEU, FID) are then no special case: resampling patients is a
matter of weights, and every metric gets its interval in one way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Statistic = Mapping[str, float | int | str]


@dataclass(frozen=True)
class Value:
    """What ``observe`` found: a statistic, or None with the ``rule`` that says why nothing could be measured.

    rule: "" in the ordinary case; else the named rule that applied, such as ``both empty`` or ``prediction empty: worst``.
    """

    statistic: Statistic | None
    rule: str = ""


class Metric(ABC):
    """One registered metric with its parameters bound. Instances are cheap, stateless and picklable.

    Class attributes state what a table must say beside a number:

    name: full name as written in a suite, with parameters: ``dice``, ``hd95``, ``nsd@2mm:voxel``.
    pair: type that ``observe`` takes.
    statistic: Arrow type name of each stored field, for example ``{"value": "double"}``.
    direction: "higher" or "lower" is better.
    range: (lowest, highest) possible value.
    unit: "" for a ratio, "mm", "ml".
    empties: the rule for empty reference, empty prediction and both, in words.
    source: the paper or peer whose definition it follows.
    definition: a short heading for tables, where a name has several definitions in the field.
    linear: True when ``reduce`` is a weighted mean of the field ``value``; the engine then sums per patient first.
    interval: how its interval is made.
    version: raised when the definition changes, so that kept records are scored again.
    """

    name: str = ""
    pair: ClassVar[type]
    statistic: ClassVar[Mapping[str, str]] = {"value": "double"}
    direction: ClassVar[Literal["higher", "lower"]] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    unit: ClassVar[str] = ""
    empties: ClassVar[str] = ""
    source: ClassVar[str] = ""
    definition: str = ""
    linear: ClassVar[bool] = False
    interval: ClassVar[Literal["bootstrap", "subset", "none"]] = "bootstrap"
    version: ClassVar[int] = 1

    @abstractmethod
    def observe(self, pair: Any) -> Value:
        """Measure one pair."""

    @abstractmethod
    def failed(self, reference: Any) -> Statistic:
        """The finite worst statistic, for a pair whose prediction the model failed to give.

        reference: the pair's reference side, whatever its type needs to know the worst (a ``Grid`` for mask metrics).
        """

    def fit(self, references: Sequence[Any]) -> Any:
        """State taken once from all references and never resampled (idf weights, real features)."""
        return None

    @abstractmethod
    def reduce(
        self, statistics: Mapping[str, NDArray], weights: NDArray[np.float64], state: Any = None
    ) -> NDArray[np.float64]:
        """Values under each weighting.

        statistics: field -> (n,) array. weights: (resamples, n), each row the number of times that a case was drawn.
        Returns (resamples,); NaN where the metric is undefined under that weighting.
        """


class MeanMetric(Metric):
    """A metric with one value a case, whose summary is the weighted mean over cases."""

    linear: ClassVar[bool] = True

    def reduce(
        self, statistics: Mapping[str, NDArray], weights: NDArray[np.float64], state: Any = None
    ) -> NDArray[np.float64]:
        """Weighted mean; NaN where all weights are 0."""
        values = np.asarray(statistics["value"], dtype=np.float64)
        total = weights.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, weights @ values / total, np.nan)
