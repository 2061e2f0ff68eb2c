"""Which cases of a dataset are kept, in which order, and whose they are. Functions of the cases' ids and metadata."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

from medeval.types import CaseInfo, DatasetError, digest, nearest

COLUMN = "column:"
_PART = re.compile(r"(\d+)/(\d+)")


def check_patient_rule(rule: str | None) -> str | None:
    """Validator of ``patient_id``: a regular expression that compiles, or ``column:NAME``."""
    if rule is not None and not rule.startswith(COLUMN):
        try:
            re.compile(rule)
        except re.error as error:
            raise ValueError(
                f"{rule!r} is no regular expression ({error}); or write `{COLUMN}NAME`"
            ) from error
    return rule


def patient_of(case: CaseInfo, rule: str, where: str) -> str:
    """The patient of a case by ``patient_id``: first group of the expression (else its whole match), or a column.

    Raises ``DatasetError`` when the rule finds none: a patient left out would count as independent.
    """
    if rule.startswith(COLUMN):
        name = rule.removeprefix(COLUMN)
        value = case.metadata.get(name)
        if value is None or value == "":
            raise DatasetError(
                f"{where}: patient_id: case {case.id!r} has no value for column {name!r}; {nearest(name, case.metadata)}"
            )
        return str(value)
    match = re.search(rule, case.id)
    found = next((group for group in match.groups() if group), match.group()) if match else ""
    if not found:
        raise DatasetError(f"{where}: patient_id: {rule!r} finds nothing in case id {case.id!r}")
    return found


def selected(cases: Sequence[CaseInfo], select: Mapping[str, Any], where: str) -> list[CaseInfo]:
    """The cases that match every entry of ``select``.

    ``id`` takes globs; other keys (``patient`` or a metadata name) take a value or a list of values, compared as text.
    Raises ``DatasetError`` for a key that no case has, an exact id that does not exist, or an empty result.
    """
    kept = list(cases)
    for key, wanted in select.items():
        values = [str(v) for v in (wanted if isinstance(wanted, list | tuple) else [wanted])]
        before, kept = kept, _matching(kept, cases, key, values, where)
        if not kept:
            raise DatasetError(
                f"{where}: select {{{key}: {wanted!r}}} leaves none of {len(before)} cases; "
                f"{nearest(values[0] if values else '', _known(before, key))}"
            )
    return kept


def _matching(
    cases: Sequence[CaseInfo], everything: Sequence[CaseInfo], key: str, values: Sequence[str], where: str
) -> list[CaseInfo]:
    if key == "id":
        known = {case.id for case in everything}
        for value in values:
            if value not in known and not re.search(r"[*?\[]", value):
                raise DatasetError(
                    f"{where}: select names the id {value!r}, which is not there; {_some(value, known)}"
                )
        return [c for c in cases if any(c.id == v or fnmatch.fnmatchcase(c.id, v) for v in values)]
    if not any(_value(case, key) is not None for case in everything):
        names = {"id", "patient"}.union(*(case.metadata for case in everything))
        raise DatasetError(f"{where}: select: no case has {key!r}; {nearest(key, names)}")
    return [c for c in cases if str(_value(c, key)) in values]


def _value(case: CaseInfo, key: str) -> Any:
    return case.patient if key == "patient" else case.metadata.get(key)


def _known(cases: Sequence[CaseInfo], key: str) -> list[str]:
    values = {case.id if key == "id" else str(_value(case, key)) for case in cases}
    return sorted(values)[:20]


def _some(name: str, known: set[str]) -> str:
    return (
        nearest(name, known)
        if len(known) <= 50
        else f"{len(known)} ids are known, for example {min(known)!r}"
    )


def shuffled(cases: Sequence[CaseInfo], seed: int) -> list[CaseInfo]:
    """Cases in an order drawn by the seed. A case's rank depends on its id alone: more cases do not reorder the others."""
    return sorted(cases, key=lambda case: digest("order", seed, case.id))


def check_split(split: str | None) -> str | None:
    """Validator of ``split``: ``NAME``, ``K/N`` or ``NAME K/N`` with 1 <= K <= N."""
    if split is not None:
        _, part = parse_split(split)
        if part and not 1 <= part[0] <= part[1]:
            raise ValueError(f"split {split!r}: K/N needs 1 <= K <= N, for example 1/5")
    return split


def parse_split(split: str | None) -> tuple[str, tuple[int, int] | None]:
    """``"train 2/5"`` -> ("train", (2, 5)); a missing name is "", a missing part None."""
    words = (split or "").split()
    part = _PART.fullmatch(words[-1]) if words else None
    return " ".join(words[:-1] if part else words), (int(part[1]), int(part[2])) if part else None


def keep_split(cases: Sequence[CaseInfo], split: str | None, seed: int, where: str) -> list[CaseInfo]:
    """The cases of a split: those whose metadata ``split`` has its name, then the k-th of n parts of the patients.

    Patients (cases, where patients are unknown) are ranked by a hash of seed and patient and cut into n parts of nearly
    equal size: a patient is never cut in two, and the order of the files does not matter.
    """
    name, part = parse_split(split)
    kept = list(cases)
    if name:
        kept = [case for case in cases if case.metadata.get("split") == name]
        if not kept:
            known = {str(case.metadata["split"]) for case in cases if "split" in case.metadata}
            raise DatasetError(f"{where}: no case belongs to split {name!r}; {nearest(name, known)}")
    if part is None:
        return kept
    k, n = part
    owners = sorted({_owner(case) for case in kept}, key=lambda owner: digest("split", seed, owner))
    mine = set(owners[len(owners) * (k - 1) // n : len(owners) * k // n])
    if not mine:
        raise DatasetError(
            f"{where}: part {k}/{n} is empty: there are only {len(owners)} patients (or cases)"
        )
    return [case for case in kept if _owner(case) in mine]


def _owner(case: CaseInfo) -> str:
    return f"case {case.id}" if case.patient is None else f"patient {case.patient}"
