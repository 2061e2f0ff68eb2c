"""What a preset is: a published protocol as the fields of a task, with its quirks told one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple


class Quirk(NamedTuple):
    """One choice of a protocol. strict: what the strict twin does in its place; "the same" where nothing is to be mended."""

    choice: str
    published: str
    strict: str

    @property
    def mended(self) -> bool:
        """True where the strict twin differs."""
        return self.strict != "the same"


@dataclass(frozen=True)
class Preset:
    """fields: task field -> value; what it fixes. source: where the protocol is published.

    defaults: task field -> value that it proposes and that a suite may overrule.
    quirks: its choices beside those of its strict twin. strict: True for the twin that mends them.
    """

    fields: Mapping[str, Any]
    source: str
    quirks: tuple[Quirk, ...] = ()
    strict: bool = False
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def mends(self) -> tuple[Quirk, ...]:
        """The choices in which a strict twin differs from what was published; none for the published protocol itself."""
        return tuple(quirk for quirk in self.quirks if quirk.mended) if self.strict else ()


def twins(
    name: str,
    source: str,
    quirks: tuple[Quirk, ...],
    published: Mapping[str, Any],
    strict: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Preset]:
    """A published protocol and its mended twin ``<name>-strict``, ready for a module's ``PRESETS``."""
    proposed = MappingProxyType(dict(defaults or {}))
    return {
        name: Preset(published, source, quirks, False, proposed),
        f"{name}-strict": Preset(strict, source, quirks, True, proposed),
    }
