"""The table of ratios of a benchmark run, and the check against the stored baseline.

    python benchmarks/perf/ratios.py RESULTS.json                 print the table
    python benchmarks/perf/ratios.py RESULTS.json --check         and fail on a ratio that lost 30%
    python benchmarks/perf/ratios.py RESULTS.json --store         and make it the baseline (a commit of its own)

RESULTS.json is what ``pytest --benchmark-json`` wrote. Only rows with ``extra_info`` {row, ratio} count.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).resolve().parent / "baseline.json"
LOSS = 0.30
# They tell of the machine and of what else runs on it, not of our code.
UNCHECKED = ("one read of both maps", "warm against cold call", "two threads against one")


def rows(results: Path) -> list[dict[str, Any]]:
    """The rows of a run, in its order."""
    found = json.loads(results.read_text())["benchmarks"]
    return [entry["extra_info"] for entry in found if "ratio" in entry.get("extra_info", {})]


def table(these: list[dict[str, Any]], baseline: dict[str, float]) -> str:
    """A text table: work and peer, both times, the ratio, the baseline's."""
    width = max(len(row["row"]) for row in these)
    lines = [f"{'work, peer':{width}}  {'ours, ms':>10}  {'theirs, ms':>12}  {'ratio':>8}  {'baseline':>8}"]
    for row in these:
        old = baseline.get(row["row"])
        known = f"{_short(old):>8}" if old is not None else "       -"
        lines.append(
            f"{row['row']:{width}}  {row['ours_ms']:10.2f}  {row['theirs_ms']:12.1f}  {_short(row['ratio']):>8}  {known}"
        )
        more = {k: v for k, v in row.items() if k not in ("row", "ratio", "ours_ms", "theirs_ms", "peer")}
        if more:
            lines.append(f"{'':{width}}  " + ", ".join(f"{k} {v:.2f}" for k, v in more.items()))
    return "\n".join([*lines, "", "peers: " + ", ".join(sorted({row["peer"] for row in these}))])


def _short(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.3g}"


def lost(these: list[dict[str, Any]], baseline: dict[str, float]) -> list[str]:
    """What lost more than 30% of its ratio, or is missing."""
    now = {row["row"]: row["ratio"] for row in these}
    problems = []
    for name, old in baseline.items():
        if name.endswith(UNCHECKED):
            continue
        if name not in now:
            problems.append(f"{name}: not measured (baseline {old:.2f})")
        elif now[name] < (1.0 - LOSS) * old:
            problems.append(f"{name}: {now[name]:.2f}, baseline {old:.2f}")
    return problems


def main() -> int:
    """Print, and store or check when asked; 1 when a ratio was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--check", action="store_true", help="fail on a loss of 30%%")
    parser.add_argument("--store", action="store_true", help="write the baseline")
    options = parser.parse_args()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    these = rows(options.results)
    print(table(these, baseline))
    if options.store:
        BASELINE.write_text(
            json.dumps({row["row"]: float(f"{row['ratio']:.4g}") for row in these}, indent=2) + "\n"
        )
    problems = lost(these, baseline) if options.check else []
    for problem in problems:
        print(f"LOST {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
