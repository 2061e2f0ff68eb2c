"""What became of the endpoint that a suite declared. No verdict is given without one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from medeval.decisions.compare import Comparison, compared, matched, record_weights
from medeval.decisions.evidence import CellName, Entered, RunEvidence
from medeval.metrics.base import Metric
from medeval.statistics import Estimate, Resamples, paired_difference
from medeval.statistics.corrections import holm
from medeval.statistics.equivalence import Decision, Verdict, equivalence, non_inferiority
from medeval.statistics.paired import permutation_test
from medeval.suite.declared import Claim, Declared, Primary
from medeval.types import RunError
from medeval.types.views import Column, Table


@dataclass(frozen=True)
class Confirmed:
    """One confirmatory claim. p: of the claim's own null hypothesis; p_corrected: Holm over the family."""

    task: str
    dataset: str
    model: str
    baseline: str
    metric: str
    prompt: str
    claim: str
    margin: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None
    verdict: str
    reason: str
    met: bool


@dataclass(frozen=True)
class Required:
    """One requirement on one score."""

    requirement: str
    task: str
    dataset: str
    model: str
    prompt: str
    value: float | None
    low: float | None
    high: float | None
    met: bool


@dataclass(frozen=True)
class Outcome:
    """sha256: of what was declared. family: what Holm's correction is over. met: whether all of it holds."""

    sha256: str
    family: str
    confirmatory: Sequence[Confirmed]
    required: Sequence[Required]

    @property
    def met(self) -> bool:
        """True when every claim is shown and every requirement met."""
        return all(row.met for row in self.confirmatory) and all(row.met for row in self.required)

    def plain(self) -> dict[str, Any]:
        """For summary.json."""
        return {
            "sha256": self.sha256, "family": self.family, "met": self.met,
            "confirmatory": [asdict(row) for row in self.confirmatory], "required": [asdict(row) for row in self.required],
        }  # fmt: skip


def outcome(evidence: RunEvidence) -> Outcome | None:
    """Evaluate the declared endpoint on the run's records; None where none is declared.

    Raises ``RunError`` when the baseline has no score to compare with.
    """
    declared = Declared.of(evidence.manifest["suite"])
    if not declared:
        return None
    claims: list[Confirmed] = []
    if declared.primary is not None and declared.primary.claimed is not None:
        claims = _corrected(list(_claims(evidence, declared.primary)), declared.primary)
    family = f"Holm over {len(claims)} confirmatory claims" if claims else "no confirmatory claim"
    return Outcome(declared.sha256, family, claims, list(_required(evidence, declared)))


def endpoint_views(found: dict[str, Any]) -> list[Table]:
    """The confirmatory part of the report, from what ``plain`` gave."""
    views = []
    if found["confirmatory"]:
        names = ("dataset", "model", "baseline", "metric", "prompt", "claim", "verdict", "reason")
        numbers = ("margin", "p", "p_corrected")
        columns = [*(Column(name) for name in names[:6]), Column("difference", kind="interval"),
                   *(Column(name, kind="number") for name in numbers), *(Column(name) for name in names[6:])]  # fmt: skip
        rows = [{**row, "difference": {"value": row["difference"], "low": row["low"], "high": row["high"]}}
                for row in found["confirmatory"]]  # fmt: skip
        views.append(Table("Primary endpoint (confirmatory)", columns, rows, found["family"]))
    if found["required"]:
        columns = [Column(name) for name in ("requirement", "dataset", "model", "prompt")]
        columns += [Column("score", kind="interval"), Column("met")]
        rows = [{**row, "score": {"value": row["value"], "low": row["low"], "high": row["high"]},
                 "met": "yes" if row["met"] else "no"} for row in found["required"]]  # fmt: skip
        views.append(Table("Requirements", columns, rows, "all must hold"))
    return views


def _claims(evidence: RunEvidence, primary: Primary) -> Iterator[Confirmed]:
    tagged = evidence.baselines()
    for new in evidence.cells:
        metrics = evidence.metrics(new.task)
        asked = (
            primary.metric in metrics
            and primary.task in (None, new.task)
            and primary.dataset in (None, new.dataset)
        )
        wanted = new.model in primary.models if primary.models else new.model not in tagged
        if not asked or not wanted or new.model == primary.baseline:
            continue
        olds = [
            c
            for c in evidence.cells
            if (c.task, c.dataset, c.model) == (new.task, new.dataset, primary.baseline)
        ]
        old = next((c for c in olds if c.arm == new.arm), olds[0] if olds else None)
        if old is None:
            raise RunError(
                f"primary: baseline {primary.baseline!r} has no scores for {new.task} on {new.dataset}"
            )
        for prompt, _ in evidence.settings(new):
            if primary.prompt in (None, prompt):
                yield _claim(evidence, primary, metrics[primary.metric], old, new, prompt)


def _claim(
    evidence: RunEvidence, primary: Primary, metric: Metric, old: CellName, new: CellName, prompt: str
) -> Confirmed:
    one, two = (evidence.entered(cell, metric, prompt) for cell in (old, new))
    average = evidence.tasks[new.task].average
    base: dict[str, Any] = {
        "task": new.task, "dataset": new.dataset, "old": old.contender, "new": new.contender, "prompt": prompt,
        "by": "", "group": {}, "metric": metric.name, "direction": metric.direction,
    }  # fmt: skip
    found = compared(base, metric, one, two, average, evidence, 10_000)
    claim = primary.claimed
    assert claim is not None
    gap = found.difference
    if claim != "superiority":
        rows = matched(one.keys, two.keys)
        confidence = 1 - primary.alpha * (2 if claim == "equivalence" else 1)
        gap = _gap(metric, one.take(rows[0]), two.take(rows[1]), average, evidence, new.dataset, confidence)
    decision, p = _decided(claim, primary, metric, gap, found, one, two, average)
    return Confirmed(
        new.task, new.dataset, new.contender, old.contender, metric.name, prompt, claim, primary.margin, gap.value,
        gap.low, gap.high, p, None, decision.verdict, decision.reason, decision.shown,
    )  # fmt: skip


def _gap(
    metric: Metric,
    one: Entered,
    two: Entered,
    average: Any,
    evidence: RunEvidence,
    dataset: str,
    confidence: float,
) -> Estimate:
    """The difference with the interval of the claim; two one-sided tests at alpha are an interval of 1 - 2 alpha."""
    if not len(one.keys):
        return Estimate(None, None, None, 0, 0, "none", "difference", "no case in common")
    resamples = Resamples(dataset, one.patients, seed=evidence.manifest["seeds"][0])
    return paired_difference(
        metric, two.sample, one.sample, resamples, average=average, confidence=confidence
    )


def _decided(
    claim: Claim,
    primary: Primary,
    metric: Metric,
    gap: Estimate,
    found: Comparison,
    one: Entered,
    two: Entered,
    average: Any,
) -> tuple[Decision, float | None]:
    if claim == "superiority":
        if math.isnan(found.gain):
            return Decision("inconclusive", f"no difference ({gap.note or 'no value'})"), None
        better = found.gain > 0
        p = found.p if math.isfinite(found.p) else None
        verdict: Verdict = "superior" if better else "inferior"
        told = "better" if better else "worse"
        return Decision(verdict, f"{told} by {abs(found.gain):.4g}, paired permutation test by patient"), p
    margin = primary.margin or 0.0
    decision = (
        equivalence(gap, margin) if claim == "equivalence" else non_inferiority(gap, margin, metric.direction)
    )
    return decision, _margin_p(claim, margin, metric, one, two, average)


def _margin_p(
    claim: Claim, margin: float, metric: Metric, one: Entered, two: Entered, average: Any
) -> float | None:
    """One-sided permutation p of the shifted differences; None for a metric that is no mean (its interval decides)."""
    if not metric.linear:
        return None
    rows = matched(one.keys, two.keys)
    old, new = one.take(rows[0]), two.take(rows[1])
    sign = 1.0 if metric.direction == "higher" else -1.0
    gains = sign * (np.asarray(new.statistics["value"], dtype=np.float64) - old.statistics["value"])
    if not len(gains):
        return None
    weights = record_weights(new, average)
    above = permutation_test((gains + margin) * weights, new.patients, alternative="greater").p
    if claim == "equivalence":
        above = max(above, permutation_test((gains - margin) * weights, new.patients, alternative="less").p)
    return above if math.isfinite(above) else None


def _corrected(claims: list[Confirmed], primary: Primary) -> list[Confirmed]:
    """Holm over the family; a claim holds when its decision says so and its corrected p is small enough."""
    if not claims:
        raise RunError("primary: no model of the run is there to be compared with the baseline")
    adjusted = holm([math.nan if claim.p is None else claim.p for claim in claims])
    limit = primary.alpha / 2 if primary.claimed == "non-inferiority" else primary.alpha
    return [_limited(claim, float(p), limit) for claim, p in zip(claims, adjusted, strict=True)]


def _limited(claim: Confirmed, p: float, limit: float) -> Confirmed:
    if math.isnan(p):
        no_test = claim.claim == "superiority"
        return replace(
            claim, met=claim.met and not no_test, verdict="inconclusive" if no_test else claim.verdict
        )
    if p < limit or (
        claim.claim != "superiority" and not claim.met
    ):  # what the interval refuses stays as it is
        return replace(claim, p_corrected=p)
    reason = f"{claim.reason}; corrected p {p:.3g} is not below {limit:g}"
    return replace(claim, p_corrected=p, met=False, verdict="inconclusive", reason=reason)


def _required(evidence: RunEvidence, declared: Declared) -> Iterator[Required]:
    primary, tagged = declared.primary, evidence.baselines()
    everyone = {cell.model for cell in evidence.cells}
    asked = set(primary.models) if primary and primary.models else everyone - tagged or everyone
    if primary and primary.baseline:
        asked -= {primary.baseline}
    for requirement in declared.require:
        rows = [
            r
            for r in evidence.scores
            if r["metric"] == requirement.metric and not r["by"] and r["model"] in asked
        ]
        if primary:
            rows = [r for r in rows if primary.prompt in (None, r["prompt"]) and primary.dataset in (None, r["dataset"])
                    and primary.task in (None, r["task"])]  # fmt: skip
        if not rows:
            yield Required(requirement.text, "", "", "", "", None, None, None, False)
        for row in rows:
            yield Required(requirement.text, row["task"], row["dataset"], row["model"], row["prompt"], row["value"],
                           row["low"], row["high"], requirement.met(row))  # fmt: skip
