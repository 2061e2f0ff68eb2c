"""Simulated users: what a prompt setting means, and where a box, a point or the next click falls.

Arrays and spacing only: nothing here knows a case, a dataset or a model. All randomness comes from the generator that
the caller gives (``medeval.types.rng(seed, case, structure, prompt, round)``), so order, batching and resuming change
nothing. ``docs/prompts.md`` tells which paper means what by "5 clicks".
"""

from medeval.interaction.clicks import Click, ErrorRegion, click_rule, click_rules, first_click, next_click
from medeval.interaction.corrections import Given, Round, correction_rule, correction_rules, next_correction
from medeval.interaction.drawing import (
    BoxRule,
    PointRule,
    draw_points,
    jittered_box,
    largest_component,
    middle_slice_box,
    mixed_points,
    tight_box,
)
from medeval.interaction.effort import Effort
from medeval.interaction.settings import GRAMMAR, PromptError, PromptSetting, parse_prompt

# Importing the module registers its click rules.
from medeval.interaction import rules as _rules  # noqa: F401  # isort: skip
from medeval.interaction import autopet as _autopet, radioactive as _radioactive  # noqa: F401  # isort: skip

__all__ = [
    "GRAMMAR", "BoxRule", "Click", "Effort", "ErrorRegion", "Given", "PointRule", "PromptError", "PromptSetting", "Round",
    "click_rule", "click_rules", "correction_rule", "correction_rules", "draw_points", "first_click", "jittered_box",
    "largest_component", "middle_slice_box", "mixed_points", "next_click", "next_correction", "parse_prompt", "tight_box",
]  # fmt: skip
