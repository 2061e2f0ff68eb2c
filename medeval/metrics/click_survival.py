"""Clicks to a quality as survival data: a session that has not got there is censored, not counted as "20 clicks".

A session is an observation (clicks, reached): the first click whose score reaches the quality, or the clicks after which it
was given up or broke off. The share of sessions that have not got there after k clicks is Kaplan and Meier's product
(1958), S(k) = prod over j <= k of (1 - reached(j) / open(j)); a session that broke off for reasons that are not the model's
counts as open as long as it lasted. Read off it:

ctt@q      the median: the first click with S <= 1/2; undefined where more than half never get there
rmct@q     the mean, restricted to the limit L of the session: sum of S(0) ... S(L - 1) (Royston and Parmar 2013); where
           nothing broke off it is NoC@q, in which a failure counts as L clicks
reached@q  1 - S(L): the share that gets there

Written here: it is four lines, takes bootstrap weights, and lifelines would be one more dependency.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric, Statistic, Value
from medeval.metrics.clicks import LIMIT, ClickCurve
from medeval.metrics.names import number, plain, split
from medeval.metrics.registry import register
from medeval.types.errors import MetricError

Read = Literal["ctt", "rmct", "reached"]
_WORDS: Mapping[str, str] = {
    "ctt": "median clicks to a score >= {}% (Kaplan-Meier, censored at the limit)",
    "rmct": "mean clicks to a score >= {}%, restricted to the limit (Kaplan-Meier)",
    "reached": "share of sessions that reach a score >= {}% (Kaplan-Meier)",
}


def still_open(
    clicks: NDArray[np.float64], reached: NDArray[np.bool_], weights: NDArray[np.float64], limit: int
) -> NDArray[np.float64]:
    """(resamples, limit + 1) S(0) ... S(limit); NaN where all weights are 0.

    clicks: (n,) clicks of each session; reached: (n,) False where it was censored then; weights: (resamples, n).
    """
    times = np.arange(1, limit + 1)
    at_risk = weights @ (clicks[:, None] >= times)
    events = weights @ ((clicks[:, None] == times) & reached[:, None])
    hazard = np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    curve = np.cumprod(np.hstack([np.ones((len(weights), 1)), 1 - hazard]), axis=1)
    return np.where(weights.sum(axis=1, keepdims=True) > 0, curve, np.nan)


class ClicksToTarget(Metric):
    """Kaplan-Meier's median, restricted mean or final share of the clicks to a quality."""

    pair: ClassVar[type] = ClickCurve
    statistic: ClassVar[Mapping[str, str]] = {"value": "double", "reached": "int64", "limit": "int64"}
    direction: ClassVar[Literal["higher", "lower"]] = "lower"
    range = (0.0, float("inf"))
    unit = "clicks"
    empties = "no click made: undefined; more than half never there: no median"
    definition = "median (ctt) or restricted mean (rmct) clicks to a quality, Kaplan-Meier"
    source = "Kaplan and Meier 1958"
    quality: float = 0.0
    read: Read = "ctt"

    def observe(self, pair: ClickCurve) -> Value:
        """(clicks, whether the quality was reached then, the limit)."""
        scores = np.asarray(pair.scores[: pair.limit], dtype=np.float64)
        if not scores.size:
            return Value(None, "no clicks")
        hits = np.flatnonzero(scores >= self.quality)
        last = len(scores) if pair.censored else pair.limit
        clicks = int(hits[0]) + 1 if hits.size else last
        return Value({"value": float(clicks), "reached": int(hits.size > 0), "limit": pair.limit})

    def failed(self, reference: Any) -> Statistic:
        """Never there; reference: a ``ClickCurve`` or anything else with a ``limit`` (default 20)."""
        limit = int(getattr(reference, "limit", LIMIT))
        return {"value": float(limit), "reached": 0, "limit": limit}

    def reduce(
        self, statistics: Mapping[str, NDArray], weights: NDArray[np.float64], state: Any = None
    ) -> NDArray[np.float64]:
        """The curve under each weighting, read; NaN where there is no median."""
        limit = int(np.max(statistics["limit"], initial=1))
        clicks = np.asarray(statistics["value"], dtype=np.float64)
        curve = still_open(clicks, np.asarray(statistics["reached"]) > 0, weights, limit)
        if self.read == "rmct":
            return np.asarray(curve[:, :-1].sum(axis=1))
        if self.read == "reached":
            return np.asarray(1 - curve[:, -1])
        half = curve <= 0.5 + 1e-12  # products of shares carry rounding
        return np.where(half.any(axis=1), half.argmax(axis=1).astype(np.float64), np.nan)


class ShareReached(ClicksToTarget):
    """1 - S(limit)."""

    definition = "share of sessions that reach a quality, Kaplan-Meier"
    direction: ClassVar[Literal["higher", "lower"]] = "higher"
    range = (0.0, 1.0)
    unit = ""
    read: Read = "reached"


class ReachedBy(ShareReached):
    """1 - S(k): the share of sessions that have reached the quality by click k; one point of a curve, not registered."""

    def __init__(self, quality: float, click: int) -> None:
        self.quality, self.click = quality, click
        self.name = f"reached by click {click}"

    def reduce(
        self, statistics: Mapping[str, NDArray], weights: NDArray[np.float64], state: Any = None
    ) -> NDArray[np.float64]:
        """The point of the curve under each weighting."""
        clicks = np.asarray(statistics["value"], dtype=np.float64)
        curve = still_open(clicks, np.asarray(statistics["reached"]) > 0, weights, self.click)
        return np.asarray(1 - curve[:, -1])


def _parse(name: str) -> ClicksToTarget | None:
    parts = split(name)
    if parts.base not in _WORDS or not parts.argument:
        return None
    metric = ShareReached() if parts.base == "reached" else ClicksToTarget()
    percent = number(name, parts.argument)
    if not 0.0 < percent <= 100.0:
        raise MetricError(f"metric {name!r}: the quality is a percentage, as in {parts.base}@90")
    metric.name, metric.quality = name, percent / 100.0
    metric.read = parts.base  # type: ignore[assignment]  # one of the three
    metric.definition = _WORDS[parts.base].format(plain(percent))
    return metric


register("ctt@<q>", parse=_parse)(ClicksToTarget)
register("rmct@<q>", parse=_parse)(ClicksToTarget)
register("reached@<q>", parse=_parse)(ShareReached)
