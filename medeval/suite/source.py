"""YAML -> plain data, with the place of every key, so that each message can name its line.

PyYAML composes a graph of nodes and nothing is constructed by it: no tag is ever executed. Plain scalars follow the core
schema of YAML 1.2 with one change: ``no`` and ``1:30`` are text, ``1e-3`` is a number, and ``007`` stays text, because it
is a patient far more often than a number.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import Any

import yaml

from medeval.suite.mistakes import KeyPath, Mistakes, Place

TAG = "tag:yaml.org,2002:"
MOST_NODES = 100_000  # a suite of a thousand structures has a few thousand; an alias bomb has billions

_ENV = re.compile(r"(?P<escape>\$\$\{)|\$\{(?P<name>[A-Za-z_]\w*)(:-(?P<default>[^}]*))?\}|(?P<bad>\$\{)")
_INFINITE = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


class _Loader(yaml.SafeLoader):
    """Composes nodes that know whether their tag was written; resolvers are those below alone."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way of starting without YAML 1.1's

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        tagged = self.peek_event().tag not in (None, "!")
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        node.tagged = tagged  # type: ignore[attr-defined]
        return node


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(TAG + _tag, re.compile(rf"^(?:{_pattern})$"), _first)


def compose(text: str, place: Place) -> yaml.Node | None:
    """The node graph of one YAML document, None for an empty one.

    Raises ``SuiteError`` with the line of a syntax error; nothing else of the file can be told then.
    """
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        hint = _syntax_hint(reason, "".join(text.splitlines()[mark.line : mark.line + 1]) if mark else "")
        raise place.at(mark.line + 1 if mark else 0).error(f"not valid YAML: {reason}{hint}") from None
    except yaml.YAMLError as error:
        raise place.error(f"not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise place.error("nested too deeply") from None


def _syntax_hint(reason: str, line: str) -> str:
    if "'\\t'" in reason:
        return "; YAML indents with spaces, not tabs"
    return "; put ${...} in quotes inside { } or [ ]" if "'{'" in reason and "${" in line else ""


class Reader:
    """Turns nodes into plain data: dicts with text keys, lists, text, numbers, truth values and None.

    places: where each key or list item stands. secrets: what was written where an environment variable that looks like a
    secret was put in. What is wrong goes to ``mistakes``, and reading goes on, so that all of a file is told at once.
    """

    def __init__(self, mistakes: Mistakes) -> None:
        self.mistakes = mistakes
        self.places: dict[KeyPath, Place] = mistakes.places
        self.secrets: dict[KeyPath, str] = {}
        self._nodes = 0
        self._open: set[int] = set()

    def read(self, node: yaml.Node, path: KeyPath, place: Place) -> Any:
        """The value of a node that stands at ``path``; ``place`` is where messages about it point."""
        self.places[path] = place
        self._count(path)
        if id(node) in self._open:
            return self._wrong(path, "an alias that contains itself")
        self._open.add(id(node))
        try:
            return self._value(node, path, place)
        finally:
            self._open.discard(id(node))

    def take(self, data: Any, path: KeyPath) -> Any:
        """Plain data that was given from Python, with environment variables put in as in YAML; texts stay text."""
        if isinstance(data, dict):
            return {str(key): self.take(value, (*path, str(key))) for key, value in data.items()}
        if isinstance(data, list):
            return [self.take(item, (*path, position)) for position, item in enumerate(data)]
        return self._expanded(data, path) if isinstance(data, str) and "${" in data else data

    def _value(self, node: yaml.Node, path: KeyPath, place: Place) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
            return {
                key: self.read(value, (*path, key), place.at(line))
                for key, value, line in self._entries(node, path)
            }
        if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
            return [
                self.read(item, (*path, position), place.at(item.start_mark.line + 1))
                for position, item in enumerate(node.value)
            ]
        return self._tagged(node, path)

    def _entries(self, node: yaml.MappingNode, path: KeyPath) -> list[tuple[str, yaml.Node, int]]:
        """(key, value, line) of a mapping: its own keys, then those that ``<<`` merges in and it does not override."""
        own: dict[str, tuple[yaml.Node, int]] = {}
        merged: dict[str, tuple[yaml.Node, int]] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == TAG + "merge":
                for name, inner, inner_line in self._merged(value, path, line):
                    merged.setdefault(name, (inner, inner_line))
            elif not isinstance(key, yaml.ScalarNode) or not key.value:
                self._wrong(path, "a key must be text that is not empty", line)
            elif key.value in own:
                first = own[key.value][1]
                self._wrong(
                    (*path, key.value), f"key {key.value!r} is given twice, first on line {first}", line
                )
            else:
                own[key.value] = (value, line)
        return [(name, value, line) for name, (value, line) in {**merged, **own}.items()]

    def _merged(self, value: yaml.Node, path: KeyPath, line: int) -> Iterator[tuple[str, yaml.Node, int]]:
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._wrong(path, "`<<` merges mappings only", line)
            elif id(source) in self._open:
                self._wrong(path, "`<<` merges a mapping into itself", line)
            else:
                self._count(path)
                self._open.add(id(source))
                yield from self._entries(source, path)
                self._open.discard(id(source))

    def _count(self, path: KeyPath) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise self.places[path].error(f"more than {MOST_NODES} values once its aliases are expanded")

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text, tag = self._substituted(node, path)
        if tag == TAG + "null":
            return None
        if tag in (TAG + "str", TAG + "merge"):
            return text
        if tag == TAG + "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if tag in (TAG + "int", TAG + "float"):
            return self._number(text, tag, path)
        return self._tagged(node, path)

    def _number(self, text: str, tag: str, path: KeyPath) -> Any:
        try:
            if tag == TAG + "int":
                return int(text, 0)
            value = _INFINITE[text.lower()] if text.lower() in _INFINITE else float(text)
        except ValueError:
            return self._wrong(path, f"{text[:40]!r} is no number")
        if math.isnan(value):
            return self._wrong(path, "a suite cannot hold .nan, for it equals nothing, not even itself")
        return value

    def _tagged(self, node: yaml.Node, path: KeyPath) -> Any:
        tag = node.tag.replace(TAG, "!!")
        return self._wrong(
            path, f"tag {tag!r} is refused and was not executed; a suite holds plain data only"
        )

    def _substituted(self, node: yaml.ScalarNode, path: KeyPath) -> tuple[str, str]:
        """Text and tag after ``${NAME}`` and ``${NAME:-default}``; an unquoted scalar is read again as what it became."""
        if "${" not in node.value:
            return node.value, node.tag
        text = self._expanded(node.value, path)
        explicit = node.tagged  # type: ignore[attr-defined]
        return text, node.tag if explicit else _tag_of(text, plain=node.style is None)

    def _expanded(self, text: str, path: KeyPath) -> str:
        return _ENV.sub(lambda match: self._variable(match, path, text), text)

    def _variable(self, match: re.Match[str], path: KeyPath, written: str) -> str:
        if match["escape"]:
            return "${"
        if match["bad"]:
            self._wrong(
                path,
                f"{written!r} has a `${{` that is no `${{NAME}}`; write `$${{` where it is meant as text",
            )
            return match[0]
        name, default = match["name"], match["default"]
        value = os.environ.get(name)
        if not value and default is not None:
            return default
        if value is None:
            self._wrong(
                path, f"environment variable {name} is not set; set it, or give a default: ${{{name}:-...}}"
            )
            return match[0]
        if _SECRET.search(name):
            self.secrets[path] = written
            self.mistakes.hidden[value] = match[0]
        return value

    def _wrong(self, path: KeyPath, text: str, line: int | None = None) -> None:
        place = self.mistakes.place(path)
        self.mistakes.broken(path, text, place if line is None else place.at(line))


def _tag_of(text: str, plain: bool) -> str:
    return str(_Loader("").resolve(yaml.ScalarNode, text, (plain, not plain)))
