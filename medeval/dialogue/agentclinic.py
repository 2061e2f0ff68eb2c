"""AgentClinic's ``OSCE_Examination`` (arXiv 2405.07960) as a patient case: prose split into facts, spoken by the patient.

Its records have no plan, red flags or harms: rubric items that need them are not applicable there. A statement that names
the diagnosis never becomes a fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from medeval.dialogue.files import DialogueFileError
from medeval.dialogue.text import holds_phrase, sentences, words

ROOT = "OSCE_Examination"
_EMPTY = re.compile(
    r"^(information|no (additional|further|other)|not (specified|provided|available)|n/?a|none (reported|provided|specified)|"
    r"unremarkable)\b.*|^none\.?$", re.IGNORECASE,
)  # fmt: skip
_PARENS = re.compile(r"\s*\(([^()]*)\)")
_CHILD = re.compile(
    r"newborn|infant|\b\d+[- ](?:day|week|month)s?[- ]old|\b(?:[1-9]|1[0-1])[- ]years?[- ]old", re.IGNORECASE
)
_DENIAL = re.compile(r"^(?:the )?(?:patient|he|she|mother|infant)?\s*(?:also\s+|further\s+)?den(?:ies|y|ied)\s+(?:having\s+|experiencing\s+|any\s+)*", re.IGNORECASE)  # fmt: skip
_SUBJECT = r"(?:the patient|patient|he|she)"
_SPOKEN = [  # the record's third person -> the patient's own; in this order
    (rf"\b{_SUBJECT} (?:also |further |additionally )?(?:reports|notes|states|mentions|describes|says|cites|recalls) that\b", ""),
    (rf"\b{_SUBJECT} (?:also |further |additionally )?(?:reports|notes|mentions|describes|cites)(?: experiencing| having| feeling)?\b", "I have had"),
    (rf"\b{_SUBJECT} (?:presents?|presented) (?:with|for)(?: complaints of)?\b", "I have come with"),
    (rf"\b{_SUBJECT} (?:also )?(?:complains|complained) of\b", "I have"),
    (rf"\b{_SUBJECT} denies(?: any| having| experiencing)?\b", "I have not had any"),
    (rf"\b{_SUBJECT} has\b", "I have"), (rf"\b{_SUBJECT} is\b", "I am"), (rf"\b{_SUBJECT} was\b", "I was"),
    (rf"\b{_SUBJECT} does\b", "I do"), (rf"\b{_SUBJECT}'s\b", "my"), (rf"\b{_SUBJECT}\b", "I"),
    (r"\bhis\b|\bher\b", "my"), (r"\bhim\b", "me"), (r"\band has\b", "and have"), (r"\band reports\b", "and have had"),
]  # fmt: skip
_HISTORY = (
    ("medication", re.compile(r"\b(medications?|taking|takes|on (?:\w+ ){0,3}(?:pills|therapy|tablets)|prescribed|regimen|dosage|daily dose)\b", re.I)),
    ("allergy", re.compile(r"\ballerg", re.I)),
    ("family", re.compile(r"\b(famil(?:y|ial)|mother|father|sister|brother|parents?|siblings?|uncle|aunt)\b", re.I)),
    ("social", re.compile(r"\b(smok\w*|alcohol|drinks|drug use|works as|lives (?:with|alone)|sexually active|travel\w*)\b", re.I)),
)  # fmt: skip


def is_agentclinic(entry: Any) -> bool:
    """True for a record of AgentClinic's MedQA-style files."""
    return isinstance(entry, Mapping) and ROOT in entry


def as_case(entry: Mapping[str, Any], case_id: str, where: str) -> dict[str, Any]:
    """One record as the plain form of a ``PatientCase``.

    Raises ``DialogueFileError`` naming the key that is missing.
    """
    record = entry[ROOT]
    actor, name = _part(record, "Patient_Actor", where), str(_part(record, "Correct_Diagnosis", where))
    symptoms = _part(actor, "Symptoms", where)
    demographics = str(actor.get("Demographics", ""))
    names = _names(name)
    known = set(map(str.casefold, names))
    child = _CHILD.search(demographics) is not None
    kept: dict[str, dict[str, Any]] = {}
    withheld: list[str] = []
    for category, text in _statements(actor, symptoms):
        spoken = text if child else in_first_person(text)
        if any(holds_phrase(text, diagnosis) for diagnosis in names) or text.casefold() in known:
            withheld.append(text)
        else:
            kept.setdefault(" ".join(words(spoken)), {"category": category, "text": spoken})
    objective = str(record.get("Objective_for_Doctor", ""))
    complaint = str(_part(symptoms, "Primary_Symptom", where))
    return {
        "id": case_id,
        "source": "AgentClinic (MedQA), arXiv 2405.07960",
        "objective": "" if any(holds_phrase(objective, n) for n in names) else objective,
        "demographics": demographics,
        "chief_complaint": complaint,
        "facts": list(kept.values()),
        "examination": dict(_flat(record.get("Physical_Examination_Findings"))),
        "tests": dict(_flat(record.get("Test_Results"))),
        "diagnosis": {"name": names[0], "also": list(names[1:])},
        "withheld": withheld,
    }


def in_first_person(text: str) -> str:
    """A statement of the record as the patient would say it."""
    for pattern, spoken in _SPOKEN:
        text = re.sub(pattern, spoken, text, flags=re.IGNORECASE)
    text = re.sub(r"\s+", " ", text).strip()
    return text[:1].upper() + text[1:]


def _part(record: Mapping[str, Any], key: str, where: str) -> Any:
    if not isinstance(record, Mapping) or record.get(key) in (None, ""):
        raise DialogueFileError(f"{where}: no {key!r} in this AgentClinic record")
    return record[key]


def _names(name: str) -> tuple[str, ...]:
    """``Benign Paroxysmal Positional Vertigo (BPPV)`` -> the name and the abbreviation."""
    inside = [part.strip() for part in _PARENS.findall(name) if part.strip()]
    return (_PARENS.sub("", name).strip(), *inside)


def _statements(actor: Mapping[str, Any], symptoms: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for text in _sentences(actor.get("History")):
        yield _category("present", text), text
    for text in _sentences(symptoms.get("Secondary_Symptoms")):
        yield "present", text
    for text in _sentences(actor.get("Past_Medical_History")):
        yield _category("past", text), text
    for key in ("Current_Medications", "Medications"):
        for text in _sentences(actor.get(key)):
            yield "medication", text
    for text in _sentences(actor.get("Social_History")):
        yield _category("social", text), text
    for text in _sentences(actor.get("Review_of_Systems")):
        yield from ((("negative", d) for d in _denied(text)) if _DENIAL.match(text) else [("review", text)])


def _category(default: str, text: str) -> str:
    if default == "present":  # the present history stays whole, whatever it touches on
        return default
    return next((name for name, pattern in _HISTORY if pattern.search(text)), default)


def _sentences(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from (f"{_title(key)}: {text}" for text in _sentences(part))
    elif isinstance(value, list):
        for part in value:
            yield from _sentences(part)
    elif value is not None:
        yield from (text for text in sentences(str(value)) if not _EMPTY.match(text))


def _denied(text: str) -> Iterator[str]:
    """``Denies fever, cough, or recent travel.`` -> ``No fever``, ``No cough``, ``No recent travel``."""
    rest = _DENIAL.sub("", text).rstrip(". ")
    for part in re.split(r",\s*(?:or |and )?|\s+or\s+", rest):
        bare = re.sub(r"^(?:any|of|and|or|the)\s+", "", part.strip(), flags=re.IGNORECASE)
        if bare:
            yield f"No {bare}"


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Nested findings -> (name with " / ", result); the endings Findings and Results say nothing."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            last = _title(key)
            inner = (
                path
                if last.lower() in ("findings", "finding", "results", "result") and path
                else f"{path} / {last}"
                if path
                else last
            )
            yield from _flat(part, inner)
    elif isinstance(value, list):
        yield path, {"result": "; ".join(map(str, value))}
    elif value not in (None, ""):
        yield path, {"result": str(value)}


def _title(key: str) -> str:
    return str(key).replace("_", " ").strip()
