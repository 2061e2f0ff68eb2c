"""Scores of studies with the intervals that fit them, and the models side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.metrics.classification import CallMetric, CaseAuroc, CaseF1
from medeval.metrics.classification_clinical import at_prevalence, matched_threshold, net_benefit
from medeval.statistics import Estimate
from medeval.statistics.auc import auc_interval, auc_test
from medeval.statistics.corrections import holm
from medeval.statistics.proportions import mcnemar, proportion, ratio
from medeval.statistics.scores import ESTIMANDS
from medeval.tasks.classification.curves import study_views
from medeval.tasks.columns import statistic_column
from medeval.tasks.summary import CellScorer, Evidence, Summary
from medeval.tasks.summary_views import build_views
from medeval.types.views import Column, Table, View

if TYPE_CHECKING:
    from medeval.tasks.classification.task import Classification

Floats = NDArray[np.float64]
CONFUSION = {"tp": "true positives", "fn": "false negatives", "fp": "false positives", "tn": "true negatives"}
MISSING = "(missing)"  # the group of studies whose metadata do not say


class StudyScorer(CellScorer):
    """AUROC by DeLong, proportions exact or clustered; everything else as always."""

    def own_estimate(
        self, metric: Metric, members: NDArray[np.int64], statistics: Mapping[str, NDArray]
    ) -> Estimate | None:
        """The interval that fits the metric; patients with several studies are clusters in all of them."""
        patients, known = self.patients(members), self.known(members)
        if isinstance(metric, CaseAuroc) and len(members):
            found = auc_interval(statistics["score"], statistics["label"], patients, patients_known=known)
            return replace(found, estimand=ESTIMANDS["records"])
        if isinstance(metric, CaseF1) and len(members):
            return ratio(
                statistics["hit"],
                statistics["counted"],
                patients,
                estimand=ESTIMANDS["records"],
                patients_known=known,
            )
        if isinstance(metric, CallMetric):
            counted = np.asarray(statistics["counted"]) == 1
            return proportion(
                statistics["hit"][counted],
                patients[counted],
                estimand=ESTIMANDS["records"],
                patients_known=known,
            )
        return None

    def known(self, members: NDArray[np.int64]) -> bool:
        """True when the patient of every one of these records is known."""
        return not self._resamples.unknown(self._resamples.codes(self.clusters[members]))

    def studies(self) -> Studies | None:
        """The studies of this cell; None where the task has no ranking metric to read them from."""
        ranking = next((m.name for m in self.task.bound_metrics if "score" in m.statistic), None)
        if ranking is None:
            return None
        metric = next(m for m in self.task.bound_metrics if m.name == ranking)
        used = self._used(metric, self.final)
        score, label = (self.column(statistic_column(ranking, name))[used] for name in ("score", "label"))
        given = self.column("threshold").astype(np.float64)
        given = given[~np.isnan(given)]
        return Studies(
            self.cell.model, self.cell.baseline, self.column("case")[used], self.patients(used),
            self.known(used), score.astype(np.float64), label.astype(np.int64),
            float(given[0]) if len(given) else math.nan, {name: self.column(name)[used] for name in self._grouping},
        )  # fmt: skip

    @property
    def _grouping(self) -> list[str]:
        from medeval.tasks.summary import columns_of

        return list(dict.fromkeys(name for by in self.task.by for name in columns_of(by)))


@dataclass(frozen=True, eq=False)
class Studies:
    """One model's studies on one dataset, its failures at the wrong end. groups: column -> (n,) values."""

    model: str
    baseline: bool
    cases: NDArray
    patients: NDArray
    known: bool
    score: Floats
    label: NDArray[np.int64]
    threshold: float
    groups: Mapping[str, NDArray]

    @property
    def called(self) -> NDArray[np.bool_]:
        """Calls at the model's own threshold."""
        return self.score >= self.threshold

    def of(self, rows: NDArray) -> Studies:
        """Some of the studies."""
        groups = {name: values[rows] for name, values in self.groups.items()}
        return Studies(self.model, self.baseline, self.cases[rows], self.patients[rows], self.known, self.score[rows],
                       self.label[rows], self.threshold, groups)  # fmt: skip


def summarize_classification(task: Classification, evidence: Evidence) -> Summary:
    """Score rows, and by dataset: clinical figures, the comparison overall and by each group, ROC and calibration."""
    scores: list[dict[str, Any]] = []
    by_dataset: dict[str, list[Studies]] = {}
    for cell in evidence.load():
        scorer = StudyScorer(task, cell, evidence)
        scores += scorer.scores()
        studies = scorer.studies()
        if studies is not None and len(studies.cases):
            by_dataset.setdefault(cell.dataset, []).append(studies)
    views: list[View] = build_views(task, scores, (), ())
    for dataset, models in by_dataset.items():
        views.append(clinical_table(task, dataset, models))
        views += [comparison_table(task, dataset, models, by) for by in ("", *task.by)]
        views += study_views(dataset, models)
    return Summary(scores, views)


def clinical_table(task: Classification, dataset: str, models: Sequence[Studies]) -> Table:
    """What each model's own threshold means where it will be used: alerts, predictive values, net benefit."""
    benefits = [Column(f"net@{t:g}", f"net benefit at {t:g}", "number") for t in task.net_benefit_at]
    columns = [Column("model"), Column("threshold", kind="number"), Column("prevalence", kind="number"), *(Column(key, title, "integer") for key, title in CONFUSION.items()),
               Column("alerts", "alerts per 100 studies", "number"), Column("ppv", "PPV", "number"),
               Column("npv", "NPV", "number"), *benefits]  # fmt: skip
    rows = [_clinical_row(task, studies) for studies in models]
    said = (
        "as stated by the suite"
        if task.prevalence
        else "of these studies: state `prevalence:` for where it will be used"
    )
    first = models[0]
    everyone = [
        net_benefit(first.label, np.ones(len(first.label)), t, task.prevalence) for t in task.net_benefit_at
    ]
    all_ = ", ".join(f"{t:g}: {value:.3f}" for t, value in zip(task.net_benefit_at, everyone, strict=True))
    note = f"prevalence {said}; net benefit of calling at that threshold probability; of calling every study {all_}, of none 0"
    return Table(f"At the models' thresholds: {task.label} on {dataset}", columns, rows, note)


def _clinical_row(task: Classification, studies: Studies) -> dict[str, Any]:
    truth, called = studies.label == 1, studies.called
    prevalence = task.prevalence or float(truth.mean())
    row: dict[str, Any] = {"model": studies.model, "threshold": studies.threshold, "prevalence": prevalence,
                           "_baseline": studies.baseline}  # fmt: skip
    counts = (called & truth, ~called & truth, called & ~truth, ~called & ~truth)
    row |= {key: int(count.sum()) for key, count in zip(CONFUSION, counts, strict=True)}
    if truth.any() and not truth.all():
        sensitivity, specificity = float(called[truth].mean()), float((~called[~truth]).mean())
        found = at_prevalence(sensitivity, specificity, prevalence)
        row |= {"alerts": found.alerts_per_100, "ppv": found.ppv, "npv": found.npv}
    row |= {
        f"net@{t:g}": net_benefit(studies.label, studies.score >= t, t, task.prevalence)
        for t in task.net_benefit_at
    }
    return row


def comparison_table(task: Classification, dataset: str, models: Sequence[Studies], by: str = "") -> Table:
    """The models on the same studies: AUROC, sensitivity at matched specificity, paired tests against the reference.

    Each model's threshold is set once, on all studies of the dataset, so that its specificity is at least the matched one;
    within a group the specificity that it then has is shown.
    """
    shared = _shared(models)
    first = next((m for m in shared if m.model == task.reference), shared[0])
    title = f"Models compared: {task.label} on {dataset}" + (f", by {by}" if by else "")
    if not len(first.cases):
        return Table(title, _comparison_columns(task, by), [], "no study in common: nothing is compared")
    thresholds = {m.model: matched_threshold(m.score, m.label, task.matched_specificity) for m in shared}
    groups = list(_members(first, by))
    rows = [
        _comparison_row(group, studies.of(members), first.of(members), thresholds)
        for group, members in groups for studies in shared
    ]  # fmt: skip
    lacking = sum(len(members) for group, members in groups if MISSING in group.split(" / "))
    for row in rows:
        if MISSING in str(row["group"]).split(" / "):  # whose label is not known are no group of patients
            row |= {"p_auroc": None, "p_sensitivity": None}
    for name in ("p_auroc", "p_sensitivity"):
        adjusted = holm([math.nan if row[name] is None else row[name] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            row[name] = None if math.isnan(p) else float(p)
    note = (f"{len(first.cases)} studies that all models have; p against {first.model}, Holm over the table; thresholds set "
            "on these studies, so the sensitivities are slightly optimistic"
            + (f"; {lacking} studies have no {by}: shown as {MISSING}, not tested" if lacking else ""))  # fmt: skip
    return Table(title, _comparison_columns(task, by), rows, note)


def _comparison_columns(task: Classification, by: str) -> list[Column]:
    return [*([Column("group", by)] if by else []), Column("model"), Column("positives", kind="integer"),
            Column("auroc", "AUROC", "interval", "DeLong", "higher"), Column("threshold", "matched threshold", "number"),
            Column("sensitivity", f"sensitivity at specificity {task.matched_specificity:g}", "interval", "", "higher"),
            Column("specificity", "specificity there", "interval", "", "higher"),
            Column("p_auroc", "p AUROC", "number", "DeLong, paired"),
            Column("p_sensitivity", "p sensitivity", "number", "McNemar")]  # fmt: skip


def _shared(models: Sequence[Studies]) -> list[Studies]:
    """The studies that all models have, in one order."""
    common = set.intersection(*(set(m.cases.tolist()) for m in models))
    found = []
    for studies in models:
        order = np.argsort(studies.cases.astype(str), kind="stable")
        found.append(studies.of(order[[case in common for case in studies.cases[order].tolist()]]))
    return found


def _members(studies: Studies, by: str) -> Iterator[tuple[str, NDArray]]:
    if not by:
        yield "", np.arange(len(studies.cases))
        return
    from medeval.tasks.summary import columns_of

    labels = [
        " / ".join(MISSING if value is None or value != value else str(value) for value in values)
        for values in zip(*(studies.groups[n] for n in columns_of(by)), strict=True)
    ]
    for label in sorted(set(labels)):
        yield label, np.flatnonzero([other == label for other in labels])


def _comparison_row(
    group: str, studies: Studies, first: Studies, thresholds: Mapping[str, float]
) -> dict[str, Any]:
    truth = studies.label == 1
    called = studies.score >= thresholds[studies.model]
    auroc = auc_interval(studies.score, studies.label, studies.patients, patients_known=studies.known)
    row: dict[str, Any] = {
        "group": group, "model": studies.model, "positives": int(truth.sum()), "auroc": auroc.as_dict(),
        "threshold": thresholds[studies.model], "_baseline": studies.baseline, "p_auroc": None, "p_sensitivity": None,
        "sensitivity": proportion(called[truth], studies.patients[truth], patients_known=studies.known).as_dict(),
        "specificity": proportion(~called[~truth], studies.patients[~truth], patients_known=studies.known).as_dict(),
    }  # fmt: skip
    if studies.model != first.model:
        theirs = first.score >= thresholds[first.model]
        p_auroc = auc_test(studies.score, first.score, studies.label, studies.patients).p
        p_sensitivity = mcnemar(called[truth], theirs[truth], studies.patients[truth]).p
        row |= {"p_auroc": None if math.isnan(p_auroc) else p_auroc,
                "p_sensitivity": None if math.isnan(p_sensitivity) else p_sensitivity}  # fmt: skip
    return row
