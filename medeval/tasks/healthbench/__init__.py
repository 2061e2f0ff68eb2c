"""Rubric-graded conversations in the form of HealthBench."""

from medeval.tasks.healthbench.task import HealthBenchTask

__all__ = ["HealthBenchTask"]
