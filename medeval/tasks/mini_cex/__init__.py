"""The Mini-CEX diagnostic dialogue: simulated patient, doctor under test, judged items."""

from medeval.tasks.mini_cex.patient import SimulatedPatient
from medeval.tasks.mini_cex.task import MiniCex

__all__ = ["MiniCex", "SimulatedPatient"]
