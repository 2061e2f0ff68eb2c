"""What prompted segmentation tells beside tables of masks: whole sessions, effort, repetition, absence, challenge figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from medeval.interaction import PromptSetting, parse_prompt
from medeval.tasks.prompted_segmentation.options import PromptingOptions
from medeval.tasks.prompted_segmentation.presets import presets
from medeval.types.views import Column, Table, View

if TYPE_CHECKING:
    from medeval.tasks.summary import CellScorer

_TITLES = {
    "prompt seeds": "Prompt seeds: {task} on {dataset}, spread inside a case and the worst of them",
    "human gap": "People and simulated users: {task} on {dataset}, paired",
    "absent structures": "Absent structures: {task} on {dataset}, how often clicks left the mask empty",
    "cvpr25": "CVPR 2025's own figures: {task} on {dataset}",
    "autopet-iv": "autoPET/CT IV's own figures: {task} on {dataset}",
}


class InteractionViews(PromptingOptions):
    """Score rows and views of sessions."""

    @cached_property
    def settings(self) -> tuple[PromptSetting, ...]:
        """The prompt settings, parsed."""
        return tuple(parse_prompt(text) for text in self.prompts)

    def more_scores(self, scorer: CellScorer) -> Sequence[Mapping[str, Any]]:
        """Session metrics of every setting with several clicks, challenge figures, repetition, absent structures."""
        from medeval.tasks.prompted_segmentation.figures import absent_scores, challenge_scores
        from medeval.tasks.prompted_segmentation.human_gap import gap_scores
        from medeval.tasks.prompted_segmentation.repetition import repetition_scores
        from medeval.tasks.prompted_segmentation.sessions import session_scores

        rows = session_scores(scorer, self.settings, self.session_metrics, self.session_curve, self.full_cost)
        if self.figures is not None:
            rows += challenge_scores(scorer, self.figures, self.settings)
        if self.absent == "scored":
            rows += absent_scores(scorer)
        return [*rows, *repetition_scores(scorer), *gap_scores(scorer)]

    def observations(self, scorer: CellScorer) -> Any:
        """Scores with their effort, and what else has tables of its own."""
        from medeval.tasks.prompted_segmentation.effort_views import effort_points
        from medeval.tasks.prompted_segmentation.survival_views import survival_points

        reached = survival_points(scorer, self.settings, self.session_metrics, self.session_curve)
        return effort_points(scorer, self.full_cost), reached

    def more_views(self, observed: Sequence[Any], scores: Sequence[Mapping[str, Any]]) -> Sequence[View]:
        """Quality against interaction cost, and what the preset's strict twin mends."""
        from medeval.tasks.prompted_segmentation.effort_views import effort_views
        from medeval.tasks.prompted_segmentation.survival_views import survival_views

        points = [row for efforts, _ in observed for row in efforts]
        reached = [row for _, rows in observed for row in rows]
        views = [
            *effort_views(self.label, points, self.full_cost),
            *survival_views(self.label, reached, self.session_curve),
        ]
        return [*self._about([row for row in scores if "about" in row]), *views, *self._protocol()]

    def _about(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[View]:
        """One table a dataset and kind of row that is no score of masks."""
        from medeval.tasks.summary_views import score_table

        kinds = dict.fromkeys((row["dataset"], row["about"]) for row in rows)
        return [
            score_table(
                _TITLES[about].format(task=self.label, dataset=dataset),
                [row for row in rows if (row["dataset"], row["about"]) == (dataset, about)],
                self.ladder,
            )
            for dataset, about in kinds
        ]

    def _protocol(self) -> Sequence[View]:
        if self.preset is None:
            return ()
        preset = presets()[self.preset]
        if not preset.quirks:
            return ()
        columns = [Column("choice"), Column("published", "as published"), Column("strict", "strict twin")]
        rows = [{"choice": q.choice, "published": q.published, "strict": q.strict} for q in preset.quirks]
        which = "the strict twin: its mends are scored here" if preset.strict else "the protocol as published"
        return [Table(f"Protocol of {self.label}: {self.preset}", columns, rows, f"{preset.source}; {which}")]
