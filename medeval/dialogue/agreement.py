"""How judges agree with people, people with people and judges with judges: per item and overall, with intervals.

A comparison is the mean of its pairs of raters, each weighing by the units that both rated. Intervals resample patients (or
dialogues): all ratings of a dialogue move together, and every item sees the same draws. Print raw agreement, kappa and Gwet's
AC side by side: on skewed items kappa collapses where raters nearly always agree. What people reach among themselves is the
ceiling; with one person it is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations, product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.dialogue.agreement_coefficients import NAMES, NEEDS_SCALE, Floats, Pairs, coefficients
from medeval.dialogue.agreement_sheets import Mark
from medeval.metrics.agreement import Weighting
from medeval.statistics import Resamples
from medeval.types.errors import MetricError

Kind = Literal["judge and people", "people", "judges", "judge again"]
KINDS: tuple[Kind, ...] = ("judge and people", "people", "judges", "judge again")
PANEL = "panel"  # what a panel of judges agreed on: compared with people, not with its own members
MEAN, POOLED, DIALOGUES = "mean of items", "all items pooled", "dialogue means"


@dataclass(frozen=True)
class Figure:
    """One coefficient. value: None where undefined, by ``rule``. undefined: share of the resamples without a value."""

    value: float | None
    low: float | None = None
    high: float | None = None
    undefined: float = 0.0
    rule: str = ""


@dataclass(frozen=True)
class Comparison:
    """An item (or overall) of one kind of comparison.

    judge: which one, for ``judge and people``. units: ratings that pairs share, summed over pairs. dialogues, patients: behind them. pairs: pairs of raters. figures:
    coefficient -> figure; ``bias`` is first minus second (judge minus people) on the item's scale.
    """

    item: str
    kind: Kind
    units: int
    dialogues: int
    patients: int
    pairs: int
    figures: Mapping[str, Figure]
    note: str = ""
    judge: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Setting:
    """How agreement is measured. scales: item -> declared values; an item without one takes those that occur, and says so.

    weighting: of kappa and AC. count: resamples.
    """

    scales: Mapping[str, Sequence[float]] = field(default_factory=dict)
    weighting: Weighting = "quadratic"
    count: int = 2000
    seed: int = 0
    confidence: float = 0.95


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two raters on the units that both rated. owner: (n,) position of each unit's dialogue."""

    first: Floats
    second: Floats
    owner: NDArray[np.int64]


class Ratings:
    """Marks by item, dialogue and rater, with the draws of dialogues that all comparisons share."""

    def __init__(self, marks: Iterable[Mark], setting: Setting) -> None:
        self.setting = setting
        self.table: dict[str, dict[str, dict[str, float]]] = {}  # item -> rater -> dialogue -> score
        self.na: dict[str, int] = {}
        patients: dict[str, str] = {}
        for mark in marks:
            patients[mark.dialogue] = patients.get(mark.dialogue) or mark.patient
            self.na[mark.item] = self.na.get(mark.item, 0) + mark.na
            if mark.score is not None:
                self.table.setdefault(mark.item, {}).setdefault(mark.rater, {})[mark.dialogue] = mark.score
        self.dialogues = tuple(sorted(patients))
        self.patients = np.array([patients[d] or f"dialogue {d}" for d in self.dialogues])
        self._at = {dialogue: at for at, dialogue in enumerate(self.dialogues)}
        self._check_scales()
        if not self.dialogues:
            raise MetricError("no ratings to compare")
        resamples = Resamples("agreement", self.patients, setting.count, setting.seed)
        drawn = np.concatenate(list(resamples.blocks()))[:, resamples.codes(self.patients)]
        self.draws = np.vstack([np.ones((1, len(self.dialogues))), drawn])  # the table as it is comes first

    def _check_scales(self) -> None:
        for item, raters in self.table.items():
            scale = self.setting.scales.get(item)
            for rater, scores in raters.items():
                for dialogue, score in scores.items():
                    if scale is not None and not min(scale) <= score <= max(scale):
                        raise MetricError(f"item {item!r}, dialogue {dialogue!r}, rater {rater!r}: score {score:g} is not on "
                                          f"the scale {', '.join(f'{v:g}' for v in scale)}")  # fmt: skip

    def scale(self, item: str) -> tuple[float, ...]:
        """The declared values of an item in order, else those that occur."""
        if item in self.setting.scales:
            return tuple(sorted(set(map(float, self.setting.scales[item]))))
        return tuple(sorted({v for scores in self.table[item].values() for v in scores.values()}))

    def pair(self, item: str, first: str, second: str) -> _Pair:
        """Two raters of one item."""
        return self._paired(self.table[item].get(first, {}), self.table[item].get(second, {}))

    def means(self, items: Sequence[str], first: str, second: str) -> _Pair:
        """Two raters' means over the items that both rated, in [0, 1] of each item's scale, dialogue by dialogue."""
        both: dict[str, list[tuple[float, float]]] = {}
        for item in items:
            scale = self.scale(item)
            low, span = scale[0], scale[-1] - scale[0]
            a, b = self.table[item].get(first, {}), self.table[item].get(second, {})
            for dialogue in a.keys() & b.keys() if span > 0 else ():
                both.setdefault(dialogue, []).append(((a[dialogue] - low) / span, (b[dialogue] - low) / span))
        averaged = {d: np.mean(values, axis=0) for d, values in both.items()}
        return self._paired({d: v[0] for d, v in averaged.items()}, {d: v[1] for d, v in averaged.items()})

    def _paired(self, first: Mapping[str, float], second: Mapping[str, float]) -> _Pair:
        shared = sorted(first.keys() & second.keys())
        return _Pair(
            np.array([first[d] for d in shared], dtype=np.float64),
            np.array([second[d] for d in shared], dtype=np.float64),
            np.array([self._at[d] for d in shared], dtype=np.int64),
        )

    # -- comparisons --------------------------------------------------------------------------------------------

    def compare(self, kind: Kind, raters: Sequence[tuple[str, str]], judge: str = "") -> list[Comparison]:
        """One comparison an item, then the overall ones. Empty when no pair shares a unit."""
        items = [item for item in self.table if any(len(self.pair(item, *two).owner) for two in raters)]
        found, curves = [], []
        for item in items:
            pairs = [self.pair(item, *two) for two in raters]
            values = self._values(pairs, self.scale(item))
            curves.append(values)
            note = "" if item in self.setting.scales else "scale read off the ratings"
            found.append(self._comparison(item, kind, pairs, values, note))
        if len(items) > 1:
            found += self._overall(kind, items, raters, curves)
        return [replace(one, judge=judge) for one in found]

    def _overall(
        self,
        kind: Kind,
        items: Sequence[str],
        raters: Sequence[tuple[str, str]],
        curves: Sequence[Mapping[str, Floats]],
    ) -> list[Comparison]:
        everything = [self.pair(item, *two) for item in items for two in raters]
        means: dict[str, Floats] = {}
        for name in NAMES:
            stacked = np.stack([values[name] for values in curves])
            defined = ~np.isnan(stacked[:, 0])  # items without a value are left out, in every resample
            means[name] = _mean(stacked[defined]) if defined.any() else np.full(stacked.shape[1], np.nan)
        left = sum(bool(np.isnan(values["kappa"][0])) for values in curves)
        note = f"items without a kappa, left out of its mean: {left}" if left else ""
        rows = [self._comparison(MEAN, kind, everything, means, note)]
        scales = {self.scale(item) for item in items}
        if len(scales) == 1:
            joined = [_joined([self.pair(item, *two) for item in items]) for two in raters]
            rows.append(self._comparison(POOLED, kind, joined, self._values(joined, scales.pop())))
        averages = [self.means(items, *two) for two in raters]
        note = "means over items, each in [0, 1] of its scale"
        return [*rows, self._comparison(DIALOGUES, kind, averages, self._values(averages, ()), note)]

    def _values(self, pairs: Sequence[_Pair], scale: Sequence[float]) -> dict[str, Floats]:
        """coefficient -> (1 + resamples,) values: the mean over pairs, by the units that they share."""
        sums = {name: np.zeros(len(self.draws)) for name in NAMES}
        weights = dict.fromkeys(NAMES, 0.0)
        for pair in pairs:
            if not len(pair.owner):
                continue
            cells = Pairs.of(pair.first, pair.second, scale)
            values = coefficients(cells, cells.weights(self.draws[:, pair.owner]), self.setting.weighting)
            for name, found in values.items():
                if not np.isnan(found[0]):
                    sums[name] += len(pair.owner) * found
                    weights[name] += len(pair.owner)
        nothing = np.full(len(self.draws), np.nan)
        return {name: sums[name] / weights[name] if weights[name] else nothing for name in NAMES}

    def _comparison(
        self, item: str, kind: Kind, pairs: Sequence[_Pair], values: Mapping[str, Floats], note: str = ""
    ) -> Comparison:
        there = [pair for pair in pairs if len(pair.owner)]
        owners = (
            np.unique(np.concatenate([pair.owner for pair in there]))
            if there
            else np.array([], dtype=np.int64)
        )
        patients = len(set(self.patients[owners]))
        figures = {
            name: _figure(name, values[name], patients, self.setting.confidence, there) for name in NAMES
        }
        units = sum(len(pair.owner) for pair in there)
        return Comparison(item, kind, units, len(owners), patients, len(there), figures, note)


def _joined(pairs: Sequence[_Pair]) -> _Pair:
    return _Pair(
        *(np.concatenate([getattr(p, name) for p in pairs]) for name in ("first", "second", "owner"))
    )


def _mean(stacked: Floats) -> Floats:
    """Column means without NaN; NaN where a column has nothing else."""
    there = ~np.isnan(stacked)
    count = there.sum(axis=0)
    sums: Floats = np.where(there, stacked, 0.0).sum(axis=0)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def _figure(name: str, values: Floats, patients: int, confidence: float, pairs: Sequence[_Pair]) -> Figure:
    value, draws = float(values[0]), values[1:]
    if math.isnan(value):
        return Figure(None, rule=_why(name, pairs))
    undefined = float(np.isnan(draws).mean())
    low, high = quantiles(draws, patients, confidence)
    rule = "" if low is not None else "one patient: no interval" if patients < 2 else "no interval"
    return Figure(value, low, high, undefined, rule)


def quantiles(draws: Floats, patients: int, confidence: float) -> tuple[float | None, float | None]:
    """The interval of (r,) resampled values; None with one patient, or where more than half of them have no value."""
    there = draws[~np.isnan(draws)]
    if patients < 2 or len(there) < len(draws) / 2:
        return None, None
    low, high = np.quantile(there, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _why(name: str, pairs: Sequence[_Pair]) -> str:
    values = np.concatenate([np.concatenate([p.first, p.second]) for p in pairs]) if pairs else np.array([])
    if not len(values):
        return "nothing that both rated"
    if np.ptp(values) == 0:
        return "only one value occurs"
    if name in NEEDS_SCALE:
        return "no value on a declared scale"
    return "one side is constant" if name in ("spearman", "kendall") else "undefined"


def compare_all(
    ratings: Ratings, judges: Sequence[str], samples: Mapping[str, Sequence[str]] | None = None
) -> list[Comparison]:
    """Every kind of comparison that these ratings allow.

    judges: names of the raters that are judges; all others are people. samples: judge -> raters that are its samples. Such a
    judge is compared by its single samples, for a mean of samples lies on no scale, and with itself.
    """
    single = {judge: list((samples or {}).get(judge, [judge])) for judge in judges}
    own = {name for names in single.values() for name in names}
    raters = sorted({rater for scores in ratings.table.values() for rater in scores})
    people = [rater for rater in raters if rater not in own and rater not in judges]
    apart = [names for judge, names in single.items() if judge != PANEL]
    found: list[Comparison] = []
    for judge, names in single.items():
        found += ratings.compare("judge and people", list(product(names, people)), judge)
    across = [two for a, b in combinations(apart, 2) for two in product(a, b)]
    again = [two for names in single.values() for two in combinations(names, 2)]
    kinds: list[tuple[Kind, list[tuple[str, str]]]] = [
        ("people", list(combinations(people, 2))),
        ("judges", across),
        ("judge again", again),
    ]
    return found + [row for kind, pairs in kinds for row in ratings.compare(kind, pairs)]


def headline(levels: int) -> str:
    """The coefficient to quote first: Gwet's AC on up to three levels, ICC(2,1) above."""
    return "ac" if levels <= 3 else "icc"


def verdict(judge: Comparison, people: Comparison | None, name: str) -> str:
    """Whether a judge agrees with people as well as people with each other, by one coefficient."""
    mine = judge.figures[name]
    if people is None or people.figures[name].value is None:
        return "ceiling unknown"
    if mine.value is None:
        return "undefined"
    low = people.figures[name].low
    floor = people.figures[name].value if low is None else low
    return "within the people's range" if mine.value >= (floor or 0.0) else "below the people's range"
