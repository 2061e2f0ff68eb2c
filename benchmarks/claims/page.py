"""From a claim's evidence to its figures and its section of docs/claims.md: every seed, nothing of the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common import Claim, ClaimError, Comparison, Side

from medeval.metrics.registry import get_metric
from medeval.statistics import Estimate, Resamples, Sample, clusters, paired_difference

if TYPE_CHECKING:
    import pandas as pd

RULES = {
    "interval": "in every seed the 95% interval of the paired difference lies on the better side of 0",
    "sign": "in every seed the paired difference lies on the better side of 0",
    "no-worse": "in no seed the paired difference lies on the worse side of 0",
}


@dataclass(frozen=True)
class Difference:
    """One comparison under one seed. found: score of ``better`` minus score of ``worse``."""

    comparison: Comparison
    seed: int
    better: float
    worse: float
    found: Estimate


def differences(claim: Claim, rows: Mapping[int, pd.DataFrame]) -> list[Difference]:
    """Every comparison under every seed. Raises ``ClaimError`` where the two sides hold other items."""
    return [
        _difference(claim, comparison, seed, found)
        for comparison in claim.comparisons
        for seed, found in rows.items()
    ]


def _difference(claim: Claim, comparison: Comparison, seed: int, rows: pd.DataFrame) -> Difference:
    better, worse = (_side(claim, rows, side, seed) for side in (comparison.better, comparison.worse))
    if not better.index.equals(worse.index):
        raise ClaimError(
            f"{claim.name}, seed {seed}, {comparison.say}: {len(better)} items against {len(worse)}, and not the same"
        )
    drawn = clusters([str(name) for name in better["patient"]], [str(case) for case in better["case"]])
    first, second = (Sample({"value": side["value"].to_numpy(float)}, drawn) for side in (better, worse))
    found = paired_difference(
        get_metric(claim.metric), first, second, Resamples(claim.name, drawn, seed=seed), method="bca"
    )
    return Difference(comparison, seed, float(better["value"].mean()), float(worse["value"].mean()), found)


def _side(claim: Claim, rows: pd.DataFrame, side: Side, seed: int) -> pd.DataFrame:
    found = rows[(rows["arm"] == side.arm) & (rows["setting"] == side.setting)].set_index("item").sort_index()
    if found.empty or not found.index.is_unique:
        wrong = "no value" if found.empty else "items that are there twice"
        raise ClaimError(f"{claim.name}, seed {seed}: {wrong} of arm {side.arm!r}, setting {side.setting!r}")
    return found


def shown(claim: Claim, of_one: Sequence[Difference]) -> bool:
    """Whether one comparison's differences, one a seed, fulfil its rule; without an interval ``interval`` is not."""
    sign = 1 if get_metric(claim.metric).direction == "higher" else -1
    rule, margin = of_one[0].comparison.rule, of_one[0].comparison.margin
    if rule == "no-worse":
        return all(d.found.value is not None and sign * d.found.value > -1e-12 for d in of_one)
    if rule == "sign":
        return all(d.found.value is not None and sign * d.found.value > margin for d in of_one)
    return all(
        d.found.low is not None
        and d.found.high is not None
        and min(sign * d.found.low, sign * d.found.high) > margin
        for d in of_one
    )


def table(claim: Claim, found: Sequence[Difference]) -> str:
    """A Markdown table, one row a comparison and seed."""
    lines = [
        "| comparison | seed | better | worse | difference [95% interval] | n | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for comparison in claim.comparisons:
        of_one = [d for d in found if d.comparison is comparison]
        verdict = "shown" if shown(claim, of_one) else "not shown"
        for number, d in enumerate(of_one):
            rule = (
                f"{comparison.rule}, margin {comparison.margin:g}" if comparison.margin else comparison.rule
            )
            first = (comparison.say, f"{verdict} ({rule})") if not number else ("", "")
            interval = "no interval" if d.found.low is None else f"[{d.found.low:+.3f}, {d.found.high:+.3f}]"
            lines.append(
                f"| {first[0]} | {d.seed} | {d.better:.3f} | {d.worse:.3f} | {d.found.value:+.3f} {interval} "
                f"| {d.found.n} | {first[1]} |"
            )
    return "\n".join(lines)


def section(claim: Claim, found: Sequence[Difference]) -> str:
    """The claim's section: what was fixed before, the figures of all seeds, what they do not show."""
    rules = dict.fromkeys(comparison.rule for comparison in claim.comparisons)
    notes = sorted({note for d in found for note in d.found.note.split("; ") if note})
    seeds = ", ".join(map(str, claim.seeds))
    parts = [
        f"## {claim.title}",
        claim.statement.strip(),
        f"All settings were fixed before the run in `benchmarks/claims/{claim.name}.yaml` (SHA-256 begins with {claim.digest[:16]}): seeds "
        f"{seeds}, all reported below. `make claims CLAIM={claim.name}` runs it again.",
        _bullets(f"**{name}**: {what}" for name, what in claim.arms.items()),
        f"Metric: {claim.metric}, mean over n. Interval: BCa bootstrap of the paired difference, resampling patients.",
        _bullets(f"shown ({rule}): {RULES[rule]}" for rule in rules),
        table(claim, found),
        _bullets(f"the intervals say: {note}" for note in notes),
        "What this does not show:",
        _bullets(claim.limits),
    ]
    return "\n\n".join(part for part in parts if part)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line.strip()}" for line in lines)


def write_section(page: Path, name: str, text: str) -> None:
    """Replace the section between the claim's markers, or add it at the end."""
    begin, end = f"<!-- claim: {name} -->", f"<!-- end: {name} -->"
    whole = page.read_text(encoding="utf-8") if page.is_file() else HEAD
    before, found, rest = whole.partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    partial = page.with_name(f".{page.name}.partial")
    lead = before if found else f"{before.rstrip()}\n\n"
    partial.write_text(f"{lead}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    partial.replace(page)


HEAD = """# Claims of the papers, in miniature

Each section is one run of `make claims`: configuration, seeds and the rule for "shown" stood in the repository before the
run, every seed is reported, and "not shown" is a result like any other. Networks and data are tiny so that a laptop's CPU
does: the figures speak of these settings, never of the published models.
"""
