"""Keeping a model's quality from regressing: small baselines under version control, and a paired gate against them.

baseline.py   a finished run without its predictions, small enough for a repository
gate.py       which losses are more than noise, and what to say of them
speed.py      seconds of predict per case, for pytest-benchmark
"""

from medeval.regression.baseline import keep_baseline
from medeval.regression.gate import Gate, Regression, gate

__all__ = ["Gate", "Regression", "gate", "keep_baseline"]
