"""Before and after adaptation: gains paired by patient, patients made worse, what was forgotten, and how training went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics import Resamples, Sample, clusters, paired_difference
from medeval.statistics.proportions import clopper_pearson
from medeval.tasks.columns import statistic_column
from medeval.tasks.domain_adaptation.adaptations import SOURCE_ONLY
from medeval.tasks.domain_adaptation.views import Paired, Prepared, adaptation_views
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence, Summary
from medeval.tasks.summary_views import build_views

if TYPE_CHECKING:
    from medeval.tasks.domain_adaptation.task import DomainAdaptation


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
        found.prepared += [
            Prepared(cell.model, cell.arm, seed, path) for seed, path in cell.artifacts.items()
        ]
        if cell.arm == SOURCE_ONLY:
            source = ((cell.dataset, cell.model), cell)
        elif source is not None and source[0] == (cell.dataset, cell.model):
            scores += _against(task, scorer, source[1], cell, evidence.resamples(cell.dataset), found)
        if task.rounds:
            scores += _forgotten(task, scorer, cell, evidence.resamples(cell.dataset))
    views = build_views(task, scores, curves, picks)
    return Summary(scores, [*views, *adaptation_views(task, scores, found)])


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
        harm = harmed(metric, pairs, task.harm_margin)
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


def harmed(metric: Metric, pairs: Pairs, margin: float = 0.0) -> dict[str, Any]:
    """Share of patients made worse as fields of a score row, with its exact interval (Clopper & Pearson 1934).

    A patient is one yes or no, and none of eight made worse does not mean that nobody will be: resampling eight times no
    would say so.
    """
    sign = 1 if metric.direction == "higher" else -1
    worse = [sign * (before - after) > margin + 1e-12 for before, after in pairs.by_patient().values()]
    count, yes = len(worse), sum(worse)
    low, high = clopper_pearson(yes, count) if count > 1 else (None, None)
    return {
        "value": yes / count if count else None, "low": low, "high": high, "n": count,
        "method": "exact" if count > 1 else "none", "estimand": "share of patients, exact interval",
        "note": "one patient: no interval" if count == 1 else "",
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
