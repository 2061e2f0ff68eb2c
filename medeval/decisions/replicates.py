"""Replicates of one model (seeds, folds): their spread, told apart from the patients' interval.

The interval of a score says what other patients would give; the spread says what training or running it again would give.
Neither holds the other. A data set on which methods differ less than the replicates of one cannot separate methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medeval.decisions.evidence import CellName, Entered, RunEvidence
from medeval.metrics.base import Metric
from medeval.report import Section
from medeval.statistics import Estimate, Sample, estimate
from medeval.statistics.subgroups import suitability
from medeval.suite.replicates import MARK, model_of
from medeval.types.views import Column, Table


@dataclass(frozen=True)
class Replicated:
    """One model's score over its replicates. scores: by replicate. spread: their standard deviation.

    mean: of the records' means over replicates, with the interval over patients alone.
    """

    task: str
    dataset: str
    model: str
    prompt: str
    metric: str
    scores: dict[str, float]
    spread: float
    mean: Estimate


def replicated(evidence: RunEvidence) -> list[Replicated]:
    """All mean metrics of all models that have two replicates or more: several checkpoints, or several seeds of a suite."""
    found: list[Replicated] = []
    families: dict[tuple[str, str, str, str], list[CellName]] = {}
    for cell in evidence.cells:
        families.setdefault((cell.task, cell.dataset, model_of(cell.model), cell.arm), []).append(cell)
    for (task, _, model, arm), cells in families.items():
        for metric in evidence.metrics(task).values():
            for prompt, _ in evidence.settings(cells[0]) if metric.linear else ():
                parts = dict(_parts(evidence, cells, metric, prompt))
                if len(parts) > 1:
                    found.append(
                        _joined(
                            evidence, cells[0], f"{model} ({arm})" if arm else model, metric, prompt, parts
                        )
                    )
    return found


def _parts(
    evidence: RunEvidence, cells: list[CellName], metric: Metric, prompt: str
) -> Iterator[tuple[str, Entered]]:
    """Replicate -> its records, keys without the seed."""
    for cell in cells:
        entered = evidence.entered(cell, metric, prompt)
        seeds = np.array([key.rpartition("\x1f")[2] for key in entered.keys.tolist()])
        label = cell.model.partition(MARK)[2]
        for seed in dict.fromkeys(seeds.tolist()):
            rows = np.flatnonzero(seeds == seed)
            name = "/".join(
                part
                for part in (label, f"seed {seed}" if len(set(seeds.tolist())) > 1 or not label else "")
                if part
            )
            yield name, entered.take(rows)


def _joined(
    evidence: RunEvidence, cell: CellName, model: str, metric: Metric, prompt: str, parts: dict[str, Entered]
) -> Replicated:
    scores = {
        name: float(np.mean(part.statistics["value"])) for name, part in parts.items() if len(part.keys)
    }
    sums: dict[str, list[float]] = {}
    owner: dict[str, str] = {}
    for part in parts.values():
        for key, patient, value in zip(
            part.keys.tolist(), part.patients.tolist(), part.statistics["value"], strict=True
        ):
            record = key.rpartition("\x1f")[0]
            sums.setdefault(record, []).append(float(value))
            owner[record] = patient
    values = {"value": np.array([np.mean(many) for many in sums.values()])}
    sample = Sample(values, np.array(list(owner.values()), dtype=str))
    mean = estimate(metric, sample.statistics, sample.patients, evidence.resamples(cell.dataset))
    spread = float(np.std(list(scores.values()), ddof=1))
    return Replicated(cell.task, cell.dataset, model, prompt, metric.name, scores, spread, mean)


def replicate_tables(evidence: RunEvidence) -> list[Table]:
    """One table a (task, dataset): each model's spread beside its interval, and whether methods can be separated."""
    found = replicated(evidence)
    return [
        _table(task, dataset, [row for row in found if (row.task, row.dataset) == (task, dataset)])
        for task, dataset in dict.fromkeys((row.task, row.dataset) for row in found)
    ]


def _table(task: str, dataset: str, rows: list[Replicated]) -> Table:
    columns = [Column("model"), Column("prompt"), Column("metric"), Column("replicates", kind="integer"),
               Column("mean", "mean (interval over patients)", "interval"),
               Column("spread", "SD over replicates", "number"), Column("range", "lowest to highest")]  # fmt: skip
    lines = [
        {"model": row.model, "prompt": row.prompt, "metric": row.metric, "replicates": len(row.scores),
         "mean": row.mean.as_dict(), "spread": row.spread,
         "range": f"{min(row.scores.values()):.4g} to {max(row.scores.values()):.4g}"}
        for row in rows
    ]  # fmt: skip
    return Table(f"Replicates: {task} on {dataset}", columns, lines, "; ".join(_verdicts(rows)))


def _verdicts(rows: list[Replicated]) -> Iterator[str]:
    """For each metric and prompt with two models or more: methods against replicates."""
    for metric, prompt in dict.fromkeys((row.metric, row.prompt) for row in rows):
        models = {
            row.model: list(row.scores.values())
            for row in rows
            if (row.metric, row.prompt) == (metric, prompt)
        }
        if len(models) > 1:
            told = suitability(models)  # type: ignore[arg-type]
            what = " ".join(part for part in (metric, prompt) if part)
            yield f"{what}: this data set {told.verdict} these methods (SD between {told.between:.3g}, within {told.within:.3g})"


def replicate_sections(evidence: RunEvidence) -> list[Section]:
    """The report's section; none without replicates."""
    tables = replicate_tables(evidence)
    text = "The interval is over patients alone; the spread is over seeds, folds or checkpoints of one model."
    return [Section("Replicates", tables, text)] if tables else []
