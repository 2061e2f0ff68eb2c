"""A suite: datasets x models x tasks in one YAML file, checked as a whole before anything runs.

source.py      YAML -> plain data with the line of every key; environment variables put in, no tag executed
overrides.py   ``--set key=value``
mistakes.py    all that is wrong, each with its place, told at once
entries.py     each entry checked against the plug-in that it names
model.py       Suite
cells.py       what a suite comes down to
schema.py      the JSON schema for editors
find.py        suites by path or registered name
"""

from medeval.suite.cells import Cell, ModelSpec
from medeval.suite.find import find_suite
from medeval.suite.model import Suite

__all__ = ["Cell", "ModelSpec", "Suite", "find_suite"]
