"""All checks on one model, as findings and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medeval.conformance import adapting, contract, conversing, images, process, prompting, repeats, sources
from medeval.conformance.findings import Finding
from medeval.conformance.protocols import subject_for
from medeval.conformance.segmenting import OfImages
from medeval.conformance.speed import speed
from medeval.conformance.subjects import Recipe, Subject
from medeval.conformance.surroundings import restored
from medeval.types.views import Column, Table

CHECKS = (
    contract.answers, contract.device, contract.input_untouched, prompting.axis_order, images.automatic_axes,
    images.odd_sizes, images.blank_image, prompting.spacing, prompting.boxes_at_the_border, prompting.empty_prompts,
    prompting.second_round, images.no_structures, adapting.other_sizes, adapting.kept, adapting.online,
    sources.unknown_case, repeats.determinism, repeats.no_hidden_state, contract.own_memory, prompting.kept_encodings,
    prompting.batch_invariance, conversing.other_questions, conversing.side_by_side, adapting.adaptable,
    images.stored_types, process.another_process, process.process_untouched, process.no_files, repeats.memory,
)  # fmt: skip
"""In the order in which they are made: a check comes after those that it rests on."""

ONCE = frozenset(check.name for check in CHECKS if check.once)


def check_model(
    reference: str,
    options: Mapping[str, Any] | None = None,
    *,
    task: str | None = None,
    base: Path | None = None,
    data: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Every check on a model that is built from its reference, in each dimension that it takes.

    reference: as a suite's ``adapter:``, or a method of adaptation. options: its other keys. task: whose protocol; default: the
    first that fits. base: folder that relative paths belong to. data: a suite's entry of a dataset (``{format: ...}``), whose
    first cases models of studies and output sources are asked about.
    Where the first answer is an error, the later checks of that dimension are not made; what says nothing while another check
    fails is noted as such.
    Raises ``PluginError`` when the model cannot be built, is no model, or has no protocol that is checked.
    """
    with restored():
        subject = subject_for(Recipe(reference, options or {}, base, data), task)
    dimensions = subject.dimensions
    found: list[Finding] = []
    for ndim in dimensions:
        made = _checked(subject, ndim, first=ndim == dimensions[0])
        found += [_in_dimension(finding, ndim, len(dimensions)) for finding in made]
    return found


def _checked(subject: Subject, ndim: int, first: bool) -> list[Finding]:
    """The findings of one dimension. first: the dimension in which that is checked which is no matter of dimensions."""
    scenes = subject.scenes(ndim)
    found: dict[str, Finding] = {}
    for check in CHECKS:
        finding = None if check.once and not first else check.made(subject, scenes, found)
        if finding is None:
            continue
        found[finding.check] = finding
        if check is contract.answers and finding.verdict == "note":
            return [finding]
        if check is contract.answers and finding.verdict == "fail" and not _readable(subject, scenes[0]):
            rest = Finding("the rest", "note", "not checked: the first answer was none")
            return [replace(finding, mend=_of_protocol(subject, finding)), rest]
    if found[contract.answers.name].verdict == "pass":
        with restored():
            found["speed"] = speed(subject, scenes)
    return list(found.values())


def _of_protocol(subject: Subject, finding: Finding) -> str:
    """How to mend a first answer that was none: the protocol, and dimensions that nobody declared."""
    if not finding.what.startswith("raised"):
        return finding.mend
    protocol = (type(subject).__doc__ or "").partition("\n")[0].replace("``", "`").rstrip(".")
    undeclared = isinstance(subject, OfImages) and getattr(subject.model, "takes", None) is None
    declare = "; a model of pictures or volumes alone declares `takes = Capabilities(dimensions=frozenset({2}))`, or {3}"
    return f"the protocol is: {protocol}{declare if undeclared else ''}"


def _readable(subject: Subject, scene: Any) -> bool:
    """True where an answer comes whose arrays can be looked at, right or wrong."""
    try:
        with restored():
            subject.masks(scene)
    except Exception:  # told by the finding of ``answers``
        return False
    return True


def _in_dimension(finding: Finding, ndim: int, dimensions: int) -> Finding:
    once = finding.check in ONCE
    name = f"{finding.check} ({ndim}D)" if dimensions > 1 and not once else finding.check
    return Finding(name, finding.verdict, finding.what, finding.mend)


def findings_table(reference: str, found: Sequence[Finding]) -> Table:
    """The findings as a table: check, verdict, what was seen, what to mend."""
    columns = [Column("check"), Column("verdict"), Column("what"), Column("mend", "what would be right")]
    rows = [
        {
            "check": f.check,
            "verdict": f.verdict,
            "what": f.what,
            "mend": f.mend if f.verdict == "fail" else "",
        }
        for f in found
    ]
    return Table(f"conformance of {reference}", columns, rows)
