"""Classification of images and triage of studies, from scores or labels."""

from medeval.tasks.classification.task import Classification
from medeval.tasks.classification.triage import Triage

__all__ = ["Classification", "Triage"]
