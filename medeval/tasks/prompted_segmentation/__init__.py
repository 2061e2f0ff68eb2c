"""Prompted segmentation in 2D and 3D: simulated users, rounds of correction, published presets."""

from medeval.tasks.prompted_segmentation.task import PromptedSegmentation

__all__ = ["PromptedSegmentation"]
