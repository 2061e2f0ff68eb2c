"""What prompted segmentation tells beside tables of masks: whole sessions, effort, repetition, absence, challenge figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medeval.tasks.prompting_options import PromptingOptions
from medeval.types.views import View

if TYPE_CHECKING:
    from medeval.tasks.summary import CellScorer


class InteractionViews(PromptingOptions):
    """Score rows and views of sessions."""

    def more_scores(self, scorer: CellScorer) -> Sequence[Mapping[str, Any]]:
        """The session metrics of every setting with several clicks, with intervals over patients."""
        from medeval.interaction import parse_prompt
        from medeval.tasks.sessions import session_scores

        settings = [parse_prompt(text) for text in self.prompts]
        return session_scores(scorer, settings, self.session_metrics, self.session_curve)

    def observations(self, scorer: CellScorer) -> Any:
        """Nothing yet."""
        return None

    def more_views(self, observed: Sequence[Any]) -> Sequence[View]:
        """Nothing yet."""
        return ()
