"""Options of a plug-in: checked, made plain, and used to build it.

Checking is strict, as JSON is: no text is taken for a number, no number for a truth value, no unknown key is passed on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from medeval.plugins.entry_points import told
from medeval.plugins.files import folder_of
from medeval.plugins.messages import Complaint, KeyPath, complaints, option_names
from medeval.plugins.signatures import name_of, options_of
from medeval.types.errors import MedevalError, PluginError, UserError, nearest


class OptionsError(PluginError):
    """Options that do not fit their plug-in.

    errors: every mistake as (keys that lead to it, what is wrong).
    """

    def __init__(self, errors: Sequence[Complaint]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(_line(error) for error in self.errors))

    def __reduce__(self) -> tuple[Any, ...]:
        return OptionsError, (self.errors,)


def validate_options(cls: Any, options: Mapping[str, Any], base: Path | None = None) -> dict[str, Any]:
    """Checked options as plain data (JSON types), defaults filled where they are plain.

    base: folder that relative paths of ``Path`` options belong to; a path that exists only in the working directory is
        taken from there.
    Raises ``OptionsError`` with every mistake and the nearest known key.
    """
    given = _plain(options)
    checked = _check(cls, given, base)
    filled = {**_defaults(cls, checked, given, base), **_anchor(given, checked, base)}
    return {key: filled[key] for key in option_names(type(checked)) if key in filled}


def path_options(cls: Any, options: Mapping[str, Any], base: Path | None = None) -> dict[str, Path]:
    """Dotted key -> absolute path of each ``Path`` option given: the files whose bytes the result depends on."""
    given = _plain(options)
    return {
        ".".join(map(str, key)): _place(path, base)
        for key, path in _paths((), _check(cls, given, base), set(given))
    }


def build(cls: Any, options: Mapping[str, Any], base: Path | None = None) -> Any:
    """An instance of ``cls``, its options checked and converted to the annotated types.

    Raises ``OptionsError`` for wrong options, ``PluginError`` with the line when the constructor itself fails.
    """
    with folder_of(sys.modules.get(getattr(cls, "__module__", ""))):
        checked = _check(cls, validate_options(cls, options, base), base)
        if isinstance(checked, cls if isinstance(cls, type) else ()):
            return checked
        keywords = {field.alias or name: getattr(checked, name) for name, field in type(checked).model_fields.items()
                    if name in checked.model_fields_set}  # fmt: skip
        try:
            return cls(**keywords)
        except MedevalError:
            raise
        except Exception as error:
            raise PluginError(f"{name_of(cls)} cannot be built: {told(error)}") from error


def _check(cls: Any, given: dict[str, Any], base: Path | None) -> BaseModel:
    """base is the validators' too, as ``info.context["base"]``: for options that name plug-ins themselves."""
    model = options_of(cls)
    extra = [] if model.model_config.get("extra") == "forbid" else set(given) - set(option_names(model))
    unknown = [
        Complaint((key,), f"unknown option {key!r}; {nearest(key, option_names(model))}")
        for key in sorted(extra)
    ]
    try:
        # strict JSON: a list may become a tuple and text a Path, but no text a number
        checked = model.model_validate_json(json.dumps(given), strict=True, context={"base": base})
    except ValidationError as error:
        raise OptionsError(unknown + complaints(error, given, model)) from None
    except UserError as error:
        raise OptionsError([*unknown, Complaint((), str(error))]) from error
    except Exception as error:  # a validator of the plug-in's own that breaks
        raise OptionsError(
            [*unknown, Complaint((), f"its options could not be checked: {told(error)}")]
        ) from error
    if unknown:
        raise OptionsError(unknown)
    return checked


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {str(key): to_jsonable_python(value) for key, value in options.items()}
    except (PydanticSerializationError, ValueError) as error:
        raise OptionsError(
            [Complaint((), f"options must be plain data (numbers, text, lists, mappings): {error}")]
        ) from None


def _defaults(cls: Any, checked: BaseModel, given: dict[str, Any], base: Path | None) -> dict[str, Any]:
    """Defaults that survive being written down; the others (objects, paths of its own) are left to the plug-in."""
    found: dict[str, Any] = {}
    for name, field in type(checked).model_fields.items():
        key = field.alias or name
        if key in given or any(_paths((), getattr(checked, name))):
            continue
        try:
            value = checked.model_dump(mode="json", include={name}, by_alias=True, warnings=False)[key]
            _check(cls, {**given, key: value}, base)
        except (PydanticSerializationError, OptionsError, ValueError, TypeError):
            continue
        found[key] = value
    return found


def _anchor(plain: Any, checked: Any, base: Path | None) -> Any:
    """``plain`` with every text that was read as a ``Path`` made absolute."""
    if isinstance(checked, Path) and isinstance(plain, str):
        return str(_place(checked, base))
    if isinstance(checked, BaseModel) and isinstance(plain, dict):
        inner = {
            field.alias or name: getattr(checked, name) for name, field in type(checked).model_fields.items()
        }
        return {key: _anchor(value, inner.get(key), base) for key, value in plain.items()}
    if isinstance(checked, Mapping) and isinstance(plain, dict):
        inner = {str(key): value for key, value in checked.items()}
        return {key: _anchor(value, inner.get(key), base) for key, value in plain.items()}
    if isinstance(checked, list | tuple) and isinstance(plain, list) and len(checked) == len(plain):
        return [_anchor(one, other, base) for one, other in zip(plain, checked, strict=True)]
    return plain


def _paths(key: KeyPath, value: Any, only: set[str] | None = None) -> Iterator[tuple[KeyPath, Path]]:
    if isinstance(value, Path):
        yield key, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            if only is None or (field.alias or name) in only:
                yield from _paths((*key, field.alias or name), getattr(value, name))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _paths((*key, str(name)), inner)
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _paths((*key, position), inner)


def _place(path: Path, base: Path | None) -> Path:
    path = path.expanduser()
    beside = (base or Path()).resolve() / path
    here = Path().resolve() / path
    return here if here.exists() and not beside.exists() else beside


def _line(error: Complaint) -> str:
    path, text = error
    return f"{'.'.join(map(str, path))}: {text}" if path else text
