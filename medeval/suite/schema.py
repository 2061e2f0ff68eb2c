"""The JSON schema of a suite: outer keys, and the options of every plug-in that imports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from medeval.plugins import load_group, options_of
from medeval.suite.declared import Primary
from medeval.suite.entries import DATASETS, MODELS, TASKS, ChatModelKeys, DatasetKeys, ModelKeys, Shell
from medeval.types import PluginError

CLIENTS = "medeval.clients"


def json_schema() -> dict[str, Any]:
    """A schema (draft 2020-12) for ``medeval schema``. Plug-ins that do not import are left out.

    An entry is one of its section's plug-ins, told apart by ``format``, ``adapter`` or ``task``; one that names a class
    (``my_model.py:Mine``) may have any options, for an editor cannot know them.
    """
    from medeval.llm.harness import HarnessSettings
    from medeval.llm.model import ChatKeys

    definitions: dict[str, Any] = {}
    schema = Shell.model_json_schema()
    properties = schema["properties"]
    dataset = _section(DATASETS, "format", DatasetKeys, definitions)
    model = _section(MODELS, "adapter", ModelKeys, definitions)
    chat = _section(CLIENTS, "client", ChatModelKeys, definitions, ChatKeys)
    model["anyOf"] += chat["anyOf"]
    properties["llm"] = _placed("llm", HarnessSettings, definitions)
    properties["primary"] = _placed("primary", Primary, definitions)
    properties["datasets"] |= {"additionalProperties": dataset, "minProperties": 1}
    properties["models"] |= {"additionalProperties": model, "minProperties": 1}
    properties["tasks"] |= {"items": _section(TASKS, "task", None, definitions), "minItems": 1}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "medeval suite",
        "description": "datasets x models x tasks",
        "$defs": definitions,
    }


def _section(
    group: str,
    key: str,
    own: type[BaseModel] | None,
    definitions: dict[str, Any],
    more: type[BaseModel] | None = None,
) -> dict[str, Any]:
    """``anyOf`` over the plug-ins of a group; their schemas go to ``definitions``.

    own: medeval's own keys of an entry; more: keys that every plug-in of the group has.
    """
    shared = _placed(f"{group.rpartition('.')[2]}-keys", more, definitions) if more else {}
    kept = definitions.get(shared.get("$ref", "").rpartition("/")[2], {})
    choices = []
    for name, cls in load_group(group).items():
        options = _options(
            f"{group.rpartition('.')[2]}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)}", cls, definitions
        )
        if options is None:
            continue
        place, schema = options
        extra = own.model_json_schema() if own else {}
        schema["properties"] = {
            **extra.get("properties", {}), **kept.get("properties", {}), **schema.get("properties", {})
        }  # fmt: skip
        schema["properties"][key] = {"const": name, "description": schema.get("description", name)}
        schema["required"] = list(dict.fromkeys([key, *schema.get("required", ())]))
        schema["additionalProperties"] = False
        definitions[place] = {**schema, "title": name}
        choices.append({"$ref": f"#/$defs/{place}"})
    by_class = {"type": "object", "required": [key], "properties": {key: {"type": "string", "pattern": ":"}}}
    return {"anyOf": [*choices, by_class]}


def _placed(place: str, model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to the schema of a model of ours, which goes to ``definitions`` with its inner ones."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{place}.{{model}}")
    inner: Mapping[str, Any] = schema.pop("$defs", {})
    definitions.update({f"{place}.{name}": definition for name, definition in inner.items()})
    definitions[place] = schema
    return {"$ref": f"#/$defs/{place}"}


def _options(place: str, cls: Any, definitions: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The schema of a plug-in's options, its inner definitions moved to the outer ones under names of its own."""
    try:
        schema = options_of(cls).model_json_schema(ref_template=f"#/$defs/{place}.{{model}}")
    except (PluginError, PydanticInvalidForJsonSchema):
        return None  # `medeval list` says why
    inner: Mapping[str, Any] = schema.pop("$defs", {})
    definitions.update({f"{place}.{name}": definition for name, definition in inner.items()})
    return place, schema
