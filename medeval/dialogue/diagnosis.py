"""Is a named diagnosis the reference? By normalised name, then synonyms; ``diagnosis_judge`` asks a model for the rest.

One ranked list is read off the doctor's final turn first, so that ``A or B`` is two entries and cannot pass as one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Literal

from medeval.dialogue.cases import Diagnosis
from medeval.dialogue.files import packaged, read_yaml
from medeval.dialogue.text import fold, stem, words

Verdict = Literal["same", "accepted", "narrower", "broader", "different"]
Subtype = Literal["strict", "narrower", "broader"]
MOST = 10  # entries of a list that count
_SHORT = 5  # letters up to which a synonym is taken for an abbreviation

_FINAL = re.compile(
    r"^[\s*_#>]*(?:my\s+|the\s+)?(?:final\s+diagnos[ie]s|diagnosis\s+ready|final\s+answer|ranked\s+differential)\s*(?:is|are)?[ \t*_]*[:\-][ \t*_]*(.*)$",
    re.IGNORECASE | re.MULTILINE,
)  # fmt: skip
_ENTRY = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])\s*(.+?)\s*$")
_REASON = re.compile(
    r"\s+(?:[-–—]|because|due to the|given|based on|as (?:shown|supported))\s+.*$|\s*[:;]\s.*$", re.IGNORECASE
)
_JSON = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL)
_HEDGE = re.compile(
    r"\b(possibl[ey]|probabl[ey]|likely|most likely|suspected|presumed|presumptive|suspicion of|consistent with|"
    r"a case of|diagnosis of|i think|it is|you have|differential includes)\b", re.IGNORECASE,
)  # fmt: skip
_QUALIFIERS = frozenset(map(stem, ["acute", "chronic", "subacute", "left", "right", "bilateral", "unilateral", "severe", "mild", "moderate", "early", "late", "primary", "idiopathic", "uncomplicated", "recurrent", "new", "onset", "classic", "typical", "stage", "grade", "type", "disease", "disorder", "syndrome", "condition", "infection", "the", "a", "an", "of", "with", "and", "in", "due", "to", "secondary", "active", "advanced", "localized", "localised", "generalized", "generalised"]))  # fmt: skip
_KEPT = frozenset(map(stem, ["disease", "disorder", "syndrome", "condition", "infection"]))
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4"}


def is_final(text: str) -> bool:
    """True when a doctor's turn gives its final diagnosis in one of the forms that are read."""
    return bool(_FINAL.search(text)) or _from_json(text) is not None


def ranked_list(text: str) -> tuple[str, ...]:
    """The doctor's ranked diagnoses, the leading one first; () when none is given.

    Read: a fenced JSON object with ``differential`` (or ``diagnosis``), else what follows ``FINAL DIAGNOSIS:`` (also
    ``DIAGNOSIS READY:``, ``Final answer:``), on that line or as a list below it. At most ``MOST`` entries, each once.
    """
    if (named := _from_json(text)) is not None:
        return _unique(named)
    found = list(_FINAL.finditer(text))
    if not found:
        return ()
    last = found[-1]
    entries: list[str] = []
    for number, line in enumerate([last.group(1).strip(" *_"), *text[last.end() :].splitlines()]):
        entry = _ENTRY.match(line)
        if entry:
            entries += _split(entry.group(1))
        elif line.strip() and (entries or number):
            if not entries:  # a list without numbers: its first line
                entries += _split(line)
            break
        elif line.strip():
            entries += _split(line)
    return _unique(entries)


def _from_json(text: str) -> list[str] | None:
    for block in reversed(_JSON.findall(text)):
        try:
            found = json.loads(block)
        except json.JSONDecodeError:
            continue
        listed = found.get("differential", found.get("diagnosis")) if isinstance(found, dict) else None
        if isinstance(listed, str):
            return [listed]
        if isinstance(listed, list) and all(isinstance(entry, str) for entry in listed):
            return listed
    return None


def _split(text: str) -> list[str]:
    bare = _REASON.sub("", re.sub(r"[*_`]", "", text)).strip(" .")
    return [
        part.strip(" .")
        for part in re.split(r"\s+(?:or|versus|vs\.?)\s+|\s*;\s*|,\s*(?:or\s+)?(?=[A-Z])", bare)
        if part.strip(" .")
    ]


def _unique(entries: Iterable[str]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for entry in entries:
        kept.setdefault(fold(entry), entry.strip())
    return tuple(name for name in kept.values() if name)[:MOST]


def normalised(name: str) -> frozenset[str]:
    """A diagnosis as the set of its telling stems: hedges, laterality, course, generic nouns and word order aside.

    A bare generic noun ("infection") keeps itself, so that it equals nothing else.
    """
    bare = _HEDGE.sub(" ", name)
    stems = [
        stem(_ROMAN.get(word, word).removesuffix("'s").replace("'", ""))
        for word in words(bare.replace("-", " "))
    ]
    telling = frozenset(s for s in stems if s not in _QUALIFIERS)
    return telling or frozenset(s for s in stems if s in _KEPT)


@cache
def _groups() -> Mapping[frozenset[str], int]:
    """Normalised name -> number of its group of synonyms."""
    table = read_yaml(packaged("lexicons", ".yaml")["synonyms"])
    return {normalised(name): number for number, group in enumerate(table["groups"]) for name in group}


@cache
def _named_groups() -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, read_yaml(packaged("lexicons", ".yaml")["synonyms"])["groups"]))


def spoken_names(reference: Diagnosis) -> tuple[str, ...]:
    """What the reference may be called in talk: its names, these without course and side, and synonyms of the table.

    Of the table's names short ones are left out ("CAP"): as words they mean other things.
    """
    groups = _groups()
    known = {groups[form] for name in reference.names for form in _forms(name) if form in groups}
    table = [name for number in sorted(known) for name in _named_groups()[number] if len(name) > _SHORT]
    bare = [
        " ".join(w for w in words(name) if stem(w) not in _QUALIFIERS - _KEPT) for name in reference.names
    ]
    found = {fold(name): name for name in reversed([*reference.names, *bare, *table]) if name}
    return tuple(reversed(found.values()))


def _forms(name: str) -> list[frozenset[str]]:
    """A name, and what stands in its parentheses by itself."""
    inside = re.findall(r"\(([^()]+)\)", name)
    return [form for form in map(normalised, [re.sub(r"\([^()]*\)", " ", name), *inside]) if form]


def compare(answer: str, reference: Diagnosis) -> Verdict:
    """What an answer is to the reference, by names alone.

    same: equal after normalisation, or synonyms. accepted: one of the case's accepted differentials. broader: one of its
    too vague terms, or a part of its name. narrower: the whole name and more.
    """
    return compared(answer, reference)[0]


def compared(answer: str, reference: Diagnosis) -> tuple[Verdict, Literal["name", "synonym"]]:
    """The same, and what decided: the case's own name, or a synonym (the case's ``also``, ICD codes there, or the table)."""
    forms = _forms(answer)
    if any(form in _forms(reference.name) for form in forms):
        return "same", "name"
    if _meets(forms, reference.names):
        return "same", "synonym"
    if _meets(forms, reference.accepted):
        return "accepted", "synonym"
    if any(form in [f for name in reference.broader for f in _forms(name)] for form in forms):
        return "broader", "synonym"
    whole = [form for name in reference.names for form in _forms(name)]
    if any(w < form for form in forms for w in whole):
        return "narrower", "name"
    return ("broader" if any(form < w for form in forms for w in whole) else "different"), "name"


def _meets(forms: Sequence[frozenset[str]], names: Iterable[str]) -> bool:
    """True when a form is one of these names, or stands with one in a group of synonyms."""
    groups = _groups()
    wanted = [form for name in names for form in _forms(name)]
    known = {groups[form] for form in wanted if form in groups}
    return any(form in wanted or groups.get(form, -1) in known for form in forms)


def rank_of(answers: Sequence[str], reference: Diagnosis, subtype: Subtype = "strict") -> int | None:
    """Rank (from 1) of the first right answer, None when none is.

    subtype: strict: only the same or an accepted diagnosis; narrower: also a more specific one; broader: also a vaguer
    one (CRAFT-MD's rule: reference narrower than the answer = correct).
    """
    return rank_in([compare(answer, reference) for answer in answers], subtype)


def rank_in(verdicts: Sequence[Verdict], subtype: Subtype = "strict") -> int | None:
    """The same from verdicts."""
    right = {"same", "accepted"} | ({subtype} if subtype != "strict" else set())
    return next((rank for rank, verdict in enumerate(verdicts, start=1) if verdict in right), None)
