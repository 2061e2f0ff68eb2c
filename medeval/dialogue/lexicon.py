"""A language's words: what questions are about, what findings are called, and what a patient says. Data, one YAML a language."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property, lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medeval.dialogue.files import checked, find, read_yaml
from medeval.dialogue.text import Pattern, Patterns, fold, sentences, stem, words

PHRASES = (
    "unknown", "none", "diagnosis", "role", "physical", "unasked_order", "statement", "advice", "open_done", "narrow",
    "silent", "closing", "anxious", "rambling",
)  # fmt: skip


class Lexicon(BaseModel):
    """One language. Patterns are those of ``medeval.dialogue.text.Pattern``."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    __hash__ = object.__hash__  # by identity: it is loaded once, and its mappings have no hash

    language: str
    imperatives: frozenset[str] = Field(description="Words that begin a request without a question mark.")
    denials: frozenset[str] = Field(description="Words that make a statement a denial.")
    negations: frozenset[str] = Field(description="Words that turn advice into its opposite.")
    stopwords: frozenset[str] = Field(description="Words that say nothing of a fact.")
    topics: Mapping[str, tuple[str, ...]] = Field(description="Topic -> patterns of questions about it.")
    attributes: Mapping[str, tuple[str, ...]] = Field(
        description="Topic -> words of statements that answer it."
    )
    examinations: tuple[str, ...]
    orders: tuple[str, ...]
    advice: tuple[str, ...]
    closing: tuple[str, ...]
    judging_words: tuple[str, ...] = ()
    compounds: tuple[str, ...] = Field(
        (), description="Several words that are one thing, such as blood pressure."
    )
    concepts: Mapping[str, tuple[str, ...]] = Field(description="Concept -> words for it, lay and clinical.")
    phrases: Mapping[str, tuple[str, ...] | str] = Field(description="What the rule-based patient says.")
    role_flip: tuple[str, ...] = Field(description="Patterns of what only a doctor or a machine would say.")

    @field_validator("topics", mode="after")
    @classmethod
    def _parse(cls, topics: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        for patterns in topics.values():
            Patterns(patterns)
        return topics

    @field_validator("examinations", "orders", "advice", "closing", "role_flip")
    @classmethod
    def _parse_all(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        Patterns(patterns)
        return patterns

    @field_validator("phrases")
    @classmethod
    def _complete(cls, phrases: Mapping[str, tuple[str, ...] | str]) -> Mapping[str, tuple[str, ...] | str]:
        missing = [name for name in PHRASES if not isinstance(phrases.get(name), tuple) or not phrases[name]]
        if missing:
            raise ValueError(f"needs a list of sentences for {', '.join(missing)}")
        return phrases

    @cached_property
    def rules(self) -> Mapping[str, Patterns]:
        """Topic -> its patterns, parsed; also examination, order, advice, closing and role_flip."""
        named = {
            "examination": self.examinations,
            "order": self.orders,
            "advice": self.advice,
            "closing": self.closing,
        }
        return {
            name: Patterns(p) for name, p in {**self.topics, **named, "role_flip": self.role_flip}.items()
        }

    @cached_property
    def attribute_rules(self) -> Mapping[str, Pattern]:
        """Topic -> pattern of statements that answer it."""
        return {name: Pattern.parse("|".join(options)) for name, options in self.attributes.items()}

    @cached_property
    def _concept_of(self) -> Mapping[str, str]:
        return {
            stem(fold(word)): name for name, several in self.concepts.items() for word in (*several, name)
        }

    @cached_property
    def _stop(self) -> frozenset[str]:
        return frozenset(fold(word) for word in self.stopwords)

    def terms(self, text: str) -> frozenset[str]:
        """What a text is about: stems of its content words, concepts in the place of their words."""
        return _terms(self, text)

    def _read_terms(self, text: str) -> frozenset[str]:
        return frozenset(term for term in map(self._term, self._joined(text)) if term)

    def concept_terms(self, text: str) -> frozenset[str]:
        """The concepts alone, such as ``fever``."""
        return frozenset(
            name for word in self._joined(text) if (name := self._concept_of.get(stem(word))) is not None
        )

    def denies(self, sentence: str) -> bool:
        """True when a sentence holds a word of denial."""
        return bool(self.denials.intersection(words(sentence)))

    def said(self, name: str, number: int) -> str:
        """One of the phrases of a kind; ``number`` chooses, so that a repeated phrase varies."""
        options = self.phrases[name]
        return options if isinstance(options, str) else options[number % len(options)]

    def asked(self, text: str) -> list[str]:
        """The sentences of a doctor's text that ask or request something."""
        found = []
        for sentence in sentences(text):
            first = words(sentence)[:3]
            if sentence.rstrip("\"')*_ ").endswith(("?", "？", "؟")) or self.imperatives.intersection(first):
                found.append(sentence)
        return found

    def topics_of(self, sentence: str) -> tuple[str, ...]:
        """Topics of one question, in the lexicon's order."""
        return tuple(name for name in self.topics if self.rules[name].matches(sentence))

    def _joined(self, text: str) -> tuple[str, ...]:
        """The words, compounds as one."""
        folded = fold(text)
        for compound in self.compounds:
            folded = folded.replace(compound, compound.replace(" ", ""))
        return words(folded)

    def _term(self, word: str) -> str:
        if word in self._stop or (word.isascii() and len(word) < 3 and not word.isdigit()):
            return ""
        return self._concept_of.get(stem(word), stem(word))


@lru_cache(maxsize=65536)
def _terms(lexicon: Lexicon, text: str) -> frozenset[str]:
    return lexicon._read_terms(text)


@cache
def load_lexicon(language: str = "en", base: Path | None = None) -> Lexicon:
    """The lexicon of a language, or of the YAML file at a path.

    Raises ``DialogueFileError`` naming the file and key.
    """
    source = find(language, "lexicons", ".yaml", "lexicon", base)
    return checked(Lexicon, read_yaml(source), str(source))
