"""``rule-patient``: the rule-based patient as a model under test, for the task ``simulated-patient``."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from medeval.dialogue.cases import PatientView, Trait
from medeval.dialogue.patient import RulePatient


class RulePatients(BaseModel):
    """Gives the rule-based patient of a case. traits: in the place of the case's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    traits: tuple[Trait, ...] | None = Field(None, description="In the place of each case's own traits.")

    def patient(self, view: PatientView) -> RulePatient:
        """The patient of one case."""
        traits = view.traits if self.traits is None else self.traits
        if "biased" in traits and not view.belief:
            traits = tuple(trait for trait in traits if trait != "biased")
        return RulePatient(replace(view, traits=traits))
