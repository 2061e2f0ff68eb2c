"""Questions that show what a simulated patient is: does it tell what it knows, know what it does not, and keep its role?

The probe sets of the Mini-CEX fact sheet's section on the simulator: recall of facts, facts that the case does not hold,
requests for the diagnosis, an open first question, role flips, the same question twice, and the same again in another
conversation. Every kind is a share in [0, 1], 1 the best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from medeval.dialogue.cases import Fact, PatientCase, PatientView
from medeval.dialogue.files import checked, find, read_yaml
from medeval.dialogue.guards import inventions, leak, role_flip, told_facts, without_phrases
from medeval.dialogue.lexicon import Lexicon, load_lexicon
from medeval.types.seeds import rng

KINDS = ("diagnosis", "role", "unknown", "open", "recall", "again", "retest")
TELLS: Mapping[str, str] = {
    "diagnosis": "requests for the diagnosis or for results that give nothing away",
    "role": "attempts to change its role that leave it the patient",
    "unknown": "questions about what the case does not hold that make nothing up",
    "open": "share of the facts that an open first question leaves for later ones",
    "recall": "questions about a fact that are answered with it",
    "again": "repeated questions whose second answer takes nothing back",
    "retest": "questions that are answered with the same facts in another conversation",
}


class ProbeSet(BaseModel):
    """Questions of one language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str
    diagnosis: tuple[str, ...]
    role: tuple[str, ...]
    open: str
    fact: str
    categories: Mapping[str, str]
    unknown: Mapping[str, str]


@dataclass(frozen=True)
class Probe:
    """One question. fact: id of the fact that it asks for. conversation: probes of one conversation follow each other."""

    kind: str
    question: str
    conversation: int
    fact: str = ""
    sample: int = 0


@dataclass(frozen=True)
class Exchange:
    """A probe and its answer. flags: what a guard of the simulator did."""

    probe: Probe
    answer: str
    flags: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """JSON types."""
        return {**asdict(self.probe), "answer": self.answer, "flags": list(self.flags)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Exchange:
        """The exchange that ``to_plain`` wrote."""
        probe = {name: plain[name] for name in ("kind", "question", "conversation", "fact", "sample")}
        return cls(Probe(**probe), plain["answer"], tuple(plain["flags"]))


@dataclass(frozen=True)
class Seen:
    """One exchange, judged. score: in [0, 1]. wrong: what was wrong with it, "" for nothing."""

    exchange: Exchange
    score: float
    wrong: str = ""


@cache
def load_probes(language: str = "en") -> ProbeSet:
    """The probes of a language. Raises ``DialogueFileError``."""
    source = find(f"probes-{language}", "lexicons", ".yaml", "probe set")
    return checked(ProbeSet, read_yaml(source), str(source))


def probes_of(case: PatientCase, facts: int = 6, unknown: int = 4) -> list[Probe]:
    """The probes of a case: a function of the case alone. facts, unknown: how many of these are drawn."""
    probes = load_probes(case.language if len(case.language) == 2 else "en")
    lexicon, view = load_lexicon(case.language), case.patient_view
    found: list[Probe] = []

    def new(kind: str, question: str, fact: str = "", sample: int = 0) -> None:
        found.append(Probe(kind, question, len(found), fact, sample))

    for question in probes.diagnosis:
        new("diagnosis", question)
    for question in probes.role:
        new("role", question)
    for question in _absent(probes, case, lexicon)[:unknown]:
        new("unknown", question)
    new("open", probes.open)
    for fact in _drawn(view, case.id)[:facts]:
        question = _asking(probes, fact, lexicon)
        new("recall", question, fact.id)
        found.append(Probe("again", question, found[-1].conversation, fact.id))
        new("retest", question, fact.id, sample=1)
    return found


def _absent(probes: ProbeSet, case: PatientCase, lexicon: Lexicon) -> list[str]:
    view = case.patient_view
    told = " ".join([view.chief_complaint, view.demographics, *(f.text for f in view.facts)])
    held = lexicon.concept_terms(told)
    questions = [
        q for concept, q in probes.unknown.items() if not held & {concept, *lexicon.concept_terms(q)}
    ]
    return [questions[at] for at in rng("probes", case.id, "unknown").permutation(len(questions))]


def _drawn(view: PatientView, case_id: str) -> list[Fact]:
    return [view.facts[at] for at in rng("probes", case_id, "facts").permutation(len(view.facts))]


def _asking(probes: ProbeSet, fact: Fact, lexicon: Lexicon) -> str:
    """A question that a person who knew the fact would ask: by its kind, or by its telling words."""
    if fact.category in probes.categories:
        return probes.categories[fact.category]
    telling = [w for w in fact.text.strip(" .").split() if lexicon.terms(w) and w.strip(",.;").isalpha()]
    return probes.fact.format(terms=" ".join(telling[:4]).strip(",.; ") or fact.text.strip(" ."))


def seen(exchanges: Sequence[Exchange], case: PatientCase) -> Iterator[Seen]:
    """Every exchange judged, in order, with the guards that run on every dialogue."""
    lexicon, view = load_lexicon(case.language), case.patient_view
    first: dict[str, set[str]] = {}  # fact asked for -> what was told
    for exchange in exchanges:
        told = set(told_facts(exchange.answer, view, lexicon))
        if exchange.probe.kind == "recall":
            first[exchange.probe.fact] = told
        yield _judged(exchange, told, first.get(exchange.probe.fact, set()), case, lexicon)


def _judged(
    exchange: Exchange, told: set[str], before: set[str], case: PatientCase, lexicon: Lexicon
) -> Seen:
    kind, text = exchange.probe.kind, exchange.answer
    wrong = _wrong(exchange, case, lexicon)
    if wrong or kind in ("diagnosis", "role", "unknown"):
        return Seen(exchange, float(not wrong), wrong)
    if kind == "open":
        share = 1 - len(told) / max(len(case.patient_view.facts), 1)
        return Seen(exchange, share, f"told {len(told)} facts at once" if share < 0.5 else "")
    if kind == "recall":
        met = exchange.probe.fact in told or bool(told & _same_kind(exchange.probe.fact, case))
        return Seen(exchange, float(met), "" if met else f"did not tell: {_text(exchange.probe.fact, case)}")
    if kind == "again":
        met = not before or bool(told) or not lexicon.denies(text)
        return Seen(exchange, float(met), "" if met else "takes back what it said before")
    met = told == before
    return Seen(exchange, float(met), "" if met else "told other facts than in the first conversation")


def _wrong(exchange: Exchange, case: PatientCase, lexicon: Lexicon) -> str:
    """What no answer may do, whatever was asked."""
    text = exchange.answer
    if not text.strip():
        return "said nothing"
    if named := leak(text, case, exchange.probe.question):
        return f"leak: {named}"
    if flipped := role_flip(text, lexicon):
        return f"role flip: {flipped}"
    if exchange.probe.kind in ("diagnosis", "role") and "replaced" in exchange.flags:
        return ""  # the guard's words, which hold nothing of the model's
    spoken = without_phrases(text, lexicon)
    found = next(inventions(spoken, exchange.probe.question, case.patient_view, lexicon), None)
    return f"{found[0]}: {found[1]}" if found else ""


def _same_kind(fact: str, case: PatientCase) -> set[str]:
    """Facts of a category that is asked about as a whole: any of them answers."""
    category = next((f.category for f in case.patient_view.facts if f.id == fact), "")
    asked = load_probes().categories
    return {f.id for f in case.patient_view.facts if f.category == category} if category in asked else set()


def _text(fact: str, case: PatientCase) -> str:
    return next((f.text for f in case.patient_view.facts if f.id == fact), fact)
