"""What a shared report tells of a declared endpoint: its numbers and verdicts where both models' scores are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from medeval.report import Section
from medeval.statistics.equivalence import Verdict
from medeval.suite.declared import Claim
from medeval.types.views import Column, Table

Row = Mapping[str, Any]
_WITHHELD = "claims of a declared endpoint about scores that are withheld"
_NUMBERS = ("margin", "p", "p_corrected")


def endpoint_section(
    found: Row | None, shared: Sequence[Row], told: Callable[[str, str], str], even: Callable[[Row], bool], withheld: Counter[str]
) -> Section | None:  # fmt: skip
    """The section, or None where nothing was declared or may be told.

    found: ``endpoint`` of summary.json. shared: score rows that are told. told: (kind, name) -> the name as it is told.
    even: whether the models of a claim were scored on the same people, or on so many others that a difference tells nobody.
    """
    if not found:
        return None
    scored = {
        (row["task"], row["dataset"], _contender(row), row["prompt"], row["metric"])
        for row in shared
        if not row["by"]
    }
    rows = []
    for claim in found["confirmatory"]:
        where = told("task", claim["task"]), told("dataset", claim["dataset"])
        models = [told("model", claim[side]) for side in ("model", "baseline")]
        if even(claim) and all((*where, name, claim["prompt"], claim["metric"]) in scored for name in models):
            rows.append(_row(claim, where[1], models))
        else:
            withheld[_WITHHELD] += 1
    if found["required"]:
        withheld["requirements of a declared endpoint"] += len(found["required"])
    if not rows:
        return None
    names = ("dataset", "model", "baseline", "metric", "prompt", "claim")
    columns = [*(Column(name) for name in names), Column("difference", kind="interval"),
               *(Column(name, kind="number") for name in _NUMBERS), Column("verdict"), Column("met")]  # fmt: skip
    text = "Declared before scoring. Everything below this section is exploratory."
    return Section("Declared endpoint", [Table("Primary endpoint (confirmatory)", columns, rows)], text)


def _row(claim: Row, dataset: str, models: Sequence[str]) -> dict[str, Any]:
    return {
        "dataset": dataset, "model": models[0], "baseline": models[1], "metric": claim["metric"], "prompt": claim["prompt"],
        "claim": claim["claim"] if claim["claim"] in get_args(Claim) else "",
        "verdict": claim["verdict"] if claim["verdict"] in get_args(Verdict) else "",
        "met": "yes" if claim["met"] else "no", **{name: claim[name] for name in _NUMBERS},
        "difference": {"value": claim["difference"], "low": claim["low"], "high": claim["high"]},
    }  # fmt: skip


def _contender(row: Row) -> str:
    """A model with its arm, as an endpoint names it."""
    return f"{row['model']} ({row['arm']})" if row["arm"] else row["model"]
