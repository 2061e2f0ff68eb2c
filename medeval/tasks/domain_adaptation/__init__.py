"""Unsupervised adaptation to a target domain, and what it gains over the source model."""

from medeval.tasks.domain_adaptation.task import DomainAdaptation

__all__ = ["DomainAdaptation"]
