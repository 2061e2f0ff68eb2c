"""The words by which the rule-based judge knows manner, reasoning and danger; one YAML a language, apart from the patient's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from medeval.dialogue.files import checked, find, read_yaml
from medeval.dialogue.text import Patterns, fold

RULES = ("warm", "rude", "reasoning", "unsafe", "reported")


class JudgingLexicon(BaseModel):
    """Patterns (``medeval.dialogue.text.Pattern``) of a doctor's sentences. reported: what is said to be the patient's word."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    language: str
    warm: tuple[str, ...]
    rude: tuple[str, ...]
    reasoning: tuple[str, ...]
    unsafe: tuple[str, ...]
    reported: tuple[str, ...]
    jargon: frozenset[str]

    @field_validator(*RULES)
    @classmethod
    def _parse(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        Patterns(patterns)
        return patterns

    @cached_property
    def rules(self) -> Mapping[str, Patterns]:
        """Name -> its patterns, parsed."""
        return {name: Patterns(getattr(self, name)) for name in RULES}

    @cached_property
    def jargon_set(self) -> frozenset[str]:
        """Folded words that a patient does not know."""
        return frozenset(map(fold, self.jargon))


@cache
def load_judging(language: str = "en", base: Path | None = None) -> JudgingLexicon:
    """The words of a language, or of the YAML file at a path. Raises ``DialogueFileError``."""
    name = language if "." in language or "/" in language else f"judging-{language}"
    source = find(name, "lexicons", ".yaml", "judging lexicon", base)
    return checked(JudgingLexicon, read_yaml(source), str(source))
