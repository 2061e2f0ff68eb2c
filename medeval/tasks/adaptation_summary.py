"""Before and after adaptation: gains paired by patient, patients made worse, what was forgotten, and how training went."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics import Resamples, Sample, clusters, paired_difference
from medeval.tasks.adaptations import SOURCE_ONLY
from medeval.tasks.columns import statistic_column
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence, Summary
from medeval.tasks.summary_views import build_views
from medeval.types.views import Column, Curve, Forest, Series, Table, View

if TYPE_CHECKING:
    from medeval.tasks.domain_adaptation import DomainAdaptation

PATIENTS_SHOWN = 50


@dataclass
class Paired:
    """What one pass over the cells leaves for the views."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    patients: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)


def summarize_adaptation(task: DomainAdaptation, evidence: Evidence) -> Summary:
    """Scores of every arm, then each arm against the source model of the same dataset and model."""
    scores: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    picks: list[dict[str, Any]] = []
    found = Paired()
    source: tuple[tuple[str, str], CellEvidence] | None = None
    for cell in evidence.load():
        scorer = CellScorer(task, cell, evidence)
        scores += scorer.scores()
        curves += scorer.curves()
        picks += scorer.picks()
        found.stopped += _stopped(cell)
        if cell.arm == SOURCE_ONLY:
            source = ((cell.dataset, cell.model), cell)
        elif source is not None and source[0] == (cell.dataset, cell.model):
            scores += _against(task, scorer, source[1], cell, evidence.resamples(cell.dataset), found)
        if task.rounds:
            scores += _forgotten(task, scorer, cell, evidence.resamples(cell.dataset))
    views = build_views(task, scores, curves, picks)
    return Summary(scores, [*views, *_views(task, scores, found)])


def _stopped(cell: CellEvidence) -> list[str]:
    """Adaptations that ended early, in words."""
    texts = (
        dict.fromkeys(cell.frame["adaptation_stopped"].dropna()) if "adaptation_stopped" in cell.frame else {}
    )
    return [f"{cell.model} {cell.arm} on {cell.dataset} stopped early: {text}" for text in texts if text]


def _against(
    task: DomainAdaptation, scorer: CellScorer, before: CellEvidence, after: CellEvidence, resamples: Resamples,
    found: Paired,
) -> list[dict[str, Any]]:  # fmt: skip
    """The gain and the share of patients made worse, a row each for every metric that is a mean over records."""
    rows = []
    for metric in task.bound_metrics:
        if not metric.linear:
            continue
        pairs = paired_values(task, metric, before, after)
        groups = pairs.groups(task.average)
        after_, before_ = (Sample({"value": v}, pairs.patients, groups) for v in (pairs.after, pairs.before))
        gain = paired_difference(metric, after_, before_, resamples, average=task.average)
        base = scorer.metric_row(metric, "", "", {}, gain)
        rows.append(
            {**base, **_plain(len(pairs.after)), "metric": f"gain in {metric.name}", "definition": _GAIN}
        )
        harm = harmed(metric, pairs, resamples, task.harm_margin)
        rows.append({**base, **_plain(len(pairs.after)), **harm, "metric": f"made worse ({metric.name})",
                     "direction": "lower", "unit": "", "definition": _harm_text(task.harm_margin)})  # fmt: skip
        found.patients += _by_patient(task, metric, pairs, after)
    return rows


_GAIN = "mean difference to the source model, paired by record"


def _harm_text(margin: float) -> str:
    by = f" by more than {margin:g}" if margin else ""
    return f"share of patients whose mean score is worse than with the source model{by}"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Values of records that both arms have, (n,) each. patients: clusters."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    patients: NDArray[np.str_]
    cases: NDArray
    structures: NDArray

    def groups(self, average: str) -> NDArray | None:
        """What the estimand averages within."""
        return {"cases": self.cases, "structures": self.structures}.get(average)

    def by_patient(self) -> dict[str, tuple[float, float]]:
        """Patient -> mean before, mean after."""
        found = {}
        for patient in dict.fromkeys(self.patients.tolist()):
            mine = self.patients == patient
            found[patient] = (float(self.before[mine].mean()), float(self.after[mine].mean()))
        return found


def paired_values(task: DomainAdaptation, metric: Metric, before: CellEvidence, after: CellEvidence) -> Pairs:
    """Final-round records with a value on both sides; a model's failure stands at its worst value where the task says so."""
    names = ["case", "structure", "seed", "sample"]
    column = statistic_column(metric.name, "value")
    sides = []
    for cell in (before, after):
        frame = cell.frame
        kept = frame[(frame["round"] == frame["round"].max()) & frame[column].notna()]
        if task.on_failure != "worst":
            kept = kept[kept["status"].isin(["ok", "carried"])]
        sides.append(kept[[*names, "patient", column]])
    joined = sides[0].merge(sides[1], on=names, suffixes=("", "_after"), validate="one_to_one")
    structures = np.array([str(name).partition("#")[0] for name in joined["structure"]], dtype=object)
    return Pairs(
        joined[column].to_numpy(np.float64), joined[f"{column}_after"].to_numpy(np.float64),
        clusters(joined["patient"].tolist(), joined["case"].tolist()), joined["case"].to_numpy(), structures,
    )  # fmt: skip


def harmed(metric: Metric, pairs: Pairs, resamples: Resamples, margin: float = 0.0) -> dict[str, Any]:
    """Share of patients made worse, with its percentile interval over the dataset's resamples, as fields of a score row."""
    means = pairs.by_patient()
    sign = 1 if metric.direction == "higher" else -1
    worse = np.array(
        [sign * (before - after) > margin + 1e-12 for before, after in means.values()], dtype=np.float64
    )
    if not len(worse):
        return {"value": None, "low": None, "high": None, "n": 0, "estimand": "share of patients"}
    codes = resamples.codes(list(means))
    draws = []
    for counts in resamples.blocks():
        drawn = counts[:, codes].astype(np.float64)
        total = drawn.sum(axis=1)
        draws.append((drawn @ worse)[total > 0] / total[total > 0])
    low, high = np.quantile(np.concatenate(draws), [0.025, 0.975]) if len(worse) > 1 else (None, None)
    return {
        "value": float(worse.mean()), "low": None if low is None else float(low),
        "high": None if high is None else float(high), "n": len(worse), "estimand": "share of patients",
    }  # fmt: skip


def _forgotten(
    task: DomainAdaptation, scorer: CellScorer, cell: CellEvidence, resamples: Resamples
) -> list[dict[str, Any]]:
    """The best earlier stage's score less the last one's, where there is something to forget."""
    rows = []
    for metric in task.bound_metrics:
        if not metric.linear:
            continue
        column = statistic_column(metric.name, "value")
        frame = cell.frame[cell.frame[column].notna()]
        rounds = frame["round"].to_numpy(np.int64)
        by_round = {int(number): frame[rounds == number] for number in np.unique(rounds)}
        if len(by_round) < 2:
            continue
        last = max(by_round)
        sign = 1 if metric.direction == "higher" else -1
        best = max((n for n in by_round if n != last), key=lambda n: sign * by_round[n][column].mean())
        first, final = (_sample(by_round[n], column, task.average) for n in (best, last))
        lost = paired_difference(metric, first, final, resamples, average=task.average)
        row = scorer.metric_row(metric, "", "", {}, lost)
        text = f"score after domain {best}, the best before the last, less the score after the last"
        rows.append({**row, **_plain(len(by_round[last])), "metric": f"forgotten {metric.name}", "definition": text,
                     "direction": "lower" if sign > 0 else "higher"})  # fmt: skip
    return rows


def _sample(frame: Any, column: str, average: str) -> Sample:
    group = {"cases": "case", "structures": "structure"}.get(average)
    return Sample(
        {"value": frame[column].to_numpy(np.float64)}, clusters(frame["patient"].tolist(), frame["case"].tolist()),
        None if group is None else frame[group].to_numpy(),
    )  # fmt: skip


def _plain(records: int) -> dict[str, Any]:
    """The counts that every score row has; the arms' own rows hold the failures."""
    return {
        "records": records, "failed": {}, "failed_cases": 0, "undefined": {}, "missing": 0, "not_covered": 0,
        "bounds": None, "absent": 0,
    }  # fmt: skip


def _by_patient(
    task: DomainAdaptation, metric: Metric, pairs: Pairs, cell: CellEvidence
) -> list[dict[str, Any]]:
    sign = 1 if metric.direction == "higher" else -1
    return [
        {
            "dataset": cell.dataset, "model": cell.model, "arm": cell.arm, "metric": metric.name,
            "patient": patient.rpartition("\x1f")[2], "before": before, "after": after, "change": after - before,
            "made worse": "yes" if sign * (before - after) > task.harm_margin + 1e-12 else "no",
        }
        for patient, (before, after) in pairs.by_patient().items()
    ]  # fmt: skip


# -- views ------------------------------------------------------------------------------------------------------


def _views(task: DomainAdaptation, scores: Sequence[Mapping[str, Any]], found: Paired) -> list[View]:
    views: list[View] = [_methods(task, found.stopped)]
    for dataset in dict.fromkeys(row["dataset"] for row in found.patients):
        for metric in dict.fromkeys(row["metric"] for row in found.patients):
            rows = [row for row in found.patients if (row["dataset"], row["metric"]) == (dataset, metric)]
            gains = [r for r in scores if r["dataset"] == dataset and r["metric"] == f"gain in {metric}"]
            views += [_forest(dataset, metric, gains), _patients(dataset, metric, rows)]
    return views


def _methods(task: DomainAdaptation, stopped: Sequence[str]) -> Table:
    """What each arm changes and needs; labels and priors are said here."""
    rows: list[dict[str, Any]] = []
    for arm in task.arms():
        method = None if arm == SOURCE_ONLY else task.method(arm)
        options = {key: value for key, value in task.adaptations[arm].items() if key != "method"}
        rows.append(
            {
                "arm": arm,
                "changes": "nothing" if method is None else method.updates,
                "uses beside images": (method.side_information if method else "") or "nothing",
                "options": ", ".join(f"{key}={value}" for key, value in options.items()),
            }
        )
    note = f"scenario: {task.scenario}" + (f", target: {', '.join(task.target)}" if task.target else "")
    return Table(
        "Methods of adaptation", [Column(name) for name in rows[0]], rows, "; ".join([note, *stopped])
    )


def _forest(dataset: str, metric: str, rows: Sequence[Mapping[str, Any]]) -> Forest:
    several = len({row["model"] for row in rows}) > 1
    lines = [
        {
            "label": f"{row['model']} {row['arm']}" if several else row["arm"],
            **{key: row[key] for key in ("value", "low", "high", "baseline")},
        }
        for row in rows
        if row["value"] is not None
    ]
    return Forest(f"Gain in {metric} over the source model on {dataset}", f"gain in {metric}", lines)


def _patients(dataset: str, metric: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Patients made worse first."""
    names = ("model", "arm", "patient", "before", "after", "change", "made worse")
    kinds = {"before": "number", "after": "number", "change": "number"}
    columns = [Column(name, kind=kinds.get(name, "text")) for name in names]  # type: ignore[arg-type]
    ordered = sorted(rows, key=lambda row: (row["made worse"] == "no", -abs(row["change"])))
    shown = [{name: row[name] for name in names} for row in ordered[:PATIENTS_SHOWN]]
    more = len(ordered) - len(shown)
    note = "patients made worse first" + (f"; {more} more in the records" if more > 0 else "")
    return Table(f"{metric} before and after, by patient: {dataset}", columns, shown, note)


def adaptation_curves(arms: Iterable[tuple[str, Path]]) -> list[Curve]:
    """Losses against epochs from prepared artifacts: (arm, folder of its artifact) each; one curve a term."""
    series: dict[str, list[Series]] = {}
    for arm, folder in arms:
        stages = json.loads((folder / "adaptation.json").read_text())["stages"]
        history = [epoch for stage in stages for epoch in stage.get("history", [])]
        for term in dict.fromkeys(name for epoch in history for name in epoch):
            values = [epoch.get(term) for epoch in history]
            series.setdefault(term, []).append(Series(arm, list(range(1, len(values) + 1)), values))
    return [Curve(f"{term} during adaptation", "epoch", term, lines) for term, lines in series.items()]
