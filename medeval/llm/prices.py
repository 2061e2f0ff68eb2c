"""Prices of models, from a table in YAML, and what a plan of calls will cost.

    currency: USD
    as_of: 2026-01-31
    models:                        # per million tokens; a name may hold * and ?
      gpt-4o-mini: {input: 0.15, cached_input: 0.075, output: 0.60}
      "my-local-*": {input: 0, output: 0}

Thinking is paid as output. medeval ships no prices: they change, and a wrong one is worse than none.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medeval.llm.replies import Usage
from medeval.plugins import OptionsError, complaints
from medeval.types import UserError


class Price(BaseModel):
    """Price of a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    cached_input: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Default: as input."
    )

    def cost(self, usage: Usage) -> float:
        """What a call of this usage costs."""
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = max(0, usage.input - usage.cached)
        return (fresh * self.input + usage.cached * cached + usage.output * self.output) / 1e6


class Prices(BaseModel):
    """The table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: str = "USD"
    as_of: str = Field(default="", description="Day on which the prices were read.")
    models: dict[str, Price] = Field(default_factory=dict)

    @staticmethod
    def load(path: Path) -> Prices:
        """Read the table. Raises ``UserError`` naming the file and the key for what does not hold."""
        try:
            data: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise UserError(f"prices {path}: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"prices {path}: no YAML: {error}") from None
        return Prices.of(data, str(path))

    @staticmethod
    def of(data: Any, where: str = "prices") -> Prices:
        """The table from plain data; a date may be a date."""
        if isinstance(data, dict) and "as_of" in data:
            data = {**data, "as_of": str(data["as_of"])}
        try:
            return Prices.model_validate(data)
        except ValidationError as error:
            raise UserError(f"{where}: {OptionsError(complaints(error, data, Prices))}") from None

    def find(self, model: str) -> Price | None:
        """The model's price: its own name first, then the longest pattern that fits; None where there is none."""
        if model in self.models:
            return self.models[model]
        fitting = [name for name in self.models if fnmatchcase(model, name)]
        return self.models[max(fitting, key=len)] if fitting else None


def estimate_dialogue(turns: int, prompt_tokens: int, turn_tokens: int) -> Usage:
    """Tokens of one side of a dialogue, for ``--dry-run``: each call sends all that was said before.

    turns: calls of this side. prompt_tokens: its system prompt and case. turn_tokens: tokens of one message of either side.
    """
    history = turns * (turns - 1) * turn_tokens  # 2 messages a turn, 0 + 2 + 4 + ...
    return Usage(turns * (prompt_tokens + turn_tokens) + history, turns * turn_tokens, estimated=True)
