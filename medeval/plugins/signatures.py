"""Which options a plug-in takes: the fields of a pydantic class, or the annotated keywords of ``__init__``.

``**kwargs`` is refused, for it swallows typos.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError

from medeval.types.errors import PluginError


@cache
def options_of(cls: Any) -> type[BaseModel]:
    """The options of a class (or of a function that makes a model) as a pydantic model that forbids unknown keys.

    Raises ``PluginError`` when the options cannot be checked: ``**kwargs``, a keyword without annotation, or one of a
    type that YAML cannot write.
    """
    if inspect.isabstract(cls):
        lacking = ", ".join(sorted(cls.__abstractmethods__))
        raise PluginError(f"{name_of(cls)} is abstract and cannot be built: it does not define {lacking}")
    if isinstance(cls, type) and issubclass(cls, BaseModel):
        if cls.model_config.get("extra") == "allow":
            raise PluginError(
                f'{name_of(cls)} has extra="allow", which swallows typos; name its options as fields'
            )
        return cls
    if not callable(cls):
        raise PluginError(f"{cls!r} is neither a class nor a function")
    fields: dict[str, Any] = {}
    for name, annotation, default in _keywords(cls):
        # pydantic's own attribute names (copy, json, schema ...) are fine as keywords of an __init__
        taken = hasattr(BaseModel, name) or name.startswith("_")
        field = Field(**default, alias=name) if taken else Field(**default)
        fields[f"option_{name.lstrip('_')}" if taken else name] = (annotation, field)
    config = ConfigDict(extra="forbid", protected_namespaces=())
    try:
        return create_model(name_of(cls), __config__=config, **fields)
    except PydanticUserError as error:
        reason = str(error).splitlines()[0]
        raise PluginError(
            f"{name_of(cls)}: an option has a type that a suite cannot write: {reason}"
        ) from error


def name_of(cls: Any) -> str:
    """The name of a class or function, for messages."""
    return str(getattr(cls, "__name__", type(cls).__name__))


def _keywords(cls: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(name, annotation, default as arguments of pydantic's ``Field``) of each keyword."""
    function = inspect.getattr_static(cls, "__init__") if isinstance(cls, type) else cls
    # a subclass of a Protocol that writes no __init__ gets typing's placeholder
    if function is object.__init__ or getattr(function, "__module__", "") == "typing":
        return
    hints = _hints(cls, function)
    factories = _factories(cls)
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters[1:] if isinstance(cls, type) else parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        _refuse_unchecked(cls, parameter, hints)
        default = {} if parameter.default is parameter.empty else {"default": parameter.default}
        if parameter.name in factories:
            default = {"default_factory": factories[parameter.name]}
        yield parameter.name, hints[parameter.name], default


def _refuse_unchecked(cls: Any, parameter: inspect.Parameter, hints: dict[str, Any]) -> None:
    name = parameter.name
    if parameter.kind is parameter.VAR_KEYWORD:
        raise PluginError(f"{name_of(cls)}: **{name} swallows typos; name the options as annotated keywords")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise PluginError(f"{name_of(cls)}: {name!r} is positional-only; options are given by keyword")
    if name not in hints:
        raise PluginError(
            f"{name_of(cls)}: annotate the option {name!r}, for example `{name}: float = 0.5`, "
            "so that a suite's value can be checked"
        )


def _factories(cls: Any) -> dict[str, Any]:
    """Default factories of a dataclass: its generated ``__init__`` shows a placeholder in their place."""
    if not dataclasses.is_dataclass(cls):
        return {}
    return {
        field.name: field.default_factory
        for field in dataclasses.fields(cls)
        if field.default_factory is not dataclasses.MISSING
    }


def _hints(cls: Any, function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise PluginError(f"{name_of(cls)}: an annotation of its options cannot be read: {error}") from error
