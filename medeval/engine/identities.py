"""What replies of chat models depend on, for fingerprints: a client block's own identity stands in the block's place.

So other limits, another key or a moved cache are the same run, and another model, temperature or script is another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from medeval.plugins import source_identity
from medeval.suite import Suite
from medeval.suite.chats import CLIENT
from medeval.types import UserError


def chat_class() -> type:
    """The class of every chat model: what a task's protocol is checked against."""
    from medeval.llm import Chat

    return Chat


class ChatIdentities:
    """Identities of a suite's client blocks, each found once."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, block: Mapping[str, Any]) -> dict[str, Any]:
        """Plain data; secrets are variables again. A model that cannot be opened has its reason as its identity."""
        key = json.dumps(block, sort_keys=True, default=str)
        if key not in self._known:
            self._known[key] = self._shown(self._found(block))
        return self._known[key]

    def in_place(self, value: Any) -> Any:
        """Plain data with each client block replaced by its identity."""
        if isinstance(value, Mapping):
            if isinstance(value.get(CLIENT), str):
                return self.of(value)
            return {name: self.in_place(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.in_place(inner) for inner in value]
        return self._shown(value)

    def _found(self, block: Mapping[str, Any]) -> dict[str, Any]:
        from medeval.llm import open_model
        from medeval.llm.model import CLIENTS

        reference = block[CLIENT]
        try:
            found = open_model(block, self._suite.base).fingerprint
        except UserError as error:  # kept predictions can be scored where the model cannot be opened any more
            return {CLIENT: f"cannot be opened: {error}"}
        if ":" in reference and not reference.startswith("medeval."):
            found["code"] = source_identity(reference, group=CLIENTS, base=self._suite.base)
        return dict(found)

    def _shown(self, value: Any) -> Any:
        """What a secret variable held is written as the variable again."""
        if isinstance(value, str):
            for secret, variable in self._suite.hidden.items():
                value = value.replace(secret, variable) if len(secret) > 3 else value
            return value
        if isinstance(value, Mapping):
            return {name: self._shown(inner) for name, inner in value.items()}
        return [self._shown(inner) for inner in value] if isinstance(value, list | tuple) else value
