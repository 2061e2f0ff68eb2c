"""How long the model takes: told, never judged."""

from __future__ import annotations

import time
from statistics import median

from medeval.conformance.findings import Finding
from medeval.conformance.scenes import Scene
from medeval.conformance.subjects import Promptable, Subject

ROUNDS = 5


def speed(subject: Subject, scenes: list[Scene]) -> Finding:
    """Median seconds of five calls on the first scene, after those that the other checks made."""
    if not isinstance(subject, Promptable):
        seconds = _seconds(lambda: subject.raw(scenes[0].copy()))
        return Finding("speed", "note", f"{seconds * 1e3:.3g} ms an image of {scenes[0].name}")
    prompts = scenes[0].prompts(subject.takes)
    encode = _seconds(lambda: subject.model.encode(scenes[0].copy().image))
    encoded = subject.model.encode(scenes[0].copy().image)
    segment = _seconds(lambda: subject.model.segment(encoded, list(prompts))) / len(prompts)
    told = f"encode {encode * 1e3:.3g} ms, {segment * 1e3:.3g} ms a prompt in a batch of {len(prompts)}"
    return Finding("speed", "note", f"{told} (image {scenes[0].name})")


def _seconds(call: object) -> float:
    assert callable(call)
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return median(times)
