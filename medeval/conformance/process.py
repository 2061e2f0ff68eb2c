"""What another process tells: the same answers there, and that building and asking changes nothing for others in a process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from medeval.conformance.findings import Found, check
from medeval.conformance.subjects import Subject, hashed


@check(
    "another process",
    "build the whole model from its options: workers build their own, nothing is sent to them",
    needs=("answers", "determinism", "no hidden state"),
)
def another_process(subject: Subject, scenes: list[Any]) -> Found:
    """A model that a new Python process builds from the same options gives the same answer."""
    told = _told(subject)
    if "error" in told:
        return f"another process cannot build or ask it: {told['error']}"
    if told["answers"][str(getattr(scenes[0], "ndim", 0))] != hashed(subject.masks(subject.brief(scenes[0]))):
        return "a model that another process built from the same options gives other answers"
    return None


@check(
    "process untouched",
    "set nothing for the whole process: a generator of your own (np.random.default_rng), np.errstate, torch.inference_mode()",
    once=True,
)
def process_untouched(subject: Subject, scenes: list[Any]) -> Found:
    """Random states, error handling, torch's switches and the working directory are as they were."""
    told = _told(subject)
    if changed := told.get("changed"):
        return f"it changes for the whole process: {', '.join(changed)}"
    return None


@check(
    "no files", "write nowhere, or below tempfile.mkdtemp(): the working directory is the user's", once=True
)
def no_files(subject: Subject, scenes: list[Any]) -> Found:
    """Asking leaves no file in the working directory."""
    told = _told(subject)
    if left := told.get("files"):
        return f"it leaves files in the working directory: {', '.join(left)}"
    return None


def _told(subject: Subject) -> dict[str, Any]:
    """What ``elsewhere`` says of it; one process for all checks that ask."""
    if subject.elsewhere is None:
        recipe = subject.recipe
        request = {
            "reference": recipe.reference, "options": dict(recipe.options), "base": str(recipe.base or ""),
            "data": recipe.data, "protocol": [type(subject).__module__, type(subject).__name__],
            "torch": "torch" in sys.modules,
        }  # fmt: skip
        subject.elsewhere = _asked(json.dumps(request, default=str))
    return subject.elsewhere


def _asked(request: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "medeval.conformance.elsewhere"]
    done = subprocess.run(command, input=request, text=True, capture_output=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
