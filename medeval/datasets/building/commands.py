"""From the words of the command line to the library's values, and from its results to texts and tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medeval.datasets.building.files import told
from medeval.datasets.building.findings import Finding, Findings
from medeval.datasets.building.finish import DROPPED, LOG, SplitRule, Summary
from medeval.datasets.building.layouts import said
from medeval.datasets.building.modalities import parse_modalities
from medeval.datasets.building.options import BuildOptions
from medeval.datasets.building.sources import Plan, plan_nnunet, plan_pairs
from medeval.types import DatasetError, nearest
from medeval.types.views import Column, Table


def build_options(**given: Any) -> BuildOptions:
    """The options; ``DatasetError`` names the option that does not fit."""
    try:
        return BuildOptions.model_validate(given)
    except ValidationError as error:
        raise DatasetError("; ".join(said(e) for e in error.errors())) from error


def split_rule(by: str, test: float, seed: int) -> SplitRule:
    """``--split``, ``--test`` and ``--seed``."""
    if by not in ("patients", "source", "none"):
        raise DatasetError(f"--split {by!r}: {nearest(by, ('patients', 'source', 'none'))}")
    return SplitRule(by, test, seed)  # type: ignore[arg-type]


def make_plan(
    from_: str,
    root: Path,
    modality: Sequence[str],
    name: str | None,
    patient: str | None,
    images: str,
    masks: str,
    label: Sequence[str],
) -> Plan:
    """What would be built. Raises ``DatasetError``."""
    modalities = parse_modalities(modality)
    if from_ == "nnunet":
        return plan_nnunet(root, modalities, name, patient)
    if from_ == "nifti":
        return plan_pairs(root, modalities, name, patient, images, masks, parse_label_options(label))
    raise DatasetError(f"--from {from_!r}: {nearest(from_, ('nnunet', 'nifti'))}")


def parse_label_options(given: Sequence[str]) -> dict[str, Any] | None:
    """``["liver=1", "kidneys=2,3"]`` -> {liver: 1, kidneys: [2, 3]}; None for none."""
    labels: dict[str, Any] = {}
    for text in given:
        name, _, values = text.rpartition("=")
        numbers = [int(value) for value in values.split(",") if value.strip().isdigit()]
        if not name or len(numbers) != len(values.split(",")):
            raise DatasetError(
                f"--label {text!r}: write NAME=VALUE or NAME=VALUE,VALUE, for example --label liver=1"
            )
        labels[name] = numbers[0] if len(numbers) == 1 else numbers
    return labels or None


def planned_text(plan: Plan) -> str:
    """What would be built, for a dry run."""
    lines = []
    for number, source in enumerate(plan.sources):
        cases = sum(volume.source == number for volume in plan.volumes)
        part = f" ({source.split})" if source.split else ""
        lines.append(
            f"{source.name}{part}: {cases} cases, {', '.join(source.modalities)}, {len(source.classes)} classes"
        )
        lines += [f"  {class_id} {title}" for title, class_id in source.classes.values()]
    return "\n".join([*lines, *plan.notes])


def summary_text(done: Summary) -> str:
    """What was built, what each filter dropped, and what failed."""
    kept = done.counts.get("volumes", 0) - done.built + len(done.failures)
    lines = [f"{done.folder}: {done.counts.get('images', 0):,} images, {done.counts.get('masks', 0):,} masks of "
             f"{done.counts.get('volumes', 0):,} volumes ({max(kept, 0):,} kept from before)"]  # fmt: skip
    lines += [
        f"  {count:>12,} {name}"
        for name, count in done.counts.items()
        if name not in ("images", "masks", "volumes")
    ]
    lines += [f"note: {note}" for note in done.notes]
    lines += [f"failed: {key}: {reason}" for key, reason in sorted(done.failures.items())]
    return "\n".join([*lines, f"counts and reasons: {LOG}, {DROPPED}"])


def findings_table(found: Findings) -> Table:
    """One row a kind, with its first example."""
    rows = [
        {"kind": kind, "count": found.counts[kind], "meaning": meaning,
         "example": f"{found.examples[kind][0].where}: {found.examples[kind][0].what}"}
        for kind, meaning in found.kinds.items() if found.counts[kind]
    ]  # fmt: skip
    columns = [
        Column("kind"),
        Column("count", "count", "integer"),
        Column("meaning"),
        Column("example", "for example"),
    ]
    return Table("Findings", columns, rows)


@contextmanager
def findings_writer(path: Path | None) -> Iterator[Callable[[Finding], None]]:
    """A function that writes each finding as a JSON line; it does nothing without a path."""
    if path is None:
        yield lambda finding: None
        return
    with told(path), path.open("w", encoding="utf-8") as stream:
        yield lambda finding: print(json.dumps(vars(finding), ensure_ascii=False), file=stream)
