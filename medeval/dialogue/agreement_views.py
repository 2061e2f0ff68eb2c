"""Agreement as tables, as CSV and as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from medeval.dialogue.agreement import (
    DIALOGUES,
    KINDS,
    MEAN,
    POOLED,
    Comparison,
    Figure,
    Ratings,
    headline,
    verdict,
)
from medeval.dialogue.agreement_coefficients import NAMES
from medeval.dialogue.agreement_models import ByModel, Ranking
from medeval.dialogue.agreement_run import Corrected, Rate
from medeval.types.views import Column, Table

_TITLES = {
    "agreement": ("raw", "share of equal ratings"),
    "kappa": ("kappa", "Cohen's"),
    "ac": ("AC", "Gwet's AC1 on two values, AC2 above"),
    "alpha": ("alpha", "Krippendorff's, ordinal"),
    "icc": ("ICC(2,1)", "absolute agreement of single raters"),
    "spearman": ("Spearman", ""),
    "kendall": ("Kendall tau-b", ""),
    "bias": ("bias", "first less second: judge less people"),
}
_SHOWN = ("agreement", "kappa", "ac", "alpha", "icc", "spearman", "kendall", "bias")
_OVERALL = (MEAN, POOLED, DIALOGUES)


@dataclass(frozen=True)
class AgreementReport:
    """All that was found. notes: what a reader must know of the sheets."""

    ratings: Ratings
    comparisons: Sequence[Comparison]
    corrected: Sequence[Corrected] = ()
    models: Sequence[ByModel] = ()
    ranks: Sequence[Ranking] = ()
    again: Sequence[Rate] = ()
    conduct: Sequence[Rate] = ()
    notes: Sequence[str] = ()

    def tables(self) -> list[Table]:
        """Tables for terminal and report."""
        found = [self._table(kind) for kind in KINDS if any(row.kind == kind for row in self.comparisons)]
        if self.corrected:
            found.append(_corrected_table(self.corrected))
        if self.models:
            found.append(_models_table(self.models, self.ranks))
        for title, rates in (
            ("The same patient again: answers to the same questions", self.again),
            ("The simulated patient's violations per 100 of its turns", self.conduct),
        ):
            if rates:
                found.append(_rates_table(title, rates))
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One row a (comparison, item, coefficient), plain data."""
        rows = []
        for one in self.comparisons:
            base = {"comparison": one.kind, "judge": one.judge, "item": one.item, "pairs": one.pairs, "units": one.units,
                    "dialogues": one.dialogues, "patients": one.patients}  # fmt: skip
            rows += [
                {**base, "coefficient": name, **asdict(one.figures[name]), "note": one.note} for name in NAMES
            ]
        return rows

    def to_json(self) -> str:
        """Everything as JSON."""
        return json.dumps(
            {
                "agreement": self.rows(),
                "verdicts": self.verdicts(),
                "corrected_means": [asdict(one) for one in self.corrected],
                "by_model": [asdict(one) for one in self.models],
                "rankings": [asdict(one) for one in self.ranks],
                "patient_again": [asdict(one) for one in self.again],
                "simulator": [asdict(one) for one in self.conduct],
                "notes": list(self.notes),
            },
            indent=1,
            ensure_ascii=False,
        )

    def to_csv(self) -> str:
        """The coefficients as CSV."""
        out = StringIO()
        rows = self.rows()
        writer = csv.DictWriter(out, list(rows[0]) if rows else ["comparison"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()

    def verdicts(self) -> list[dict[str, str]]:
        """Whether each judge lies within what people reach among themselves, item by item."""
        return [
            {"judge": row.judge, "item": row.item, "verdict": self._verdict(row)}
            for row in self.comparisons
            if row.kind == "judge and people"
        ]

    def _verdict(self, row: Comparison) -> str:
        people = {one.item: one for one in self.comparisons if one.kind == "people"}
        return verdict(row, people.get(row.item), self._headline(row.item))

    def _headline(self, item: str) -> str:
        if item == DIALOGUES:
            return "icc"
        table = self.ratings.table
        levels = [len(self.ratings.scale(name)) for name in ([item] if item in table else table)]
        return headline(max(levels))

    def _table(self, kind: str) -> Table:
        rows = [row for row in self.comparisons if row.kind == kind]
        judged = kind == "judge and people"
        several = len({row.judge for row in rows}) > 1
        weighting = self.ratings.setting.weighting
        columns = [
            Column("item"),
            *(Column(name, _TITLES[name][0], "interval", _title(name, weighting)) for name in _SHOWN),
            Column("na", "NA", "integer", "ratings that say the item does not apply"),
            *(
                [Column("verdict", "judge", "text", "by AC up to three levels, by ICC above")]
                if judged
                else []
            ),
        ]
        lines = [
            {
                "item": row.item,
                "_group": " ".join(
                    filter(None, [row.judge if several else "", "overall" if row.item in _OVERALL else ""])
                ),
                **{name: _cell(row.figures[name], row) for name in _SHOWN if _told(row.item, name)},
                "na": self.ratings.na.get(row.item),
                "verdict": self._verdict(row) if judged else "",
            }
            for row in rows
        ]
        notes = dict.fromkeys(row.note for row in rows if row.note)
        pairs = max(row.pairs for row in rows if row.item not in _OVERALL)
        counted = (
            f"up to {pairs} pairs of raters, each weighing by the ratings that both gave" if pairs > 1 else ""
        )
        return Table(
            f"Agreement: {kind}", columns, lines, "; ".join(filter(None, [counted, *notes, *self.notes]))
        )


def _title(name: str, weighting: str) -> str:
    note = _TITLES[name][1]
    return f"{note}, {weighting} weights" if name in ("kappa", "ac") else note


def _told(item: str, name: str) -> bool:
    """Means over items lie on no scale: equality of values and what needs a scale say nothing of them."""
    return item != DIALOGUES or name in ("icc", "spearman", "kendall", "bias")


def _cell(figure: Figure, row: Comparison) -> dict[str, Any]:
    undefined = f"no value in {figure.undefined:.1%} of the resamples" if figure.undefined > 0 else ""
    return {
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "n": row.units,
        "patients": row.patients,
        "note": "; ".join(filter(None, [figure.rule, undefined])),
    }


def _corrected_table(rows: Sequence[Corrected]) -> Table:
    columns = [
        Column("item"),
        Column("judge"),
        Column("n", "dialogues", "integer"),
        Column("labelled", "rated by people", "integer"),
        Column("mean", "judge's mean", "number"),
        Column("corrected", "corrected mean", "interval", "judge's mean + mean of (people - judge)"),
    ]
    lines = [
        {**asdict(row), "corrected": {"value": row.corrected, "low": row.low, "high": row.high}}
        for row in rows
    ]
    return Table("Judges' means, corrected by people's ratings", columns, lines)


def _models_table(rows: Sequence[ByModel], ranks: Sequence[Ranking]) -> Table:
    columns = [
        Column("judge"),
        Column("model"),
        Column("dialogues", "dialogues", "integer", "rated by both"),
        Column("judged", "judge", "number", "mean, in [0, 1] of each scale"),
        Column("people", "people", "number", "mean of the same"),
        Column("bias", "bias", "interval", "judge less people"),
    ]
    lines = [{**asdict(row), "bias": {"value": row.bias, "low": row.low, "high": row.high}} for row in rows]
    told = [
        f"{one.judge} and people order the {one.models} models with Kendall tau-b "
        + ("undefined" if one.tau is None else f"{one.tau:.2f}")
        for one in ranks
    ]
    return Table("Judges and people by model", columns, lines, "; ".join(told))


def _rates_table(title: str, rates: Sequence[Rate]) -> Table:
    of = rates[0].of
    columns = [
        *([Column("model")] if any(rate.model for rate in rates) else []),
        Column("name", "what"),
        Column("rate", "value", "interval"),
        Column("count", of, "integer"),
        Column("patients", "patients", "integer"),
    ]
    lines: list[Mapping[str, Any]] = [
        {"model": rate.model or "all", "name": rate.name, "count": rate.n, "patients": rate.patients,
         "rate": {"value": rate.value, "low": rate.low, "high": rate.high, "note": rate.note}}
        for rate in rates
    ]  # fmt: skip
    return Table(title, columns, [dict(line) for line in lines])
