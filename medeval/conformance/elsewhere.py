"""Run as a program by ``another_process``: builds the model that standard input names and prints its masks' hash."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from medeval.conformance import subjects
from medeval.conformance.repeats import digest
from medeval.conformance.scenes import scenes


def main() -> None:
    """Read the request, build, ask, print."""
    request = json.load(sys.stdin)
    base = Path(request["base"]) if request["base"] else None
    recipe = subjects.Recipe(request["reference"], request["options"], base)
    subject = getattr(subjects, request["protocol"])(recipe)
    print(digest(subject.masks(scenes(request["ndim"])[0])))


if __name__ == "__main__":
    main()
