"""Run as a program by ``process``: builds the model that standard input names, asks it, and prints what that did as JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from medeval.conformance.subjects import Recipe, Subject, hashed
from medeval.conformance.surroundings import generators, restored, seed, state
from medeval.types import CaseFailure


def main() -> None:
    """Read the request, build, ask, print."""
    request = json.load(sys.stdin)
    if request["torch"]:
        import_module("torch")
    base = Path(request["base"]) if request["base"] else None
    recipe = Recipe(request["reference"], request["options"], base, request["data"])
    module, name = request["protocol"]
    subject_of: type[Subject] = getattr(import_module(module), name)
    before = state()
    with restored():
        subject = subject_of(recipe)
        asked = {ndim: subject.brief(subject.scenes(ndim)[0]) for ndim in subject.dimensions}
        answers, left, moved = asked_in_a_folder(subject, asked)
        after = state()
    changed = [f"{name} {before[name]} -> {after[name]}" for name in before if before[name] != after[name]]
    seeded = reseeded(recipe, subject_of, list(asked.values()))
    print(json.dumps({"answers": answers, "files": left, "changed": [*moved, *changed, *seeded]}))


def asked_in_a_folder(
    subject: Subject, asked: Mapping[int, Any]
) -> tuple[dict[str, str], list[str], list[str]]:
    """The answers by dimension, the files left in an empty working directory, and whether it is another one now."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path.cwd()
        os.chdir(folder)
        answers = {str(ndim): _answered(subject, scene) for ndim, scene in asked.items()}
        left = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))
        moved = [] if Path.cwd().resolve() == Path(folder).resolve() else ["the working directory"]
        os.chdir(home)
    return answers, left, moved


def reseeded(recipe: Recipe, subject_of: type[Subject], asked: list[Any]) -> list[str]:
    """Generators of the process that end in the same state from different beginnings: somebody seeds them."""
    ends = []
    for number in (1, 2):
        with restored():
            seed(number)
            fresh = subject_of(recipe)
            for scene in asked:
                _answered(fresh, scene)
            ends.append(generators())
    return [f"{name} is seeded" for name in ends[0] if ends[0][name] == ends[1].get(name)]


def _answered(subject: Subject, scene: Any) -> str:
    try:
        return hashed(subject.masks(scene))
    except CaseFailure as refusal:
        return f"refused: {refusal}"


if __name__ == "__main__":
    main()
