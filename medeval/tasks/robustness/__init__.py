"""Segmentation under perturbed inputs and perturbed prompts."""

from medeval.tasks.robustness.task import PromptedRobustness, Robustness

__all__ = ["PromptedRobustness", "Robustness"]
