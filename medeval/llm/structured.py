"""Structured replies: the ways of asking for an object, and the ladder down to a recorded error.

    schema        the server holds the model to a JSON schema
    tool          the object is the arguments of a tool that must be called
    json          the server holds the model to JSON, the schema stands in the prompt
    text          the schema stands in the prompt
    then          fenced JSON, or the last object in prose that validates
    then          one repair request that shows what was wrong; a reply cut off gets one with twice the tokens
    then          ``UnparsableReply`` with all that was said

A server that does not have a way says so with a 400, and the next way is used from then on. Validation is strict: no text
is taken for a number, no key is ignored or invented, no number repaired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from medeval.llm.jsontext import candidates
from medeval.llm.messages import Message, user
from medeval.llm.replies import Reply
from medeval.llm.requests import ChatRequest, Form, ObjectForm

Model = TypeVar("Model", bound=BaseModel)
_QUOTED = 4000  # letters of an invalid reply that the repair request repeats


class Parsed(NamedTuple):
    """data and value: the object; wrong: why there is none, in words that may be shown to the model."""

    data: Any = None
    value: Any = None
    wrong: str = ""


@dataclass(frozen=True)
class ReplyForm:
    """What an object must be: a pydantic class, and its strict JSON schema."""

    model: type[BaseModel]
    schema: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The schema's name on the wire."""
        return self.model.__name__[:64]

    def asked_as(self, request: ChatRequest, form: Form) -> ChatRequest:
        """The request, asking for the object in this way."""
        root = replace(request, object_form=ObjectForm(self.name, self.schema, ""))
        if form in ("json", "text"):
            request = replace(request, messages=self._told(request.messages))
        return replace(request, object_form=ObjectForm(self.name, self.schema, form), root=root)

    def parse(self, reply: Reply) -> Parsed:
        """The object in a reply: a tool's arguments first, then the text."""
        texts = [call.arguments for call in reply.tool_calls if call.name == self.name] + [reply.text]
        wrong = "there is no JSON object in it"
        for text in texts:
            for data in candidates(text):
                try:
                    return Parsed(data, self.model.model_validate_json(json.dumps(data), strict=True))
                except ValidationError as error:
                    wrong = _told(error) if wrong == "there is no JSON object in it" else wrong
        return Parsed(wrong=wrong)

    def repair(self, request: ChatRequest, reply: Reply, wrong: str) -> ChatRequest:
        """The one repair request: the reply, what is wrong with it, and the schema again."""
        said = reply.text or "\n".join(call.arguments for call in reply.tool_calls)
        text = (
            f"Your reply does not have the asked form: {wrong}. Give the whole answer again as one JSON object, with "
            f"nothing before or after it, that follows this JSON schema:\n{json.dumps(self.schema)}"
        )
        messages = (*request.messages, Message("assistant", said[:_QUOTED] or "(nothing)"), user(text))
        return replace(request, messages=messages, attempt=request.attempt + 1)

    def read(self, data: Any) -> Any:
        """The validated value of data that a journal kept."""
        return self.model.model_validate_json(json.dumps(data), strict=True)

    def _told(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages, the last of them saying what form the answer must have."""
        text = (
            "Answer with one JSON object, with nothing before or after it, that follows this JSON schema:\n"
            f"{json.dumps(self.schema)}"
        )
        last = messages[-1]
        if last.role != "user":
            return (*messages, user(text))
        content = f"{last.content}\n\n{text}" if isinstance(last.content, str) else (*last.content, text)
        return (*messages[:-1], replace(last, content=content))


@cache
def form_of(model: type[BaseModel]) -> ReplyForm:
    """The form of a pydantic class. Fields are asked for in their order: let reasons stand before verdicts."""
    return ReplyForm(model, strict_schema(model.model_json_schema()))


def strict_schema(schema: Any) -> Any:
    """A JSON schema as strict modes want it: every property required, none further, no defaults."""
    if isinstance(schema, list):
        return [strict_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for name, value in schema.items():
        if name in ("properties", "$defs"):
            found[name] = {key: strict_schema(inner) for key, inner in value.items()}
        elif name in ("enum", "const", "required"):
            found[name] = value
        elif name != "default":
            found[name] = strict_schema(value)
    if found.get("type") == "object" and "properties" in found:
        found |= {"additionalProperties": False, "required": list(found["properties"])}
    return found


def _told(error: ValidationError) -> str:
    """What is wrong, without repeating what was given."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"{'.'.join(map(str, d['loc'])) or 'the object'}: {d['msg']}" for d in details[:8]]
    return "; ".join(lines)
