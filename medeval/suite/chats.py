"""Chat models of a suite: the ``llm:`` block, models that are a client block, and client blocks inside task options.

Nothing of ``medeval.llm`` is imported for a suite that names no chat model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from medeval.plugins import OptionsError, complaints
from medeval.suite.mistakes import KeyPath, Mistakes
from medeval.types import UserError

if TYPE_CHECKING:
    from medeval.llm.harness import HarnessSettings

CLIENT = "client"


class Chats:
    """Checks what a suite says of chat models. None, and a mistake more, where it does not hold."""

    def __init__(self, mistakes: Mistakes, base: Path) -> None:
        self.mistakes = mistakes
        self.base = base

    def settings(self, given: Any) -> HarnessSettings | None:
        """The suite's ``llm:`` block; its price table is read too."""
        from medeval.llm.harness import HarnessSettings
        from medeval.llm.prices import Prices

        path: KeyPath = ("llm",)
        if not isinstance(given, Mapping):  # told with the other outer keys
            return None
        try:
            settings = HarnessSettings.model_validate_json(json.dumps(given), strict=True)
        except ValidationError as error:
            self.mistakes.add_all(path, complaints(error, given, HarnessSettings))
            return None
        try:
            if settings.prices is not None:
                Prices.load(self.base / settings.prices)
        except UserError as error:
            self.mistakes.add((*path, "prices"), str(error))
        return settings

    def block(self, path: KeyPath, block: Mapping[str, Any]) -> dict[str, Any] | None:
        """One client block, checked: plain data with defaults filled, paths as the suite has them."""
        from medeval.llm.model import validate_block

        try:
            return {**validate_block(block, self.base), **block}
        except OptionsError as error:
            self.mistakes.add_all(path, error.errors)
        except UserError as error:
            self.mistakes.add((*path, CLIENT), str(error))
        return None

    def blocks_in(self, path: KeyPath, options: Any) -> None:
        """Every client block among a task's options."""
        for at, block in client_blocks(options):
            self.block((*path, *at), block)


def client_blocks(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """(keys that lead to it, block) of each mapping with the key ``client`` in plain data."""
    if isinstance(value, Mapping):
        if isinstance(value.get(CLIENT), str):
            yield path, dict(value)
            return
        for name, inner in value.items():
            yield from client_blocks(inner, (*path, name))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from client_blocks(inner, (*path, position))
