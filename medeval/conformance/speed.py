"""How long the model takes: told, never judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from medeval.conformance.findings import Finding
from medeval.conformance.segmenting import Promptable
from medeval.conformance.subjects import Subject

ROUNDS = 3


def speed(subject: Subject, scenes: list[Any]) -> Finding:
    """Median seconds of three calls on the first scene, after those that the other checks made."""
    scene = subject.brief(scenes[0])
    if not isinstance(subject, Promptable):
        given = [subject.given(scene) for _ in range(ROUNDS)]
        return Finding(
            "speed", "note", f"{_milliseconds(lambda: subject.ask(given.pop()))} ms for {scene.name}"
        )
    image, prompts = scene.copy().image, scene.prompts(subject.takes)
    encode = _milliseconds(lambda: subject.model.encode(image))
    encoded = subject.model.encode(image)
    segment = _milliseconds(lambda: subject.model.segment(encoded, list(prompts)))
    return Finding("speed", "note", f"encode {encode} ms, {segment} ms a prompt (image {scene.name})")


def _milliseconds(call: Callable[[], Any]) -> str:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return f"{median(times) * 1e3:.3g}"
