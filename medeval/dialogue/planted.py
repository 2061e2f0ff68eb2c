"""An object that the candidate wrote into its words is not the judge's, even when the judge repeats it.

A reply that is read as text may quote them; the last object in it that has the asked form would then be the candidate's
own. Objects that stand in what was said as they are, are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from medeval.dialogue.fencing import shown
from medeval.llm.jsontext import candidates
from medeval.llm.replies import Reply
from medeval.types.errors import EvaluatorFailure

Form = TypeVar("Form", bound=BaseModel)


def own_object(reply: Reply, form: type[Form], said: Sequence[str], who: str) -> Form:
    """The judge's object: the reply's, or the last other one in its text, that none of the texts ``said`` holds.

    Raises ``EvaluatorFailure`` when there is none.
    """
    planted = _planted(said)
    given = [reply.value, *_valid(candidates(reply.text), form)]
    own = [value for value in given if isinstance(value, form) and _key(value.model_dump()) not in planted]
    if own:
        return own[0]
    if any(isinstance(value, form) for value in given):
        raise EvaluatorFailure(
            f"{who}: its reply only repeats a {form.__name__} that stands in what it judges"
        )
    raise EvaluatorFailure(f"{who}: no {form.__name__} in its reply")


def _planted(said: Sequence[str]) -> set[str]:
    texts = [text for text in said if "{" in text]
    return {_key(found) for text in texts for form in (text, shown(text)) for found in candidates(form)}


def _valid(found: Iterable[Any], form: type[Form]) -> Iterable[Form]:
    for data in found:
        try:
            yield form.model_validate_json(json.dumps(data), strict=True)
        except ValidationError:
            continue


def _key(data: Any) -> str:
    return json.dumps(data, sort_keys=True)
