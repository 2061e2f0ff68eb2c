"""What a rater sees: dialogues in an order drawn for this rater, names of models blotted out, and the items to rate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from medeval.dialogue.annotation.key import drawn
from medeval.dialogue.fencing import shown
from medeval.dialogue.files import DialogueFileError
from medeval.dialogue.rubric import SCALES, CriteriaRubric, Item, ItemRubric, Scale, SignedCriterion
from medeval.dialogue.turns import Turn
from medeval.types.seeds import rng

_NAME = re.compile(r"[\w][\w .-]{0,39}")


def rater_name(given: str) -> str:
    """The name, which becomes a file's. Raises ``DialogueFileError`` for one that cannot."""
    if not _NAME.fullmatch(given) or given.endswith((".", " ")):
        raise DialogueFileError(
            f"rater {given!r}: up to 40 letters, digits, spaces, dots, dashes are a rater's name, and it begins with a letter or digit"
        )
    return given


@dataclass(frozen=True)
class Work:
    """All that one rater is asked.

    dialogues: id -> turns. truth: id -> lines about the case that are shown with the items that need them. tokens: id ->
    what the page calls the dialogue; drawn anew where none are given.
    """

    rater: str
    rubric: ItemRubric | CriteriaRubric
    dialogues: Mapping[str, Sequence[Turn]]
    truth: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rater_name(self.rater)
        object.__setattr__(self, "tokens", drawn(self.dialogues, self.tokens))
        if not self.dialogues:
            raise DialogueFileError("there are no dialogues to rate")
        if isinstance(self.rubric, CriteriaRubric) and self.rubric.from_case:
            raise DialogueFileError(
                f"rubric {self.rubric.name!r} takes its criteria from each case; people rate on a rubric with items or "
                "criteria of its own"
            )

    @property
    def order(self) -> list[str]:
        """Dialogue ids as this rater sees them: another order for each rater, always the same for one."""
        ids = sorted(self.dialogues)
        return [ids[at] for at in rng("annotation", self.rater).permutation(len(ids))]

    @property
    def parts(self) -> tuple[Item | SignedCriterion, ...]:
        """What is rated."""
        return self.rubric.items if isinstance(self.rubric, ItemRubric) else self.rubric.criteria

    def scale(self, item: str) -> Scale:
        """An item's scale. Raises ``KeyError`` for an item that the rubric has not."""
        part = {part.id: part for part in self.parts}[item]
        return part.scale if isinstance(part, Item) else SCALES["binary"]

    def dialogue(self, token: Any) -> str | None:
        """The id of the dialogue that the page calls so, None for anything else."""
        return self._ids.get(token) if isinstance(token, str) else None

    @cached_property
    def _ids(self) -> dict[str, str]:
        return {self.tokens[name]: name for name in self.dialogues}

    def blinded(self, marks: Mapping[str, Any]) -> dict[str, Any]:
        """What is known of dialogues by id, by token; what is none of these dialogues stays behind."""
        return {self.tokens[name]: found for name, found in marks.items() if name in self.dialogues}

    def refusal(self, token: Any, item: Any, score: Any, na: Any) -> str:
        """Why this is no rating; "" when it is one. A score of None that is not NA takes a rating back."""
        if self.dialogue(token) is None:
            return f"no dialogue {token!r}"
        if not isinstance(item, str) or item not in {part.id for part in self.parts}:
            return f"no item {item!r}"
        scale = self.scale(item)
        if not isinstance(na, bool) or (na and score is not None):
            return "na is true or false, and has no score"
        if na and not self._may_be_na(item):
            return f"item {item!r} always applies"
        if score is not None and (isinstance(score, bool) or score not in scale.values):  # True == 1
            return f"score {score!r} is not one of {', '.join(map(str, scale.values))}"
        return ""

    def to_plain(self) -> dict[str, Any]:
        """What the page gets. No model, no case id, no sample."""
        dimensions = self.rubric.dimensions if isinstance(self.rubric, ItemRubric) else ()
        return {
            "rater": self.rater,
            "rubric": self.rubric.title or self.rubric.name,
            "dimensions": {d.id: d.title or d.id for d in dimensions},
            "items": [self._told(part) for part in self.parts],
            "dialogues": [
                {
                    "id": self.tokens[name],
                    "truth": self.truth.get(name, ""),
                    "turns": [[t.number, t.speaker, shown(t.text)] for t in self.dialogues[name]],
                }
                for name in self.order
            ],
        }

    def _told(self, part: Item | SignedCriterion) -> dict[str, Any]:
        scale = self.scale(part.id)
        anchors = part.anchors if isinstance(part, Item) else {0: "not met", 1: "met; every part of it"}
        return {
            "id": part.id,
            "title": part.title if isinstance(part, Item) else part.text,
            "description": part.description if isinstance(part, Item) else "",
            "dimension": getattr(part, "dimension", ""),
            "values": [[v, anchors.get(v) or scale.labels.get(v, "")] for v in scale.values],
            "na": self._may_be_na(part.id),
            "truth": isinstance(part, Item) and part.needs_reference,
        }

    def _may_be_na(self, item: str) -> bool:
        part = {part.id: part for part in self.parts}[item]
        return isinstance(part, Item) and (part.scale.not_applicable or part.not_applicable)
